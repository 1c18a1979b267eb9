"""What happens in a run is in the log: one JSON object a line, when it happens; as text only what a person needs."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import ListSink, ListSource, labelled_events, pipeline_of, small_session
from helpers import run as run_pipeline
from resumed import SMALL, request, run
from resumed import moved as moved_to

from stream_ottt.cli import main
from stream_ottt.cli.resume import resume
from stream_ottt.events.packet import Ledger
from stream_ottt.log import say, set_up
from stream_ottt.pipeline import sink_writer
from stream_ottt.pipeline.view import RunFacts, RunSnapshot, RunView
from stream_ottt.run import watching
from stream_ottt.run.journal import Journal
from stream_ottt.run.stopping import Stopping

pytestmark = pytest.mark.usefixtures("one_thread")

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def as_text_again() -> Any:
    yield
    set_up("text")


def lines(capsys: Captured) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    for line in found:
        assert datetime.fromisoformat(line["time"]).utcoffset() is not None
        assert line["level"] in ("info", "warning", "error") and line["message"]
    return found


def only(found: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [line for line in found if line["event"] == event]


def test_start_checkpoints_and_end(tmp_path: Path, capsys: Captured) -> None:
    set_up("json")
    run(request(tmp_path / "run"))
    found = lines(capsys)
    assert [found[0]["event"], found[-1]["event"]] == ["start", "end"]
    start, end = found[0], found[-1]
    assert start["classes"] == [0, 1, 2] and start["network"] == "4" and start["sensor"] == [128, 128]
    summary = json.loads((tmp_path / "run" / "s.json").read_text())
    assert (end["reason"], end["code"], end["timesteps"]) == ("end", 0, summary["timesteps"])
    written = only(found, "checkpoint")
    assert len(written) == summary["checkpoints"]["written"] > 0 and all(line["ok"] for line in written)


def test_as_text_the_same_run_says_nothing(tmp_path: Path, capsys: Captured) -> None:
    set_up("text")
    run(request(tmp_path / "run"))
    assert capsys.readouterr().err == ""


def test_a_resumed_run_names_its_gap(tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_ottt.sources.synthetic.PACKET_EVENTS", 800)
    run(request(tmp_path / "whole"))
    first = min(
        int(f.stem.partition("-")[2]) for f in (tmp_path / "whole" / "checkpoints").glob("*.json") if "-" in f.stem
    )
    moved_to(tmp_path / "whole", tmp_path / "cut", first)
    capsys.readouterr()
    set_up("json")
    assert resume(tmp_path / "cut" / "checkpoints", force=False, stopping=Stopping()) == 0
    (gap,) = only(lines(capsys), "gap")
    assert gap["lost"] is False and gap["timesteps"] > 0 and gap["since"] < gap["until"]


def test_a_rollback_and_its_warning_are_said_when_they_happen(tmp_path: Path, capsys: Captured) -> None:
    set_up("json")
    run(request(tmp_path / "run", {"learner": {"lr": 1e30}, "labels": {"delay": "0"}}))
    found = lines(capsys)
    assert only(found, "rollback")[-1]["rollbacks"] == 5
    assert any("use a smaller learner.lr" in line["message"] for line in only(found, "warning"))
    assert found[-1]["event"] == "end"


def test_a_new_epoch_of_the_clock(tmp_path: Path, capsys: Captured) -> None:
    events = labelled_events(0, 40)
    back = events.copy()
    back["t"] += 5_000_000
    np.savez(tmp_path / "e.npz", **{k: np.concatenate([back[k], events[k]]) for k in ("t", "x", "y", "p")})
    set_up("json")
    source = f"{tmp_path}/e.npz?width=8&height=8"
    run(request(tmp_path / "run", SMALL, source=source, checkpoints=None, sinks=[]))
    (epoch,) = only(lines(capsys), "epoch")
    assert epoch["epochs"] == 2 and epoch["jump"]["before"] > 5_000_000 > epoch["jump"]["after"]


def test_a_sink_that_fails_and_works_again(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_writer, "FIRST_PAUSE_S", 0.01)
    set_up("json")

    class Once(ListSink):
        async def consume(self, result) -> None:  # type: ignore[no-untyped-def]
            if len(self.results) == 5 and self.fail_at is None:
                self.fail_at = -1
                raise OSError("the disk is full")
            await super().consume(result)

    run_pipeline(pipeline_of(ListSource(labelled_events(0, 5)), [Once()], small_session(None)))
    failed, again = only(lines(capsys), "sink")
    assert failed["sink"] == again["sink"] == "list"
    assert (failed["working"], again["working"], again["missed"]) == (False, True, 0)
    assert "the disk is full" in failed["message"] and failed["level"] == "warning"


def test_an_error_before_the_run_is_a_line_too(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["stream-ottt", "run", "--source", "nowhere.aedat4", "--log-format", "json"])
    with pytest.raises(SystemExit) as ended:
        main()
    (line,) = lines(capsys)
    assert (line["level"], line["event"], line["code"], ended.value.code) == ("error", "error", 3, 3)
    monkeypatch.setattr("sys.argv", ["stream-ottt", "run", "--source", "synthetic:", "--log-format", "xml"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2


def test_what_json_cannot_hold_is_escaped(capsys: Captured) -> None:
    set_up("json")
    say("line\nbreak \ud800", "note", path=Path("/a"), number=np.int64(3))
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"].startswith("line\nbreak") and json.loads(line)["path"] == "/a"


def test_a_live_source_that_is_silent_is_said_once_and_its_return(capsys: Captured) -> None:
    now = [0.0]
    journal = Journal("camera", lambda: now[0])
    for now[0], read in ((9.0, 0), (11.0, 0), (30.0, 0), (42.0, 5), (51.0, 5), (53.0, 5), (54.0, 6)):
        journal.look(RunSnapshot(None, Ledger(read)))
    said = [line.partition(": ")[2] for line in capsys.readouterr().err.splitlines()]
    silence = "camera: no events have come for 10 s; they are waited for"
    assert said == [
        silence,
        "camera: events come again, after 42 s",
        silence,
        "camera: events come again, after 12 s",
    ]


def test_a_file_is_not_said_to_be_silent(capsys: Captured) -> None:
    now = [0.0]
    journal = Journal(None, lambda: now[0])
    for now[0] in (1.0, 100.0):
        journal.look(RunSnapshot(None, Ledger(0)))
    assert not capsys.readouterr().err


def test_a_look_that_fails_is_said_once_and_the_next_one_is_taken(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    looks: list[int] = []
    enough = asyncio.Event()

    def look(_: object, __: object) -> None:
        looks.append(1)
        if len(looks) == 4:
            enough.set()
        if len(looks) < 4:
            raise ValueError("in the look")

    monkeypatch.setattr(Journal, "look", look)
    monkeypatch.setattr(watching, "LOOK_S", 0.0)

    async def go() -> None:
        async with watching.Watching(RunView(RunFacts("test"), lambda: RunSnapshot(None, Ledger()))):
            await asyncio.wait_for(enough.wait(), 20)

    asyncio.run(go())
    assert capsys.readouterr().err.count("the run could not be looked at: ValueError: in the look") == 1
