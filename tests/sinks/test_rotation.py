"""Text files that are begun anew when they are large or old, and runs that go on behind what they have written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from resumed import SMALL, moved, request, resume, rewritten, run

from stream_ottt.errors import OutputError, UsageError
from stream_ottt.run import checkpointing
from stream_ottt.run.checkpoint_folder import CheckpointFolder
from stream_ottt.run.checkpointing import Checkpointing
from stream_ottt.sinks import parts as sink_parts
from stream_ottt.sinks.csv import COLUMNS
from stream_ottt.sinks.opening import open_sink
from stream_ottt.sinks.parts import bytes_before

STEPS = 40


def parts_of(path: Path) -> list[Path]:
    """The parts of an output, oldest first."""
    return [*sorted(path.parent.glob(f"{path.stem}.0*{path.suffix}")), path]


def steps_in(path: Path) -> list[int]:
    return [step for part in parts_of(path) for step in steps_of(part.read_text())]


def steps_of(text: str) -> list[int]:
    lines = text.splitlines()
    if text.startswith("{"):
        return [json.loads(line)["step"] for line in lines]
    return [int(line.partition(",")[0]) for line in lines if not line.startswith("step")]


@pytest.mark.parametrize("name", ["jsonl", "csv"])
def test_each_file_ends_with_the_line_that_makes_it_large(
    name: str, tmp_path: Path, result: Callable, view: Callable, drive: Callable
) -> None:
    path = tmp_path / f"p.{name}"
    drive(open_sink(f"{name}:{path}?rotate=400B"), view(), [result(i) for i in range(STEPS)])
    parts = parts_of(path)
    assert len(parts) > 3 and [p.name for p in parts[:2]] == [f"p.000001.{name}", f"p.000002.{name}"]
    for part in parts[:-1]:
        text = part.read_text()
        last = len(text.splitlines()[-1]) + 1
        assert text.endswith("\n") and 400 <= len(text) < 400 + last
    if name == "csv":
        assert all(part.read_text().splitlines()[0] == ",".join(COLUMNS) for part in parts)
    assert steps_in(path) == list(range(STEPS))


def test_only_the_newest_stay(tmp_path: Path, result: Callable, view: Callable, drive: Callable) -> None:
    path = tmp_path / "p.csv"
    drive(open_sink(f"csv:{path}?rotate=200B&keep=2"), view(), [result(i) for i in range(STEPS)])
    names = [part.name for part in parts_of(path)]
    assert len(names) == 3 and int(names[1][2:8]) == int(names[0][2:8]) + 1
    found = steps_in(path)
    assert found == list(range(found[0], STEPS)) and found[0] > 0


def test_a_new_file_at_each_full_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: Callable, view: Callable, drive: Callable
) -> None:
    now = [7000.0]
    monkeypatch.setattr(sink_parts.time, "time", lambda: now[0])

    def stream() -> object:
        for i in range(6):
            now[0] = 7000.0 + i * 1000  # the hours begin at 7200 and 10800
            yield result(i)

    path = tmp_path / "p.jsonl"
    drive(open_sink(f"jsonl:{path}?rotate=1h"), view(), stream())
    assert [steps_of(part.read_text()) for part in parts_of(path)] == [[0], [1, 2, 3], [4, 5]]


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("jsonl:-?rotate=1MB", "stdout cannot rotate"),
        ("jsonl:p?rotate=1", "expected a size such as '100MB'"),
        ("jsonl:p?rotate=0MB", "expected 1B or more"),
        ("jsonl:p?rotate=1ms", "expected 1s or more"),
        ("jsonl:p?keep=2", "say both"),
        ("jsonl:p?rotate=1MB&keep=0", "greater than or equal to 1"),
    ],
)
def test_what_makes_no_sense_is_refused(uri: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        open_sink(uri)


def test_a_pipe_does_not_rotate(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="is no file, and cannot rotate"):
        open_sink(f"jsonl:{tmp_path}/pipe?rotate=1MB").check(overwrite=True)


def test_numbered_files_of_another_run_are_not_mixed_in(
    tmp_path: Path, result: Callable, view: Callable, drive: Callable
) -> None:
    path = tmp_path / "p.jsonl"
    uri = f"jsonl:{path}?rotate=500B"
    drive(open_sink(uri), view(), [result(i) for i in range(STEPS)])
    path.unlink()
    with pytest.raises(OutputError, match="numbered files of it exist already"):
        open_sink(uri).check(overwrite=False)
    open_sink(uri).check(overwrite=True)
    drive(open_sink(uri), view(), [result(0)])
    assert parts_of(path) == [path]


# --- a run that is stopped and goes on -------------------------------------------------------------------------------


@pytest.fixture
def many_marks(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    monkeypatch.setattr("stream_ottt.sources.synthetic.PACKET_EVENTS", 800)
    monkeypatch.setattr(Checkpointing, "take", Checkpointing.write)


def a_run(folder: Path, query: str) -> list[Path]:
    """Files of a run in ``folder`` that checkpoints often."""
    outputs = [folder / "p.jsonl", folder / "p.csv"]
    sinks = [f"{file.suffix[1:]}:{file}{query}" for file in outputs]
    sinks.append(f"record:{folder}/record?every=10")
    assert run(request(folder, SMALL, sinks=sinks)) == 0
    return outputs


def without_latency(path: Path) -> list[str]:
    lines = [line for part in parts_of(path) for line in part.read_text().splitlines()]
    return [line.partition('"latency_ms"')[0] if line.startswith("{") else line.rpartition(",")[0] for line in lines]


@pytest.mark.parametrize("query", ["?rotate=700B", "?rotate=3kB&keep=50"])
def test_a_run_that_goes_on_cuts_back_to_the_checkpoint_in_whatever_file_that_was(
    query: str, many_marks: None, tmp_path: Path
) -> None:
    made = a_run(tmp_path / "whole", query)
    numbers = sorted(CheckpointFolder(tmp_path / "whole" / "checkpoints").numbers())
    for number in (numbers[1], numbers[-2]):
        folder = moved(tmp_path / "whole", tmp_path / f"cut-{number}", number)
        resume(folder)
        for whole in made:
            assert steps_in(folder / whole.name) == steps_in(whole)
            assert len(parts_of(folder / whole.name)) == pytest.approx(len(parts_of(whole)), abs=1)


@pytest.mark.parametrize("query", ["", "?rotate=700B"])
def test_a_sink_that_had_stalled_at_the_checkpoint_doubles_no_line(
    query: str, many_marks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """How far it had come is then not known; but its lines say which timesteps they are of."""
    monkeypatch.setattr(checkpointing, "SINKS_S", 0.0)
    made = a_run(tmp_path / "whole", query)
    folder = CheckpointFolder(tmp_path / "whole" / "checkpoints")
    numbers = sorted(folder.numbers())
    number = next(n for n in numbers[len(numbers) // 2 :] if None in folder.read(n).manifest.sinks.values())
    cut = moved(tmp_path / "whole", tmp_path / "cut", number)
    rewritten(cut / "checkpoints" / f"checkpoint-{number:06}.json", nothing_settled)
    resume(cut)
    assert "had not come so far when the checkpoint was written" in capsys.readouterr().err
    for whole in made:
        assert without_latency(cut / whole.name) == without_latency(whole)
    for name in ("predictions.jsonl", "curves.jsonl"):
        ours, theirs = (steps_in(place / "record" / name) for place in (cut, tmp_path / "whole"))
        assert ours == theirs and len(ours) > 5


def nothing_settled(text: str) -> str:
    manifest = json.loads(text)
    return json.dumps(manifest | {"sinks": dict.fromkeys(manifest["sinks"])})


def test_lines_are_found_from_the_end_and_a_torn_one_goes(tmp_path: Path) -> None:
    sink = open_sink("csv:x.csv")
    path = tmp_path / "p.csv"
    path.write_text("step,a\n1,x\n2,x\n3,x\n4,")
    for step, expected in ((0, 0), (1, 0), (2, 11), (3, 15), (4, 19), (9, 19)):
        assert bytes_before(path, step, sink.step_of) == expected
    path.write_text("")
    assert bytes_before(path, 3, sink.step_of) == 0
    assert bytes_before(tmp_path / "none", 3, sink.step_of) == 0
