"""Progress of long commands: a bar with the time left, on a terminal and from the third second on."""

from __future__ import annotations

import io
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from helpers import labelled_events
from ros_files import ARRAY, ROS1, ROS2, array, db3, mcap_file, ros1_bag, ros2_folder

from stream_ottt import progress
from stream_ottt.cli.info import examine
from stream_ottt.events.packet import Ledger
from stream_ottt.events.timestep import StepResult, Timestep
from stream_ottt.pipeline.view import RunFacts, RunSnapshot, RunView
from stream_ottt.progress import Bar
from stream_ottt.run.request import RunRequest
from stream_ottt.run.run import run
from stream_ottt.sinks.passes import Passes
from stream_ottt.sinks.writers import WRITERS
from stream_ottt.sources.opening import open_source


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Begun(Bar):
    """Says when it is drawn."""

    drawn = threading.Event()

    def _begin(self) -> None:
        super()._begin()
        self.drawn.set()


def stderr_is(file: io.StringIO, after_s: float, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """From within a test: pytest puts its own in place before each."""
    monkeypatch.setattr(sys, "stderr", file)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(progress, "AFTER_S", after_s)
    return file


def test_a_bar_shows_how_far_it_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = stderr_is(Terminal(), 0.0, monkeypatch)
    Begun.drawn.clear()
    with Begun("reading x[1].csv") as bar:
        assert Begun.drawn.wait(30)
        bar.at(0.25, "1,000 events")
    assert "reading x[1].csv" in terminal.getvalue() and "25%" in terminal.getvalue()
    assert "1,000 events" in terminal.getvalue()


def test_what_ends_soon_shows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = stderr_is(Terminal(), 60.0, monkeypatch)
    with Bar("reading") as bar:
        bar.at(0.5)
    assert terminal.getvalue() == ""


def test_without_a_terminal_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr_is(io.StringIO(), 0.0, monkeypatch)
    with Bar("reading") as bar:
        bar.at(0.5)
    assert not bar._timer.is_alive() and bar._progress is None


@pytest.mark.parametrize("ending", ["aedat4", "csv", "npz", "dat"])
def test_a_recording_says_how_much_of_it_was_read(ending: str, tmp_path: Path) -> None:
    """It grows from less than a half to the whole, whatever the format."""
    file = tmp_path / f"x.{ending}"
    name = next(n for n in WRITERS.names() if file.name.endswith(WRITERS.get(n).suffixes))
    events = labelled_events(0, 400, per_step=100)
    with WRITERS.get(name)(file, 8, 8) as writer:
        for part in np.array_split(events, 20):
            writer.write(part)
    shares: list[float] = []

    def at(share: float | None, told: str) -> None:
        assert share is not None
        shares.append(share)

    facts, error = examine(open_source(f"{file}?width=8&height=8" if ending == "csv" else file), at)
    assert error is None and facts["events"] == len(events)
    assert shares == sorted(shares) and shares[0] < 0.5 and 0.5 < shares[-1] <= 1


@pytest.mark.parametrize("kind", ["bag", "db3", "mcap", "folder"])
def test_a_bag_says_how_much_of_it_was_read(kind: str, tmp_path: Path) -> None:
    every = labelled_events(0, 400, per_step=100)
    types = ROS1 if kind == "bag" else ROS2
    messages = [("/events", ARRAY, array(part, types=types, size=(8, 8))) for part in np.array_split(every, 20)]
    write = {"bag": ros1_bag, "db3": db3, "mcap": mcap_file}.get(kind, ros2_folder)
    file = tmp_path / f"x.{kind}"
    write(file, messages)
    shares: list[float | None] = []
    facts, error = examine(open_source(file), lambda share, told: shares.append(share))
    assert error is None and facts["events"] == len(every)
    found = [share for share in shares if share is not None]
    assert found == shares == sorted(found) and found[0] < 0.7 and 0.9 < found[-1] <= 1


def test_a_source_with_labels_says_it_by_their_end() -> None:
    source = open_source("synthetic:?presentations=4&duration=200ms")
    shares: list[float | None] = []
    examine(source, lambda share, told: shares.append(share))
    assert None not in shares[1:] and shares[-1] == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("source", ["synthetic:?presentations=2&duration=300ms", "x.npz"])
def test_a_run_says_which_pass_it_is_in(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("x.npz", width=8, height=8, **{k: labelled_events(0, 40, per_step=500)[k] for k in "xytp"})
    shown: list[tuple[float, str]] = []
    monkeypatch.setattr(Bar, "at", lambda self, share, told="": shown.append((share, told)))
    settings = {"binning": {"width": 8, "height": 8}, "network": {"layers": [4]}, "stream": {"passes": 3}}
    assert run(RunRequest(source, overrides=settings, sinks=["progress"])) == 0
    passes = [told.partition(",")[0] for _, told in shown]
    assert passes == sorted(passes) and set(passes) == {f"pass {n} of 3" for n in (1, 2, 3)}
    assert all(shares[0] <= 1 for shares in shown) and shown[-1][0] > 0.75
    assert [share for share, _ in shown] == sorted(share for share, _ in shown)


def test_passes_are_told_by_times_that_begin_again() -> None:
    run = RunView(RunFacts("x", settings={"stream": {"passes": 5}}), lambda: RunSnapshot(None, Ledger()))
    run.pass_number = lambda: 1  # a resumed run
    passes = Passes(run)
    run.pass_number = lambda: 4  # read far ahead
    told = []
    for t in (10, 20, 10, 20, 5):
        timestep = Timestep(np.zeros((1, 1, 1), np.float32), t - 1, t, 0, 0)
        passes.see(StepResult(timestep, None))  # type: ignore[arg-type]
        told.append(passes.text)
    assert told == ["pass 2 of 5"] * 2 + ["pass 3 of 5"] * 2 + ["pass 4 of 5"]
    assert Passes(RunView(RunFacts("x"), lambda: RunSnapshot(None, Ledger()))).text == ""
