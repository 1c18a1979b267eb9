"""The tasks between source and sinks: nothing lost, nothing counted twice, errors and stops end it cleanly."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest
from helpers import (
    ListSink,
    ListSource,
    LiveSource,
    Prepared,
    intervals,
    labelled_events,
    pipeline_of,
    run,
    small_session,
    timesteps,
    to_the_end,
)

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import EventPacket
from stream_ottt.labels.timeline import LabelTimeline
from stream_ottt.learning.session import Session
from stream_ottt.pipeline.pipeline import WAITING, Pipeline
from stream_ottt.pipeline.sink import Sink
from stream_ottt.pipeline.view import RunFacts

PRESENTATIONS = 6
EVENTS = labelled_events(0, PRESENTATIONS)


def make(source, sinks: list[Sink], timeline: LabelTimeline | None = None, **options) -> tuple[Pipeline, Session]:
    session = small_session(timeline)
    return pipeline_of(source, sinks, session, timeline, **options), session


def test_every_event_becomes_part_of_a_timestep_and_every_timestep_reaches_the_sink() -> None:
    timeline = LabelTimeline(intervals(PRESENTATIONS))
    sink = ListSink()
    pipeline, _ = make(ListSource(EVENTS), [sink], timeline)
    assert run(pipeline).reason == "end"
    want = timesteps(EVENTS, timeline)
    assert [r.timestep.index for r in sink.results] == [t.index for t in want]
    for r, t in zip(sink.results, want, strict=True):
        np.testing.assert_array_equal(r.timestep.frame, t.frame)
    ledger = pipeline.snapshot().ledger
    assert ledger.read == ledger.binned == len(EVENTS)


def test_how_the_source_cuts_its_packets_changes_no_prediction() -> None:
    said = []
    for cut in (1, 37, 5000):
        timeline = LabelTimeline(intervals(PRESENTATIONS))
        sink = ListSink()
        run(make(ListSource(EVENTS, cut=cut), [sink], timeline)[0])
        said.append(np.array([r.prediction.logits for r in sink.results]))
    np.testing.assert_array_equal(said[0], said[1])
    np.testing.assert_array_equal(said[0], said[2])


@pytest.mark.parametrize("max_steps", [1, 7, 16, 17, 59])
def test_stops_after_max_steps_and_accounts_for_the_rest(max_steps: int) -> None:
    sink = ListSink()
    pipeline, session = make(ListSource(EVENTS), [sink], max_steps=max_steps)
    assert run(pipeline).reason == "max-steps"
    assert session.counters.timesteps == len(sink.results) == max_steps
    ledger = pipeline.snapshot().ledger
    assert ledger.read == ledger.accounted
    assert ledger.binned == sum(r.timestep.events for r in sink.results)


@pytest.mark.parametrize("at", [0, 3, 20])
@pytest.mark.parametrize("speed", [None, 2.0])
def test_a_stop_finishes_the_step_and_accounts_for_the_rest(at: int, speed: float | None) -> None:
    class StoppingSink(ListSink):
        async def consume(self, result) -> None:
            await super().consume(result)
            if len(self.results) == at + 1:
                pipeline.stop()

    sink = StoppingSink()
    pipeline, session = make(ListSource(EVENTS), [sink], speed=speed)
    assert run(pipeline).reason == "interrupted"
    ledger = pipeline.snapshot().ledger
    assert 0 < len(sink.results) == session.counters.timesteps
    assert ledger.read == ledger.accounted


def test_what_ends_a_run_first_is_its_reason() -> None:
    pipeline = pipeline_of(ListSource(labelled_events(0, 6)), [], small_session(None))
    pipeline.stop("max-steps")
    pipeline.stop()
    assert run(pipeline).reason == "max-steps"


def test_a_source_that_fails_as_it_is_stopped_was_stopped() -> None:
    class Sore(LiveSource):
        async def __aiter__(self) -> AsyncIterator[EventPacket]:
            try:
                async for packet in super().__aiter__():
                    yield packet
                await asyncio.to_thread(pipeline.learning.ready.wait)
                pipeline.stop()
                await asyncio.Event().wait()
            finally:
                raise InputError("it did not like that")

    pipeline = pipeline_of(Sore(labelled_events(0, 6)), [], small_session(None), policy="drop-oldest")
    outcome = run(pipeline)
    assert (outcome.reason, outcome.error) == ("interrupted", None)


def test_a_source_that_does_not_come_back_is_left_behind_with_what_it_holds() -> None:
    class Stuck(ListSource):
        def packets(self) -> Iterator[EventPacket]:
            yield from super().packets()
            pipeline.stop()
            there.set()
            release.wait(60)

    there, release = threading.Event(), threading.Event()
    pipeline = pipeline_of(Stuck(events := labelled_events(0, 6)), [], small_session(None), grace=0.05)
    try:
        assert run(pipeline).reason == "interrupted"
        assert there.is_set()
        ledger = pipeline.snapshot().ledger
        assert ledger.read == ledger.accounted == len(events) and ledger.dropped["stopped"] > 0
    finally:
        release.set()
    (late,) = (thread for thread in threading.enumerate() if thread.name == "binner")
    late.join(60)  # it ends without a word


class Endless(LiveSource):
    """Gives nothing more after its events, and does not end."""

    async def __aiter__(self) -> AsyncIterator[EventPacket]:
        async for packet in super().__aiter__():
            yield packet
        await asyncio.Event().wait()


def test_an_error_in_the_learner_ends_the_run_of_a_source_that_is_silent() -> None:
    session = small_session(None)
    session.process = lambda timestep: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    outcome = run(pipeline_of(Endless(labelled_events(0, 6)), [], session, policy="drop-oldest"))
    assert outcome.reason == "failed" and isinstance(outcome.error, ZeroDivisionError)


@pytest.mark.parametrize("live", [False, True])
def test_a_run_that_is_cancelled_ends_in_order_and_says_so(live: bool) -> None:
    events = labelled_events(0, 60)
    source = Endless(events) if live else ListSource(events)
    session = small_session(None)
    stalled = _Stalled(session)
    pipeline = pipeline_of(source, [], session, policy="drop-oldest" if live else "block")

    async def go() -> None:
        running = asyncio.create_task(pipeline.run())
        await asyncio.to_thread(stalled.entered.wait)
        asyncio.get_running_loop().call_later(0.05, stalled.release.set)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert stalled.release.is_set()  # it was waited for

    asyncio.run(asyncio.wait_for(go(), 60))
    assert pipeline.snapshot().ledger.in_hand == 0


def test_damaged_input_ends_the_run_after_all_that_was_good() -> None:
    sink = ListSink()
    error = InputError("cut short", path="x.aedat4", offset=77)
    pipeline, _ = make(ListSource(EVENTS, error=error), [sink])
    outcome = run(pipeline)
    assert outcome.reason == "damaged" and outcome.error is error
    assert len(sink.results) == len(timesteps(EVENTS))
    assert pipeline.snapshot().ledger.binned == len(EVENTS)


@pytest.mark.parametrize("events", [EVENTS[:0], EVENTS])
def test_a_source_that_breaks_in_its_own_way_shows_its_own_error(events) -> None:
    sink = ListSink()
    pipeline, session = make(ListSource(events, error=ZeroDivisionError("in the decoder")), [sink])
    outcome = run(pipeline)
    assert outcome.reason == "failed" and isinstance(outcome.error, ZeroDivisionError)
    ledger = pipeline.snapshot().ledger
    assert len(events) == ledger.binned == ledger.accounted  # what was good before is kept
    assert len(sink.results) == session.counters.timesteps


def test_an_error_while_building_the_network_is_the_one_that_is_shown() -> None:
    class Broken(Prepared):
        def build(self, width: int, height: int, begins: object):
            raise UsageError("network.layers: no")

    pipeline = Pipeline(ListSource(EVENTS), [], RunFacts("test"), Broken(small_session(None)))
    outcome = run(pipeline)
    assert isinstance(outcome.error, UsageError) and not outcome.began
    assert pipeline.snapshot().ledger.in_hand == 0


def test_an_error_in_the_learner_ends_the_run_with_that_error() -> None:
    pipeline, session = make(ListSource(EVENTS), [ListSink()])

    def broken(*args: object, **options: object) -> None:
        raise ArithmeticError("no such synapse")

    session.learner.step = broken  # type: ignore[assignment]
    outcome = run(pipeline)
    assert outcome.reason == "failed" and isinstance(outcome.error, ArithmeticError)
    assert pipeline.snapshot().ledger.in_hand == 0


def test_of_two_errors_the_first_is_the_one_that_is_shown() -> None:
    """What fails in the learner once the binner has failed may follow from that."""
    pipeline, session = make(ListSource(EVENTS), [ListSink()])

    def broken_taker(*_: object) -> None:
        pipeline.learning.ready.wait()
        raise ZeroDivisionError("in the binner")

    def broken_finish() -> None:
        raise ArithmeticError("in the learner")

    pipeline.binner._takers = [broken_taker]
    session.finish = broken_finish  # type: ignore[method-assign]
    outcome = run(pipeline)
    assert outcome.reason == "failed" and isinstance(outcome.error, ZeroDivisionError)


def test_a_failing_sink_stops_neither_the_learning_nor_the_others() -> None:
    good, bad = ListSink(), ListSink(fail_at=5)
    bad.name = "bad"  # type: ignore[misc]
    pipeline, session = make(ListSource(EVENTS), [bad, good])
    assert run(pipeline).reason == "end"
    assert len(good.results) == session.counters.timesteps == len(timesteps(EVENTS))
    state = pipeline.snapshot().sinks
    assert (state["bad"].failure, state["list"].failure) == ("the disk is full", None)
    assert state["bad"].missed == len(good.results) - 5


def test_malformed_events_are_counted_and_left_out() -> None:
    events = EVENTS.copy()
    events["x"][::10] = 99
    events["t"][5] = -1
    pipeline, _ = make(ListSource(events), [])
    run(pipeline)
    ledger = pipeline.snapshot().ledger
    assert ledger.malformed == len(events[::10]) + 1
    assert ledger.read == ledger.accounted


def test_passes_go_over_the_source_again_with_indices_that_go_on() -> None:
    timeline = LabelTimeline(intervals(PRESENTATIONS))
    sink = ListSink()
    pipeline, session = make(ListSource(EVENTS), [sink], timeline, passes=3)
    run(pipeline)
    once = len(timesteps(EVENTS, timeline))
    assert [r.timestep.index for r in sink.results] == list(range(3 * once))
    assert not any(r.scored for r in sink.results[once:])
    assert len(session.evaluator.hits) == PRESENTATIONS


class _Stalled:
    """Holds the learner's thread until released."""

    def __init__(self, session: Session) -> None:
        self.release, self.entered = threading.Event(), threading.Event()
        self.process = session.process
        session.process = self  # type: ignore[assignment, method-assign]

    def __call__(self, timestep):
        self.entered.set()
        assert self.release.wait(60)
        return self.process(timestep)


@pytest.mark.parametrize("policy", ["drop-oldest", "drop-newest"])
def test_a_stalled_learner_never_holds_up_a_live_source(policy) -> None:
    events = labelled_events(3, 60)

    class CountingSource(LiveSource):
        async def __aiter__(self):
            async for packet in super().__aiter__():
                yield packet
                # Until the first timestep is there, so that nothing is taken later than it seems.
                assert await asyncio.to_thread(stalled.entered.wait, 60)
            # The whole stream went by while the learner stood still.
            stalled.release.set()

    sink = ListSink()
    pipeline, session = make(CountingSource(events, cut=100), [sink], policy=policy, queue_events=1000)
    stalled = _Stalled(session)
    assert run(pipeline).reason == "end"
    ledger = pipeline.snapshot().ledger
    assert ledger.read == len(events)
    assert ledger.dropped["overflow"] > len(events) // 2
    assert ledger.read == ledger.accounted
    last = sink.results[-1].timestep.t_end
    if policy == "drop-oldest":
        assert last > events["t"][-1] - 1000
    else:
        assert last < events["t"][-1] - 10_000


def test_a_file_waits_for_a_stalled_learner_and_loses_nothing() -> None:
    events = labelled_events(3, 200)
    pipeline, session = make(ListSource(events), [], policy="block")
    stalled = _Stalled(session)

    async def main() -> int:
        running = asyncio.create_task(to_the_end(pipeline))
        while len(pipeline.learning.queue) < WAITING:  # noqa: ASYNC110 - the queue has no event for this
            await asyncio.sleep(0)
        read = pipeline.snapshot().ledger.read
        stalled.release.set()
        await running
        return read

    assert asyncio.run(asyncio.wait_for(main(), 60)) < len(events) // 2
    ledger = pipeline.snapshot().ledger
    assert ledger.binned == ledger.read == len(events)


def test_plays_at_the_streams_own_pace() -> None:
    events = labelled_events(0, 2)  # 20 ms
    pipeline, _ = make(ListSource(events, cut=400), [], speed=0.2)
    began = time.perf_counter()
    run(pipeline)
    assert pipeline.snapshot().ledger.binned == len(events)
    assert time.perf_counter() - began >= 0.95 * 0.02 / 0.2


@pytest.mark.parametrize("at", [0, 100, 199])
def test_a_wrong_time_is_not_slept_on(at: int) -> None:
    events = labelled_events(0, 2)
    events["t"][at] = 2**40
    pipeline, _ = make(ListSource(events, cut=100), [], speed=1.0)
    run(pipeline)  # in a minute, not in the twelve days that lie between
    assert pipeline.snapshot().ledger.accounted == len(events)
