"""JSON Lines and CSV: read back, and what happens when they cannot be written."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stream_ottt.errors import OutputError, UsageError
from stream_ottt.sinks.csv import COLUMNS
from stream_ottt.sinks.jsonl import record
from stream_ottt.sinks.opening import open_sink

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


def results(result: Callable) -> list:
    frame = np.zeros((2, 8, 8), np.float32)
    frame[1, 2, 3] = 5
    return [
        result(0, said=2, frame=frame),
        result(1, said=3, truth=3, learned=True, learned_from=0, latency_s=0.001234567),
        result(2, said=1, truth=4, logits=np.array([math.nan, 2.0, math.inf, -math.inf, 1 / 3, 1e-20])),
    ]


def test_json_lines_hold_what_was_predicted(tmp_path: Path, result: Callable, view: Callable, drive: Callable) -> None:
    path = tmp_path / "out.jsonl"
    drive(open_sink(f"jsonl:{path}"), view(), results(result))
    first, second, third = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert first == {
        "v": 1,
        "step": 0,
        "t_start": 0,
        "t_end": 20_000,
        "label": 2,
        "confidence": pytest.approx(results(result)[0].prediction.confidence, rel=1e-5),
        "unknown": False,
        "truth": None,
        "scored": False,
        "learned": False,
        "learned_from": None,
        "events": 5,
        "latency_ms": 4.2,
        "logits": [0.0, 0.1, 2.0, 0.3, 0.4, 0.5],
    }
    assert (second["truth"], second["scored"]) == (3, True)
    assert (second["learned"], second["learned_from"]) == (True, 0)
    assert second["latency_ms"] == 1.23457
    # What is no number in JSON is null, so that every reader can read the line.
    assert third["logits"] == [None, 2.0, None, None, 0.333333, 1e-20]


def test_csv_has_the_same_columns_without_logits(
    tmp_path: Path, result: Callable, view: Callable, drive: Callable
) -> None:
    path = tmp_path / "out.csv"
    drive(open_sink(f"csv:{path}"), view(), results(result))
    with path.open(newline="", encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    assert tuple(rows[0]) == COLUMNS == tuple(record(results(result)[0]))
    assert rows[0] | {"confidence": ""} == {
        "step": "0",
        "t_start": "0",
        "t_end": "20000",
        "label": "2",
        "confidence": "",
        "unknown": "0",
        "truth": "",
        "scored": "0",
        "learned": "0",
        "learned_from": "",
        "events": "5",
        "latency_ms": "4.2",
    }
    assert [r["learned"] for r in rows] == ["0", "1", "0"]
    assert [r["truth"] for r in rows] == ["", "3", "4"]


def test_an_old_file_is_overwritten_and_an_empty_run_leaves_an_empty_one(
    tmp_path: Path, view: Callable, drive: Callable
) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old\n" * 100)
    drive(open_sink(f"jsonl:{path}"), view(), [])
    assert path.read_text() == ""


def test_a_dash_is_stdout_and_leaves_it_open(
    capsys: pytest.CaptureFixture[str], result: Callable, view: Callable, drive: Callable
) -> None:
    drive(open_sink("jsonl:-"), view(), [result(7)])
    print("still open")
    line, after = capsys.readouterr().out.splitlines()
    assert json.loads(line)["step"] == 7
    assert after == "still open"


def test_lines_can_be_read_while_the_run_goes_on(
    tmp_path: Path, result: Callable, view: Callable, drive: Callable
) -> None:
    path = tmp_path / "out.jsonl"
    seen = []

    def stream() -> object:
        yield result(0)
        seen.append(path.read_text())  # the first line is flushed at once, the next ones within a second
        yield result(1)

    drive(open_sink(f"jsonl:{path}"), view(), stream())
    assert json.loads(seen[0])["step"] == 0


@pytest.mark.parametrize("name", ["jsonl", "csv"])
def test_a_folder_that_is_not_there_is_an_output_error(
    tmp_path: Path, name: str, view: Callable, drive: Callable
) -> None:
    path = tmp_path / "missing" / "out.txt"
    with pytest.raises(OutputError, match=r"missing.*No such file or directory.*check the folder") as e:
        drive(open_sink(f"{name}:{path}"), view(), [])
    assert "\n" not in str(e.value)


@needs_full
@pytest.mark.parametrize("name", ["jsonl", "csv"])
def test_a_full_disk_is_an_output_error_that_names_the_file(
    name: str, result: Callable, view: Callable, drive: Callable
) -> None:
    with pytest.raises(OutputError, match=r"/dev/full: .*No space left on device"):
        drive(open_sink(f"{name}:{FULL}"), view(), [result(0)])


@needs_full
def test_a_disk_that_is_full_only_at_the_end_is_noticed(
    monkeypatch: pytest.MonkeyPatch, result: Callable, view: Callable, drive: Callable
) -> None:
    monkeypatch.setattr("stream_ottt.sinks.textfile.FLUSH_S", 1e9)
    with pytest.raises(OutputError, match="No space left on device"):
        drive(open_sink(f"jsonl:{FULL}"), view(), [result(0)])


@pytest.mark.parametrize("name", ["jsonl", "csv", "video"])
def test_without_a_file_the_fix_is_named(name: str) -> None:
    with pytest.raises(UsageError, match=r"sink\.target.*name the file"):
        open_sink(name)


def test_an_unknown_option_names_the_near_one() -> None:
    with pytest.raises(UsageError, match=r"unknown key 'sink\.spede'; did you mean 'speed'"):
        open_sink("video:a.mp4?spede=2")
