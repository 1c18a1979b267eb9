"""A sink that fails, stalls or blocks stops neither the learning nor anything else, and gets what it can."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers import (
    ListSink,
    ListSource,
    LiveSource,
    labelled_events,
    pipeline_of,
    run,
    small_session,
    timesteps,
    to_the_end,
)

from stream_ottt.events.packet import Ledger
from stream_ottt.events.timestep import Prediction, StepResult
from stream_ottt.pipeline import sink_writer
from stream_ottt.pipeline.sink_writer import WAITING, SinkWriter
from stream_ottt.pipeline.view import RunFacts, RunSnapshot, RunView
from stream_ottt.sinks.opening import open_sink

EVENTS = labelled_events(0, 60)  # 600 timesteps
STEP = timesteps(EVENTS[:100])[0]
RESULT = StepResult(STEP, Prediction.of(STEP, np.zeros(2), [1, 2]))
VIEW = RunView(RunFacts("test"), lambda: RunSnapshot(None, Ledger()))


def into(said: list[str]) -> Callable[..., None]:
    """What is said of sinks goes there."""
    return lambda text, event="note", **_: said.append(text) if event == "sink" else None


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_writer, "STALLED_S", 0.1)
    monkeypatch.setattr(sink_writer, "FIRST_PAUSE_S", 0.01)


class Stuck(ListSink):
    """Blocks its thread at a result, as a write to a full pipe does, until released."""

    name = "stuck"

    def __init__(self, at: int = 5) -> None:
        super().__init__()
        self.at, self.release, self.stuck = at, threading.Event(), threading.Event()

    async def consume(self, result) -> None:
        if len(self.results) == self.at:
            self.stuck.set()
            self.release.wait(60)
        await super().consume(result)


@pytest.mark.parametrize("live", [False, True])
def test_a_sink_that_blocks_holds_up_nobody_and_the_end_not_for_long(
    hasty: None, live: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine the good sink's thread may not run for a while: it has room for all, or a second's patience.
    if live:
        monkeypatch.setattr(sink_writer, "WAITING", 1024)
    else:
        monkeypatch.setattr(sink_writer, "STALLED_S", 1.0)
    said: list[str] = []
    good, stuck = ListSink(), Stuck()
    source = LiveSource(EVENTS) if live else ListSource(EVENTS)
    policy = "drop-oldest" if live else "block"
    pipeline = pipeline_of(source, [stuck, good], small_session(None), policy=policy, grace=2, say=into(said))
    began = time.monotonic()
    try:
        assert run(pipeline).reason == "end"
    finally:
        stuck.release.set()
    assert time.monotonic() - began < 20
    assert len(good.results) == 600
    state = pipeline.snapshot().sinks["stuck"]
    assert state.missed == 600 - 6 and not state.working
    assert len(said) == 1 and said[0].startswith("sink stuck: ")


@pytest.mark.parametrize("lossy", [False, True])
def test_a_sink_that_stands_for_long_is_given_no_more_time_at_the_end(hasty: None, lossy: bool) -> None:
    said: list[str] = []
    stuck = Stuck()

    pipeline = pipeline_of(
        LiveSource(EVENTS) if lossy else ListSource(EVENTS),
        [stuck],
        session := small_session(None),
        policy="drop-oldest" if lossy else "block",
        grace=100,
        say=into(said),
    )
    process = session.process

    def wait_at_the_last(timestep: Any) -> Any:
        if timestep.index == 599:
            stuck.stuck.wait(60)
            threading.Event().wait(0.2)  # it stands for longer than it may
        return process(timestep)

    session.process = wait_at_the_last  # type: ignore[method-assign]
    try:
        assert run(pipeline, 50).reason == "end"
    finally:
        stuck.release.set()
    assert pipeline.snapshot().sinks["stuck"].missed == 600 - 6
    told = "takes nothing at the end" if lossy else "has taken nothing for 0.1 s"
    assert len(said) == 1 and told in said[0]


def test_a_sink_that_works_again_at_the_end_has_all_its_time(hasty: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_writer, "LAST_TRY_S", 0.1)
    works = threading.Event()

    class Slow(ListSink):
        async def consume(self, result: StepResult) -> None:
            if not works.is_set():
                raise OSError("no room")
            await asyncio.sleep(0.002)  # all that wait take longer than a last try
            await super().consume(result)

    pipeline = pipeline_of(ListSource(EVENTS), [slow := Slow()], session := small_session(None), grace=50)
    process = session.process

    def work_from_the_last_on(timestep: Any) -> Any:
        if timestep.index == 599:
            works.set()
        return process(timestep)

    session.process = work_from_the_last_on  # type: ignore[method-assign]
    assert run(pipeline, 50).reason == "end"
    state = pipeline.snapshot().sinks["list"]
    assert len(slow.results) + state.missed == 600 and len(slow.results) >= WAITING - 2
    assert state.working


def test_a_sink_that_rests_is_given_all_that_came_and_the_end_does_not_wait_for_it() -> None:
    class Resting(ListSink):
        """Rests for an hour once it has taken the first result, and takes the others at the end of the run."""

        rests = 0

        async def consume(self, result: StepResult) -> None:
            await super().consume(result)
            if self.rests:
                assert ended.is_set(), "a result came while it rested"

        def rest(self) -> float:
            if not self.results:
                return 0.0
            self.rests += 1
            resting.set()
            return 3600.0

    resting, ended, sink, session = threading.Event(), threading.Event(), Resting(), small_session(None)
    process = session.process

    def note_the_end(timestep: Any) -> Any:
        if timestep.index == 1:  # the first result was handed over before
            resting.wait(60)
        if timestep.index == 99:
            ended.set()
        return process(timestep)

    session.process = note_the_end  # type: ignore[method-assign]
    assert run(pipeline_of(ListSource(labelled_events(0, 10)), [sink], session)).reason == "end"
    assert [r.timestep.index for r in sink.results] == list(range(100))
    assert sink.rests == 1


def test_a_sink_that_comes_back_goes_on(hasty: None) -> None:
    said: list[str] = []

    class Returning(Stuck):
        has_room = threading.Event()

        async def consume(self, result: StepResult) -> None:
            await super().consume(result)
            if len(self.results) == WAITING:
                self.has_room.set()

    stuck, session = Returning(), small_session(None)
    process = session.process

    def release(timestep: Any) -> Any:
        if timestep.index == 500:
            stuck.release.set()
            stuck.has_room.wait(60)
        return process(timestep)

    session.process = release  # type: ignore[method-assign]
    pipeline = pipeline_of(ListSource(EVENTS), [stuck, ListSink()], session, say=into(said))
    run(pipeline)
    state = pipeline.snapshot().sinks["stuck"]
    assert state.working and len(stuck.results) + state.missed == 600
    assert [text for text in said if "stuck" in text][1].endswith(f"works again; {state.missed} results were missed")
    seen = [r.timestep.index for r in stuck.results]
    assert seen[: WAITING + 6] == list(range(WAITING + 6)) and seen == sorted(seen)
    assert seen[-1] == 599


def test_a_sink_that_fails_for_a_while_is_tried_again_and_misses_nothing(hasty: None) -> None:
    class Flaky(ListSink):
        tries = 0

        async def consume(self, result) -> None:
            self.tries += 1
            if self.tries in (3, 40, 41, 42):
                raise OSError(28, "No space left on device")
            await super().consume(result)

    said: list[str] = []
    sink = Flaky()
    session = small_session(None)
    pipeline = pipeline_of(ListSource(EVENTS[:4000]), [sink], session, say=into(said))
    run(pipeline)
    # Each result has two attempts: the 41st try was the second of one, so that this one is missed.
    state = pipeline.snapshot().sinks["list"]
    assert (state.missed, state.working) == (1, True)
    assert [r.timestep.index for r in sink.results] == [i for i in range(session.counters.timesteps) if i != 38]
    assert sum("No space left" in text for text in said) == 1  # once, however often it fails


def test_whoever_counts_a_missed_result_it_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that found no room, and those that the sink did not take."""
    monkeypatch.setattr(sink_writer, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(sink_writer, "WAITING", 1)

    class Broken(ListSink):
        async def consume(self, result) -> None:
            raise RuntimeError("no")

    async def hand_over() -> SinkWriter:
        writer = SinkWriter(Broken(), "broken", lossy=True, say=lambda *_, **__: None)
        await writer.open(VIEW)
        for _ in range(1000):
            assert writer.put(RESULT)
        writer.end()
        await writer.drain(60)
        await writer.close(None, 60)
        return writer

    assert asyncio.run(hand_over()).missed == 1000


def test_pauses_between_attempts_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_writer, "FIRST_PAUSE_S", 0.02)
    at: list[float] = []

    class Broken(ListSink):
        async def consume(self, result) -> None:
            at.append(time.monotonic())
            if len(at) == 5:
                enough.set()
            raise RuntimeError("no")

    class Waiting(ListSink):
        async def consume(self, result) -> None:
            if len(self.results) == 100:
                enough.wait(30)
            await super().consume(result)

    enough = threading.Event()
    waiting = Waiting()
    waiting.name = "waiting"  # type: ignore[misc]
    run(pipeline_of(ListSource(EVENTS), [Broken(), waiting], small_session(None), say=lambda *_, **__: None))
    pauses = [b - a for a, b in pairwise(at[:5])]
    assert all(pause >= 0.02 * 2**i for i, pause in enumerate(pauses))


def test_a_pause_is_short_again_once_the_sink_has_worked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_writer, "FIRST_PAUSE_S", 0.01)

    class EverySecond(ListSink):
        tries = 0

        async def consume(self, result) -> None:
            self.tries += 1
            if self.tries <= 24 and self.tries % 2:
                raise RuntimeError("no")
            await super().consume(result)

    sink = EverySecond()
    writer = SinkWriter(sink, "list", lossy=False, say=lambda *_, **__: None)

    async def go() -> float:
        await writer.open(VIEW)
        began = time.monotonic()
        for _ in range(12):
            assert writer.put(RESULT)
        taken = writer.mark()
        await asyncio.wrap_future(taken)
        pauses = time.monotonic() - began
        writer.end()
        await writer.drain(60)
        await writer.close(None, 60)
        return pauses

    assert 12 * 0.01 <= asyncio.run(go()) < 20  # twelve that double would take 40 s
    assert len(sink.results) == 12 and writer.missed == 0


def test_a_sink_that_is_full_again_and_again_does_not_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stalls when it takes nothing for long, not when it has been slow for long."""
    now = 100.0
    monkeypatch.setattr(sink_writer, "WAITING", 1)
    monkeypatch.setattr(sink_writer, "time", SimpleNamespace(monotonic=lambda: now))
    writer = SinkWriter(ListSink(), "list", lossy=False, say=lambda *_, **__: None)
    assert writer.put(RESULT)
    for _ in range(3):
        assert not writer.put(RESULT)  # full: to be repeated
        now += 0.9 * sink_writer.STALLED_S
        assert not writer.put(RESULT)
        assert writer._queue.get(0) is RESULT  # the sink takes one
        assert writer.put(RESULT)
    assert writer.working and writer.missed == 0
    assert not writer.put(RESULT)
    now += 1.1 * sink_writer.STALLED_S
    assert writer.put(RESULT)  # given up
    assert not writer.working and writer.missed == 1


def test_a_sink_that_does_not_move_holds_one_mark_which_ends_with_it() -> None:
    """However many checkpoints are written meanwhile."""
    writer = SinkWriter(Stuck(), "stuck", lossy=False, say=lambda *_, **__: None)
    assert writer.put(RESULT)
    first = writer.mark()
    assert not first.done()
    assert [writer.mark().result(0) for _ in range(5)] == [None] * 5
    asyncio.run(writer.drain(0.01))
    assert first.result(0) is None and writer.missed == 1


def test_commands_are_done_while_a_sink_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_writer, "STALLED_S", 60.0)
    stuck = Stuck()
    pipeline = pipeline_of(ListSource(EVENTS), [stuck], small_session(None))

    async def go() -> None:
        running = asyncio.create_task(to_the_end(pipeline))
        assert await asyncio.to_thread(stuck.stuck.wait, 60)
        while pipeline.writers[0]._queue.weight < WAITING:  # noqa: ASYNC110 - until the learner waits
            await asyncio.sleep(0.001)
        assert await asyncio.wait_for(asyncio.wrap_future(pipeline.do(lambda s: s.counters.timesteps)), 10) > WAITING
        stuck.release.set()
        await running

    asyncio.run(asyncio.wait_for(go(), 60))
    assert len(stuck.results) == 600


# --- pipes ---------------------------------------------------------------------------------------------------------


def piped(path: Path, read: Callable[[int], None] | None = None) -> list[str]:
    """Run into a named pipe; ``read`` has its reading end. What was said."""
    os.mkfifo(path)
    said: list[str] = []
    end = os.open(path, os.O_RDONLY | os.O_NONBLOCK) if read is not None else None
    pipeline = pipeline_of(
        ListSource(EVENTS),
        [open_sink(f"jsonl:{path}")],
        small_session(None),
        grace=0.3,
        say=into(said),
    )
    reader = threading.Thread(target=read, args=(end,), daemon=True) if read is not None and end is not None else None
    if reader is not None:
        reader.start()
    assert run(pipeline, 30).reason == "end"
    assert pipeline.snapshot().session.timesteps == 600
    said = list(said)  # as it was at the end
    if reader is not None and end is not None:
        reader.join(60)
        os.close(end)  # whoever is still stuck in a write comes back
        for thread in threading.enumerate():
            if thread.name.startswith("left behind"):
                thread.join(60)
    return said


def test_a_pipe_without_a_reader_does_not_hang_the_start(hasty: None, tmp_path: Path) -> None:
    said = piped(tmp_path / "pipe")
    assert len(said) == 1 and "pipe: cannot be written: nobody reads it" in said[0]


def test_a_pipe_whose_reader_stops_does_not_hold_up_the_run(hasty: None, tmp_path: Path) -> None:
    assert len(piped(tmp_path / "pipe", lambda end: None)) <= 1


def test_a_pipe_that_is_read_gets_every_line(tmp_path: Path) -> None:
    got = bytearray()

    def read(end: int) -> None:
        os.set_blocking(end, True)
        # Before the run has opened its end, there is nothing to read either.
        while (data := os.read(end, 1 << 16)) or not got:
            got.extend(data)

    assert piped(tmp_path / "pipe", read) == []
    assert [json.loads(line)["step"] for line in got.decode().splitlines()] == list(range(600))


def test_two_runs_do_not_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"

    async def go() -> None:
        first = pipeline_of(ListSource(EVENTS), [open_sink(f"jsonl:{path}")], small_session(None))
        second = pipeline_of(ListSource(EVENTS), [open_sink(f"jsonl:{path}")], small_session(None))
        await first.writers.open(first.view)
        with pytest.raises(Exception, match="another program writes it"):
            await second.writers.open(second.view)
        await first.run()
        await first.writers.drain()
        await first.writers.close(None)

    asyncio.run(asyncio.wait_for(go(), 60))
    assert len(path.read_text().splitlines()) == 600
