"""The page about runs: its figures are the summary's, and what comes from outside is text."""

from __future__ import annotations

import base64
import json
import re
import statistics
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from recorded import NASTY, record, write_stream
from report.pages import Page

from stream_ottt.cli import main
from stream_ottt.errors import InputError
from stream_ottt.report.page import report
from stream_ottt.report.recorded import read_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seeds of a run, whose classes have nasty names, in ``s0`` to ``s2``."""
    folder = tmp_path_factory.mktemp("runs")
    stream = write_stream(folder)
    for seed in range(3):
        assert record(folder / f"s{seed}", stream, seed=seed) == 0
        path = folder / f"s{seed}" / "summary.json"
        summary = json.loads(path.read_text())
        summary["classes"] = {str(k): v for k, v in NASTY.items()}
        summary["accuracy"]["since_change"] = [
            {"after_s": 0.1, "presentations": 8, "accuracy": 0.625},
            {"after_s": 2, "presentations": 0, "accuracy": None},
        ]
        summary["labels"] |= {"refused": 3, "first_refusal": "label 9: unknown class"}
        summary["events"]["dropped"] = {"filter:hot": 7, "overflow": 1234}
        path.write_text(json.dumps(summary))
    return folder


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    """The page of one run."""
    return report([folder / "s0"]).decode()


def test_each_figure_is_the_summarys(folder: Path, html: str) -> None:
    page = Page(html)
    summary = read_run(folder / "s0").summary
    for key, value in summary["accuracy"].items():
        if isinstance(value, float) and key not in ("per_class", "confusion"):
            assert page.number(f"accuracy.{key}") == pytest.approx(value, rel=1e-4), key
    # Each below its name.
    below = dict(zip(page.heads[1:12], page.cells, strict=False))
    assert below["seed"] == "seed" and below["accuracy"] == "accuracy.presentations"
    for name in ("second half", "steps", "faded", "windowed", "kappa", "kappa t", "majority", "no change"):
        assert below[name] == f"accuracy.{name.replace(' ', '_')}"
    for row in summary["accuracy"]["per_class"]:
        for key in ("support", "predicted", "correct", "recall"):
            assert page.number(f"accuracy.per_class.{row['label']}.{key}") == pytest.approx(row[key], rel=1e-4)
    assert page.number("accuracy.since_change.0.1.accuracy") == 0.625
    assert "accuracy.since_change.2.accuracy" not in page.cells
    for key in ("read", "binned", "late", "malformed"):
        assert page.number(f"events.{key}") == summary["events"][key]
    assert page.number("labels.refused") == 3 and "label 9: unknown class" in page.text
    assert page.number("events.dropped.filter:hot") == 7 and page.number("events.dropped.overflow") == 1234
    for key in ("wall_s", "stream_s", "peak_rss_mb", "timesteps", "presentations", "seed"):
        assert page.number(key) == pytest.approx(summary[key], rel=1e-4), key
    assert page.number("step_ms.p99") == pytest.approx(summary["step_ms"]["p99"], rel=1e-4)
    assert summary["versions"]["torch"] in page.text and "[learner]" in page.text and "time_steps = " in page.text


def test_what_comes_from_outside_is_text_and_the_page_loads_nothing(html: str) -> None:
    page = Page(html)
    assert "script" not in page.tags and not re.search(r"<img[^>]*onerror", html)
    assert NASTY[1] in page.text and "\x00" not in html
    assert page.addresses and all(address.startswith("data:image/svg+xml;base64,") for address in page.addresses)
    for address in page.addresses:
        svg = base64.b64decode(address.partition(",")[2])
        root = ElementTree.fromstring(svg)  # well-formed, whatever the names
        assert root.tag.endswith("svg")
        # Nothing in a picture is loaded from elsewhere.
        links = [v for e in root.iter() for k, v in e.attrib.items() if k.endswith("href")]
        assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
        assert b"onerror" not in re.sub(rb"<!--.*?-->", b"", svg, flags=re.DOTALL)


def test_seeds_are_drawn_as_mean_and_deviation(folder: Path) -> None:
    page = Page(report([folder / f"s{seed}" for seed in range(3)]).decode())
    values = [100 * read_run(folder / f"s{seed}").summary["accuracy"]["steps"] for seed in range(3)]
    assert f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}" in page.text
    assert len(page.cells["accuracy.steps"]) == 3
    assert page.text.count("bands: ± one standard deviation") == 1


def test_the_bands_are_the_mean_and_the_deviation() -> None:
    import numpy as np

    from stream_ottt.replay.figures import new_figure
    from stream_ottt.report.figures import draw_band

    _, (axis,) = new_figure()
    x = np.arange(5.0)
    draw_band(axis, [(x, np.full(5, 0.2)), (x, np.full(5, 0.6))], "both")
    (line,) = axis.get_lines()
    np.testing.assert_allclose(line.get_ydata(), 0.4)
    (band,) = axis.collections
    found = band.get_paths()[0].vertices[:, 1]
    assert found.min() == pytest.approx(0.4 - 0.2 * 2**0.5) and found.max() == pytest.approx(0.4 + 0.2 * 2**0.5)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def run(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["stream-ottt", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().err

    return run


def test_a_page_is_not_overwritten_unless_forced(call, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    out.write_text("mine")
    code, err = call("report", folder / "s0" / "summary.json", "-o", out)
    assert code == 5 and "--force" in err and out.read_text() == "mine"
    code, err = call("report", folder / "s0" / "summary.json", "-o", out, "--force")
    assert code == 0 and out.read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("summary.json", "{}", "expected a summary of schema"),
        ("summary.json", "{", "expected JSON"),
        ("summary.json", '{"schema": "stream-ottt/summary/2"}', "accuracy: Field required"),
        ("predictions.jsonl", '{"v": 1}\n', "line 1: no prediction"),
        ("predictions.jsonl", '{"t_end": 1e99, "label": 1, "truth": 1, "scored": true}\n', "line 1"),
        ("predictions.jsonl", "[]\n", "line 1: expected a JSON object"),
        ("curves.jsonl", '{"t": "x"}\n', "line 1: no point"),
        ("curves.jsonl", f'{{"t": {10**30}}}\n', "line 1: no point"),
        ("curves.jsonl", '{"t": 1, "firing": [[]]}\n', "line 1: no point"),
        ("curves.jsonl", "x" * (2**24 + 1), "line 1: longer than 16 MiB"),
        ("curves.jsonl", "[" * 100_000 + "\n", "line 1: expected JSON"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(folder: Path, tmp_path: Path, name: str, data: str, said: str) -> None:
    (tmp_path / "summary.json").write_bytes((folder / "s0" / "summary.json").read_bytes())
    (tmp_path / name).write_text(data)
    with pytest.raises(InputError, match=said) as e:
        report([tmp_path])
    assert name in str(e.value)


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (("accuracy", "kappa"), "high", "accuracy.kappa"),
        (("accuracy", "confusion"), [[0, 1]], "accuracy.confusion.0"),
        (("accuracy", "per_class"), [{"support": 1}], "accuracy.per_class.0.label"),
        (("events", "dropped"), [1], "events.dropped"),
        (("settings",), {"learner": 1}, "settings.learner"),
        (("warnings",), "none", "warnings"),
    ],
)
def test_a_summary_with_something_else_in_it_is_refused(
    folder: Path, tmp_path: Path, keys: tuple[str, ...], value: object, said: str
) -> None:
    summary = json.loads((folder / "s0" / "summary.json").read_text())
    table = summary
    for key in keys[:-1]:
        table = table[key]
    table[keys[-1]] = value
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(InputError, match=said):
        report([tmp_path])


def test_a_thousand_classes_are_listed_and_drawn_as_no_matrix(folder: Path, tmp_path: Path) -> None:
    summary = json.loads((folder / "s0" / "summary.json").read_text())
    summary["accuracy"]["confusion"] = [[n, n, 1] for n in range(100_000)]
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    assert "Confusion" not in report([tmp_path]).decode()


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        report([tmp_path / "nothing"])
    with pytest.raises(InputError, match="neither a record"):
        report([tmp_path])


def test_a_run_that_was_killed_is_read_up_to_its_last_whole_line(folder: Path, tmp_path: Path) -> None:
    for name in ("summary.json", "predictions.jsonl"):
        (tmp_path / name).write_bytes((folder / "s0" / name).read_bytes())
    with (tmp_path / "predictions.jsonl").open("a") as f:
        f.write('{"v": 1, "ste')
    found, whole = read_run(tmp_path).predictions, read_run(folder / "s0").predictions
    assert found is not None and whole is not None and len(found.t) == len(whole.t)
