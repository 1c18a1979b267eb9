"""What a table leaves: whose runs it takes, what it says of them, and figures that show all of it."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from replay.helpers import write_collection

from stream_ottt.replay import details, table_figures
from stream_ottt.replay.records import Record, families, finished, same_task, split_names
from stream_ottt.replay.runs import replay
from stream_ottt.replay.sweep import run_table
from stream_ottt.replay.table_figures import FIGURES, draw_table
from stream_ottt.replay.tables import Table

METHODS = {"OTTT_O": "ottt_o", "OTTT_A": "ottt_a", "BPTT": "bptt"}


def record(row: str, seed: int, accuracy: float, *, metrics: tuple[dict[str, float], ...] = (), **kind: Any) -> Record:
    """A run as a table sees it; ``kind`` has its method's name, precision, batch size, and more of its result."""
    settings = {
        "data": {"name": "stream"},
        "protocol": {"name": "epochs", "batch_size": kind.pop("batch", 1)},
        "method": {"name": kind.pop("method", "ottt_o"), "precision": kind.pop("precision", "float32")},
        "learner": {"lr": kind.pop("lr", 0.1)},
        "compute": {"seed": seed},
        "report": {},
    }
    return Record(row, seed, settings, {"accuracy": accuracy, **kind}, metrics, "c0ffee")


def full_records() -> list[Record]:
    """Three methods at three batch sizes, three seeds, with all that is drawn."""
    out = []
    for i, batch in enumerate((1, 32, 128)):
        for j, (name, method) in enumerate(METHODS.items()):
            for seed in range(3):
                accuracy = 0.9 - 0.1 * i + 0.02 * j + 0.01 * seed
                layers = {f"conv{k}": {"firing_rate": 0.1 * k + 0.02 * j + 0.01 * seed} for k in (1, 2, 3)}
                cosines = {"all": accuracy, "conv1.weight": accuracy}
                more = {
                    "accuracy_at_time_steps": {"2": accuracy - 0.1, "4": accuracy, "10": accuracy + 0.01},
                    "activity": {"layers": layers, "spikes_per_neuron": 1.0, "synaptic_operations": 2e6},
                    "alignment": [{"bptt": cosines, "representation": cosines}] * 3,
                }
                metrics = tuple(
                    {"epoch": e, "train_accuracy": accuracy - 0.2 / e, "test_accuracy": accuracy - 0.1 / e}
                    for e in range(1, 6)
                )
                row = f"{name}, batch {batch}"
                out.append(record(row, seed, accuracy, metrics=metrics, method=method, batch=batch, lr=batch, **more))
    return out


# --- rows that belong together ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "title", "rest"),
    [
        (
            ["OTTT_O, batch 1", "BPTT, batch 1", "OTTT_O, batch 1, feedback"],
            "batch 1",
            ["OTTT_O", "BPTT", "OTTT_O, feedback"],
        ),
        (["OTTT_O, stream", "OTTT_O, stream, no rehearsal"], "stream", ["OTTT_O", "OTTT_O, no rehearsal"]),
        (["OTTT_O, batch 1", "OTTT_O, batch 32"], "OTTT_O", ["batch 1", "batch 32"]),
        (["OTTT_O", "BPTT"], "", ["OTTT_O", "BPTT"]),
        (["OTTT_O"], "", ["OTTT_O"]),
        (["OTTT_O, drift"], "drift", ["OTTT_O"]),
    ],
)
def test_what_names_have_in_common(names: list[str], title: str, rest: list[str]) -> None:
    assert split_names(names) == (title, rest)


def test_families_are_by_data_and_protocol() -> None:
    found = families(full_records(), same_task)
    assert [family.title for family in found] == ["batch 1", "batch 32", "batch 128"]
    assert all(list(family.rows) == list(METHODS) for family in found)
    assert [r.seed for r in found[2].rows["BPTT"]] == [0, 1, 2]


# --- whose runs ------------------------------------------------------------------------------------------------------

TWO = """
title = "Two"
[base]
data = { path = "{here}/c.npz", test = 8, time_steps = 2, cache = "off" }
network = { layers = [2] }
[base.report]
figures = false
activity = 8
alignment = 2
[[rows]]
name = "OTTT_O"
[[rows]]
name = "BPTT"
settings = { method = { name = "bptt" } }
"""


def two(folder: Path, name: str, old: str = "", new: str = "") -> Table:
    text = TWO.replace(old, new)
    assert not old or text != TWO
    (folder / name).write_text(text)
    return Table.named(str(folder / name))


def test_a_run_of_another_table_serves_when_it_did_as_much(tmp_path: Path) -> None:
    write_collection(tmp_path / "c.npz")
    data = {"here": str(tmp_path)}
    first = two(tmp_path, "first.toml")
    for row, place in zip(first.rows, ("ottt-o", "bptt"), strict=True):
        replay(first.config(row, 0, data, {}), tmp_path / "first" / place / "seed-0", say=lambda line: None)
    said: list[str] = []
    second = two(tmp_path, "second.toml", "alignment = 2", "alignment = 0")
    out = tmp_path / "second"
    assert run_table(second, data, out, jobs=1, seeds=[0], elsewhere=[tmp_path / "first"], say=said.append) == 0
    assert len(said) == 2 and all("as in" in line for line in said)
    assert [path.name for path in out.iterdir() if path.is_dir()] == []
    text = (out / "table.md").read_text()
    assert "| OTTT_O | ottt_o |" in text and "| BPTT | bptt |" in text
    assert "Cosine" not in text and "Cosine" in _text(first, tmp_path)
    runs = json.loads((out / "table.json").read_text())["runs"]
    assert [r["row"] for r in runs] == ["OTTT_O", "BPTT"] and "alignment" not in runs[0]["result"]
    assert runs[0]["metrics"][0]["epoch"] == 1 and runs[0]["settings"]["report"]["alignment"] == 0
    # Every figure that the text shows is there.
    assert (
        {m[1] for m in re.finditer(r"\]\((.+?)\)", text)}
        == {"epochs.png", "rates.png"}
        == {p.name for p in out.glob("*.png")}
    )

    place = tmp_path / "first" / "ottt-o" / "seed-0"
    for old, new in (
        ("time_steps = 2", "time_steps = 3"),
        ("activity = 8", "activity = 9"),
        ("alignment = 2", "alignment = 3"),
    ):
        other = two(tmp_path, "other.toml", old, new)
        assert finished(other.config(other.rows[0], 0, data, {}), place, "x") is None
    config = first.config(first.rows[0], 0, data, {})
    assert finished(config, place, "x") is not None
    for damaged in ("result.json", "metrics.jsonl", "provenance.json", "settings.json"):
        kept = (place / damaged).read_text()
        (place / damaged).write_text(kept[: len(kept) // 2])
        assert finished(config, place, "x") is None
        (place / damaged).write_text(kept)


def _text(table: Table, tmp_path: Path) -> str:
    """A table whose runs are all there already."""
    out = tmp_path / "first"
    assert run_table(table, {"here": str(tmp_path)}, out, jobs=1, seeds=[0], say=lambda line: None) == 0
    return (out / "table.md").read_text()


# --- what is said ----------------------------------------------------------------------------------------------------


def reduced(means: dict[str, float], full: list[float]) -> str:
    records = [record("N-MNIST, float32", seed, a) for seed, a in enumerate(full)]
    for name, mean in means.items():
        records += [record(f"N-MNIST, {name}", s, mean + d, precision=name) for s, d in enumerate((-0.1, 0, 0.1))]
    return details.precisions(records)


def test_reduced_precision_is_held_against_the_deviation_of_float32() -> None:
    # Mean 0.90, deviation 0.02; the edge belongs to it.
    text = reduced({"bf16-backward": 0.88, "bf16": 0.87}, [0.88, 0.90, 0.92])
    assert "- N-MNIST, bf16-backward: 88.00, within one standard deviation of float32 (90.00 ± 2.00)" in text
    assert "- N-MNIST, bf16: 87.00, **not** within one standard deviation" in text
    above = reduced({"bf16": 0.93}, [0.88, 0.90, 0.92])
    assert "**not** within" in above
    assert "no standard deviation" in reduced({"bf16": 0.9}, [0.9])
    assert reduced({}, [0.9, 0.8]) == "" and details.precisions([record("b", 0, 0.5, precision="bf16")]) == ""


def test_reduced_precision_is_compared_on_the_same_data_only() -> None:
    def on(data: str, r: Record) -> Record:
        return Record(r.row, r.seed, r.settings | {"data": {"name": data}}, r.result, r.metrics, r.commit)

    records = [on("one", record("one, float32", s, a)) for s, a in enumerate((0.5, 0.6))]
    records += [on("two", record("two, float32", s, a)) for s, a in enumerate((0.9, 0.92))]
    records += [on("two", record("two, bf16", s, 0.55, precision="bf16")) for s in (0, 1)]
    assert "**not** within one standard deviation of float32 (91.00" in details.precisions(records)


def test_streams_blocks_and_drifts_by_hand() -> None:
    def prequential(share: float, half: float) -> dict[str, float | None]:
        return {
            "presentations": share,
            "second_half": half,
            "no_change": 0.1,
            "majority": 0.2,
            "kappa": 0.5,
            "kappa_t": None,
        }

    stream = [record("s", i, 0.5, prequential=prequential(0.5 + 0.1 * i, 0.8), held_out_accuracy=0.7) for i in (0, 1)]
    assert (
        "| s | 55.00 ± 7.07 | 80.00 ± 0.00 | 10.00 ± 0.00 | 20.00 ± 0.00 | 0.500 | – | 70.00 ± 0.00 |"
        in details.streams(stream)
    )
    # Blocks have prequential figures too, but no held-out ones.
    transfer = {"backward_transfer": -0.25, "forward_transfer": 0.1}
    seen = {"accuracy_seen_average": 0.6, "anytime_seen_average": 0.5}
    block = [record("b", 0, 0.5, forgetting=0.0, **transfer, **seen)]
    assert details.streams(block) == ""
    assert "| b | 60.00 | 50.00 | 0.00 | -0.25 | 0.10 |" in details.blocks(block)
    taken = [[{"samples": 20}, {"samples": None}], [{"samples": 31}, {"samples": 30}]]
    classes = [record("c", i, 0.5, new_classes=own) for i, own in enumerate(taken)]
    assert "| c | 27 | 3 of 4 |" in details.new_classes(classes)
    clock = record("t", 0, 0.2, speed=4.0, in_time=0.5, learned=0.4, prequential=prequential(0.4, 0.4))
    assert "| t | 4× | 20.00 | 50.00 | 40.00 | 40.00 |" in details.real_time([clock])
    near = record("n", 0, 0.2, near_future_accuracy=0.3, prequential=prequential(0.4, 0.4))
    near.settings["protocol"]["label_delay"] = 0
    late = record("l", 0, 0.2, prequential=prequential(0.4, 0.4))
    late.settings["protocol"]["label_delay"] = 7
    plain = record("p", 0, 0.2, prequential=prequential(0.4, 0.4))
    plain.settings["protocol"]["label_delay"] = 0
    text = details.late_and_far([near, late, plain])
    assert (
        "| n | 0 | 40.00 | 30.00 | – | – |" in text and "| l | 7 | 40.00 | – | – | – |" in text and "| p |" not in text
    )
    change = [
        record("d", i, 0.5, before=prequential(0.5, 0.6), after=prequential(0.3, 0.4), recovery_samples=n)
        for i, n in enumerate((12, None, 0))
    ]
    assert "| d | 50.00 ± 0.00 | 60.00 ± 0.00 | 30.00 ± 0.00 | 40.00 ± 0.00 | – | 12, 0 |" in details.drifts(change)
    for say in (
        details.streams,
        details.blocks,
        details.drifts,
        details.new_classes,
        details.real_time,
        details.late_and_far,
        details.more_timesteps,
        details.activity,
        details.alignment,
    ):
        assert say([record("r", 0, 0.5)]) == ""


def test_timesteps_activity_and_cosines_by_hand() -> None:
    records = full_records()[:3]
    assert "| OTTT_O, batch 1 | 81.00 ± 1.00 | 91.00 ± 1.00 | 92.00 ± 1.00 |" in details.more_timesteps(records)
    assert "| OTTT_O, batch 1 | 0.110 | 0.210 | 0.310 | 1.00 | 2.00 M |" in details.activity(records)
    text = details.alignment(records)
    assert (
        "| OTTT_O, batch 1, at the end | BPTT | 0.910 | 0.910 |" in text and text.count("spike representation |") == 2
    )


# --- figures ---------------------------------------------------------------------------------------------------------


def bars(axis: Any) -> list[tuple[str, list[float], list[float]]]:
    """Label, means and half lengths of the error bars of what was drawn with them."""
    out = []
    for container in axis.containers:
        if hasattr(container, "patches"):
            means, errors = [p.get_height() for p in container.patches], container.errorbar
        elif container[0] is None:  # those of bars
            continue
        else:
            means, errors = list(container[0].get_ydata()), container
        halves = [(end[1] - start[1]) / 2 for start, end in errors[2][0].get_segments()]
        out.append((container.get_label(), means, halves))
    return out


def test_figures_show_means_and_deviations() -> None:
    records = full_records()
    rates = table_figures.rates(records)
    assert [axis.get_title() for axis in rates.axes] == ["batch 1", "batch 32", "batch 128"]
    label, means, halves = bars(rates.axes[1])[2]
    assert label == "BPTT" and means == pytest.approx([0.15, 0.25, 0.35]) and halves == pytest.approx([0.01] * 3)
    steps = table_figures.time_steps(records)
    label, means, halves = bars(steps.axes[0])[0]
    assert label == "OTTT_O" and means == pytest.approx([0.81, 0.91, 0.92]) and halves == pytest.approx([0.01] * 3)
    assert list(steps.axes[0].get_xticks()) == [2, 4, 10]
    (axis,) = table_figures.batch_sizes(records).axes
    assert [label for label, *_ in bars(axis)] == list(METHODS)
    assert bars(axis)[1][1] == pytest.approx([0.93, 0.83, 0.73])
    assert [t.get_text() for t in axis.get_xticklabels()] == ["1", "32", "128"]
    curves = table_figures.epochs(records)
    assert bars(curves.axes[0])[0][1] == pytest.approx([0.91 - 0.1 / e for e in range(1, 6)])
    training = [line for line in curves.axes[0].lines if line.get_linestyle() == "--"]
    assert list(training[0].get_ydata()) == pytest.approx([0.91 - 0.2 / e for e in range(1, 6)])
    assert len(table_figures.cosines(records).axes) == 9


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_cut_off_or_lies_on_what_is_drawn(name: str) -> None:
    figure = FIGURES[name][0](full_records())
    figure.canvas.draw()
    inches, (width, height) = figure.get_tightbbox(figure.canvas.get_renderer()), figure.get_size_inches()
    assert inches.x0 >= 0 and inches.y0 >= 0 and inches.x1 <= width and inches.y1 <= height
    (legend,) = figure.legends
    assert all(axis.get_legend() is None for axis in figure.axes)
    assert not any(legend.get_window_extent().overlaps(axis.get_tightbbox()) for axis in figure.axes)


def test_only_what_was_measured_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(draw_table(full_records(), tmp_path)) == list(FIGURES)
    assert {p.stem for p in tmp_path.glob("*.png")} == set(FIGURES)
    assert all(p.stat().st_size < 200_000 for p in tmp_path.glob("*.png"))
    assert draw_table([record("r", 0, 0.5), record("q", 0, 0.5)], tmp_path) == {}
    monkeypatch.setattr(table_figures, "find_spec", lambda name: None)
    assert draw_table(full_records(), tmp_path) == {}


def benchmark() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "accuracy.py"
    spec = importlib.util.spec_from_file_location("accuracy", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_shows_the_tables_figures_under_their_names(tmp_path: Path) -> None:
    accuracy = benchmark()
    folder, into = tmp_path / "small", tmp_path / "readme"
    into.mkdir()
    drawn = draw_table_of(folder)
    text = accuracy.shown("small", folder, into)
    assert "### T" in text and "](rates.png)" not in text
    assert {p.name for p in into.iterdir()} == {f"small-{name}.png" for name in drawn}
    accuracy.write_section(into / "README.md", text)
    accuracy.write_section(into / "README.md", text)
    assert (into / "README.md").read_text().count("![Firing rates by layer](small-rates.png)") == 1


def draw_table_of(folder: Path) -> list[str]:
    folder.mkdir()
    drawn = draw_table(full_records()[:18], folder)
    (folder / "table.md").write_text("### T\n\n" + "\n".join(f"![{what}]({name}.png)" for name, what in drawn.items()))
    return list(drawn)


def test_the_benchmark_s_tables_come_with_the_package() -> None:
    accuracy = benchmark()
    for name, needed in accuracy.TABLES.items():
        table = Table.named(name)
        for row in table.rows:
            assert table.config(row, 0, dict.fromkeys(needed, "/x"), {}).data.path.startswith("/x")


def test_float32_of_the_precision_table_is_run_elsewhere_already() -> None:
    def trained(table: Table, row: str) -> dict[str, Any]:
        spec = next(r for r in table.rows if r.name == row)
        config = table.config(spec, 1, {"nmnist": "/n", "objects": "/o"}, {})
        return config.model_dump(exclude={"report": {"alignment"}})

    precision = Table.named("precision-small")
    assert trained(precision, "N-MNIST, float32") == trained(Table.named("nmnist-small"), "OTTT_O")
    assert trained(precision, "objects, float32") == trained(Table.named("objects-small"), "OTTT_O")
