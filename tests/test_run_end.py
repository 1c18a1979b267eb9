"""Whatever ends a run, what was asked for is written and the sinks are closed; what never began leaves no trace."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import ListSink

from stream_ottt.errors import InputError, OutputError, StreamOtttError, UsageError
from stream_ottt.events.timestep import StepResult
from stream_ottt.learning.session import Session
from stream_ottt.outputs import check_writable, write_atomically, write_somewhere
from stream_ottt.run.checkpoint_folder import CheckpointFolder
from stream_ottt.run.request import RunRequest
from stream_ottt.run.run import Run
from stream_ottt.run.run import run as run_request
from stream_ottt.run.stopping import SAME_S, Stopping

SMALL = {"binning": {"width": 8, "height": 8}, "network": {"layers": [4]}}
ENDLESS = "synthetic:?presentations=100000&duration=300ms"


class Closing(ListSink):
    """Knows whether it was closed, and does something at its n-th result."""

    def __init__(self, at: int | None = None, act: Any = None) -> None:
        super().__init__()
        self.summary: Any = "not closed"
        self.at, self.act = at, act

    async def consume(self, result: StepResult) -> None:
        await super().consume(result)
        if len(self.results) == self.at:
            self.act()

    async def close(self, summary: dict[str, Any] | None) -> None:
        self.summary = summary


def request(tmp_path: Path, source: str = "synthetic:?presentations=4&duration=300ms", **options: Any) -> RunRequest:
    settings = {
        "overrides": SMALL,
        "sinks": [],
        "save": tmp_path / "m.safetensors",
        "summary": tmp_path / "s.json",
        **options,
    }
    return RunRequest(source, **settings)


def summary_in(tmp_path: Path) -> dict[str, Any]:
    return json.loads((tmp_path / "s.json").read_text())


@pytest.mark.parametrize(("where", "at"), [("process", 6), ("learn_due", 2), ("snapshot", 2), ("finish", 1)])
def test_an_error_of_any_kind_at_any_place_loses_nothing_but_the_rest(
    where: str, at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = getattr(Session, where), 0

    def broken(self: Session, *args: object) -> object:
        nonlocal calls
        calls += 1
        if calls >= at:
            raise MemoryError("injected")
        return real(self, *args)

    monkeypatch.setattr(Session, where, broken)
    run = Run(request(tmp_path))
    sink = Closing()
    run.sinks.append(sink)
    with pytest.raises(MemoryError, match="injected"):
        asyncio.run(run.go())
    written = summary_in(tmp_path)
    assert (tmp_path / "m.safetensors").stat().st_size > 0
    assert sink.summary["exit"] == written["exit"]
    assert (written["exit"]["code"], written["exit"]["reason"]) == (1, "failed")
    assert "MemoryError: injected" in written["exit"]["message"]
    assert written["events"]["in_hand"] == 0
    assert where != "process" or len(sink.results) == 5


def test_what_fails_before_it_begins_writes_nothing(tmp_path: Path) -> None:
    run = Run(request(tmp_path, overrides={**SMALL, "network": {"layers": ["AQ2"]}}))
    sink = Closing()
    run.sinks.append(sink)
    with pytest.raises(UsageError, match="AQ2"):
        asyncio.run(run.go())
    assert sink.summary is None
    assert list(tmp_path.iterdir()) == []


def test_a_sources_own_label_of_no_class_is_refused_before_anything_is_learned(tmp_path: Path) -> None:
    own = "synthetic:?presentations=4&duration=300ms&classes=3"
    run = Run(request(tmp_path, own, overrides={**SMALL, "labels": {"classes": [0, 1]}}))
    with pytest.raises(UsageError, match=r"class 2 is not among \[0, 1\]"):
        asyncio.run(run.go())
    assert list(tmp_path.iterdir()) == []


def test_a_source_without_events_writes_nothing(tmp_path: Path) -> None:
    empty = tmp_path / "x.csv"
    empty.write_text("x,y,t,p\n")
    with pytest.raises(InputError):
        asyncio.run(Run(request(tmp_path, str(empty))).go())
    assert list(tmp_path.iterdir()) == [empty]


@pytest.mark.parametrize("how", ["no events", "a port that is taken", "a fault"])
def test_however_a_run_ends_others_may_write_to_its_folder_of_checkpoints(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "x.csv"
    empty.write_text("x,y,t,p\n")
    folder = tmp_path / "checkpoints"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        uri = f"zmq+pub://127.0.0.1:{taken.getsockname()[1]}"
        options = {"no events": {"source": str(empty)}, "a port that is taken": {"sinks": [uri]}, "a fault": {}}[how]
        if how == "a fault":
            monkeypatch.setattr(Session, "finish", lambda *_: 1 / 0)
        with pytest.raises((StreamOtttError, ZeroDivisionError)):
            asyncio.run(Run(request(tmp_path, **options, checkpoints=folder)).go())
    other = CheckpointFolder(folder)
    other.open()
    other.close()


@pytest.mark.parametrize(("only_shows", "code"), [(False, OutputError.exit_code), (True, 0)])
def test_a_sink_that_cannot_be_closed_is_told_by_the_exit_code_unless_it_only_shows(
    only_shows: bool, code: int, tmp_path: Path
) -> None:
    class Sore(Closing):
        optional = only_shows

        async def close(self, summary: dict[str, Any] | None) -> None:
            raise OutputError("the disk is full")

    run = Run(request(tmp_path))
    run.sinks.append(sink := Sore())
    assert asyncio.run(run.go()) == code
    assert len(sink.results) == summary_in(tmp_path)["timesteps"]  # it missed none


# --- signals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)])
def test_a_signal_ends_the_run_in_order(number: int, code: int, tmp_path: Path) -> None:
    before = signal.getsignal(number)
    with Stopping() as stopping:
        run = Run(request(tmp_path, ENDLESS), stopping)
        # Twice at once, as from a shell and a supervisor: no impatience.
        sink = Closing(20, lambda: [os.kill(os.getpid(), number) for _ in range(2)])
        run.sinks.append(sink)
        assert asyncio.run(asyncio.wait_for(run.go(), 60)) == code
    assert signal.getsignal(number) is before
    written = summary_in(tmp_path)
    assert written["exit"] == {"code": code, "reason": "interrupted", "message": None}
    assert written["timesteps"] == len(sink.results)
    assert written["events"]["in_hand"] == 0
    assert (tmp_path / "m.safetensors").exists() and sink.summary["exit"]["code"] == code


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_before_there_is_anything_to_end_ends_the_program(number: int, code: int) -> None:
    with pytest.raises(SystemExit) as ended, Stopping():
        os.kill(os.getpid(), number)
    assert ended.value.code == code


def test_a_second_signal_later_ends_the_program_at_once(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys, time; from stream_ottt.run.stopping import Stopping\n"
        "with Stopping() as s:\n"
        "    s.act = lambda: None\n"
        f"    os.kill(os.getpid(), signal.SIGTERM); s._first -= {SAME_S}\n"
        "    os.kill(os.getpid(), signal.SIGTERM); print('still here')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGTERM and done.stdout == ""


def test_much_that_is_due_does_not_delay_a_stop(tmp_path: Path) -> None:
    """The second timestep makes two thousand updates due."""
    overrides = {**SMALL, "rehearsal": {"mode": "ratio", "ratio": 1000, "stretch": 2}}
    with Stopping() as stopping:
        run = Run(request(tmp_path, overrides=overrides), stopping)
        run.sinks.append(Closing(2, lambda: os.kill(os.getpid(), signal.SIGTERM)))
        assert asyncio.run(asyncio.wait_for(run.go(), 60)) == 0
    written = summary_in(tmp_path)
    assert written["timesteps"] == 2 and written["updates"]["rehearsed"] < 2000


# --- outputs -------------------------------------------------------------------------------------------------------


def test_what_exists_is_not_overwritten_without_force(tmp_path: Path) -> None:
    said = tmp_path / "p.jsonl"
    said.write_text("precious\n")
    with pytest.raises(OutputError, match="--force"):
        Run(request(tmp_path, sinks=[f"jsonl:{said}"]))
    (tmp_path / "s.json").write_text("{}")
    with pytest.raises(OutputError, match=r"s\.json: exists already"):
        Run(request(tmp_path))
    assert said.read_text() == "precious\n"
    assert run_request(request(tmp_path, sinks=[f"jsonl:{said}"], force=True)) == 0
    assert "precious" not in said.read_text()


def test_a_model_may_replace_the_one_it_went_on_from(tmp_path: Path) -> None:
    assert run_request(request(tmp_path, summary=None)) == 0
    model = tmp_path / "m.safetensors"
    first = model.read_bytes()
    assert run_request(request(tmp_path, summary=None, load=model)) == 0
    assert model.read_bytes() != first


def test_who_is_refused_a_port_has_touched_no_file(tmp_path: Path) -> None:
    import zmq

    said = tmp_path / "p.jsonl"
    said.write_text("of the first run\n")
    with zmq.Context() as context, context.socket(zmq.REP) as taken:
        port = taken.bind_to_random_port("tcp://127.0.0.1")
        for where in ({"stream": {"control": f"zmq+rep://127.0.0.1:{port}"}}, {}):
            sinks = [f"jsonl:{said}"] if where else [f"jsonl:{said}", f"zmq+pub://127.0.0.1:{port}"]
            run = Run(request(tmp_path, sinks=sinks, overrides={**SMALL, **where}, force=True))
            with pytest.raises((InputError, OutputError), match="cannot be bound"):
                asyncio.run(run.go())
    assert said.read_text() == "of the first run\n"
    assert list(tmp_path.iterdir()) == [said]


def test_an_output_folder_that_went_away_costs_nothing_but_the_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_ottt.outputs.tempfile.tempdir", str(tmp_path))
    folder = tmp_path / "out"
    folder.mkdir()
    run = Run(request(folder))
    run.sinks.append(Closing(3, folder.rmdir))
    assert asyncio.run(run.go()) == OutputError.exit_code
    said = capsys.readouterr().err
    for name in ("m.safetensors", "s.json"):
        (found,) = tmp_path.glob(f"stream-ottt-*/{name}")
        assert found.stat().st_size > 0
        assert f"it was written to {found} instead" in said


def test_a_file_is_never_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stream_ottt.outputs.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_an_output_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_ottt.outputs.AGAIN_S", 0.0)
    tried: list[Path] = []

    def fails_once(path: Path) -> None:
        tried.append(path)
        if len(tried) == 1:
            raise OutputError("busy")

    assert write_somewhere(tmp_path / "x", fails_once) is None
    assert tried == [tmp_path / "x"] * 2


def test_what_holds_nothing_may_be_overwritten(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    check_writable(tmp_path / "x", overwrite=False)
    check_writable(Path("/dev/null"), overwrite=False)
