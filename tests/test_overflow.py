"""A learner that is slower than its live stream: what is dropped, what is counted, how late predictions are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import numpy as np
import pytest
from helpers import SIZE, WINDOW, ListSink, LiveSource, pipeline_of, run, small_session, to_the_end

from stream_ottt.events.clock import CONFIRM
from stream_ottt.events.packet import EventPacket, make_events
from stream_ottt.events.timestep import StepResult, Timestep
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.learning.session import Session
from stream_ottt.pipeline.pipeline import LIVE_WAITING
from stream_ottt.pipeline.queues import OverflowPolicy

PER_PACKET = 10
# Packets beside those in the queue: with the binner, on the way, with the learner; and with the clock, at the beginning
# and after a gap.
IN_FLIGHT = LIVE_WAITING + 3 + 2 * (CONFIRM // PER_PACKET + 1)


def packets_of(n: int) -> np.ndarray:
    """``n`` packets of ten events, one packet a window."""
    i = np.arange(n * PER_PACKET)
    return make_events(i % SIZE, i // SIZE % SIZE, i // PER_PACKET * WINDOW + i % PER_PACKET, i % 2)


class Gate(LiveSource):
    """A live source that says when it has sent everything, and how often the loop had its turn meanwhile."""

    def __init__(self, events: np.ndarray) -> None:
        super().__init__(events, cut=PER_PACKET)
        self.sent = threading.Event()

    async def __aiter__(self) -> AsyncIterator[EventPacket]:
        async for packet in super().__aiter__():
            yield packet
            await asyncio.sleep(0)
        self.sent.set()


def stalled(session: Session, until: threading.Event) -> None:
    """The learner does nothing before ``until``."""
    process = session.process

    def wait_and_process(timestep: Timestep) -> StepResult:
        assert until.wait(60), "the source waited for the learner"
        return process(timestep)

    session.process = wait_and_process  # type: ignore[method-assign]


@pytest.mark.parametrize("policy", ["drop-oldest", "drop-newest"])
@pytest.mark.parametrize("room", [1, 5, 40])
def test_every_event_is_in_exactly_one_count(policy: OverflowPolicy, room: int) -> None:
    source = Gate(packets_of(300))
    session = small_session(None)
    stalled(session, source.sent)
    sink = ListSink()
    pipeline = pipeline_of(
        source,
        [sink],
        session,
        policy=policy,
        queue_events=room * PER_PACKET,
    )
    assert run(pipeline).reason == "end"
    ledger = pipeline.snapshot().ledger
    assert ledger.read == len(source.events)
    assert ledger.read == ledger.accounted
    assert set(ledger.dropped) == {"overflow"}
    assert ledger.late == ledger.malformed == 0
    seen = [r.timestep.t_start // WINDOW for r in sink.results if r.timestep.events]
    assert ledger.binned == PER_PACKET * len(seen)
    assert room <= len(seen) <= room + IN_FLIGHT
    if policy == "drop-oldest":
        assert seen[-room:] == list(range(300 - room, 300))  # the newest are there
    else:
        assert seen[:room] == list(range(room))  # the oldest are
    assert [r.timestep.events for r in sink.results] == [PER_PACKET] * len(seen)  # no empty ones in between
    starts = [r.timestep.t_start for r in sink.results]
    assert all(start % WINDOW == 0 for start in starts)  # on the same grid
    assert np.all(np.diff(starts) > 0)


def test_labels_are_not_dropped_with_the_packets_between_which_they_came() -> None:
    source = Gate(packets_of(300))
    session = small_session(LabelTimeline(), late_labels=True)
    stalled(session, source.sent)
    pipeline = pipeline_of(
        source,
        [],
        session,
        policy="drop-oldest",
        queue_events=5 * PER_PACKET,
    )

    async def go() -> None:
        events = source.__aiter__

        async def with_labels() -> AsyncIterator[EventPacket]:
            n = 0
            async for packet in events():
                yield packet
                interval = LabelInterval(n * WINDOW, (n + 1) * WINDOW, 1)
                pipeline.add_label(interval)
                n += 1

        source.__class__ = type("Labelled", (Gate,), {"__aiter__": lambda _: with_labels()})
        outcome = await asyncio.wait_for(to_the_end(pipeline), 60)
        assert outcome.error is None

    asyncio.run(go())
    assert session.counters.labels_taken == session.snapshot().intervals == 300


class Steady(LiveSource):
    """One packet a millisecond, whatever the learner does."""

    async def __aiter__(self) -> AsyncIterator[EventPacket]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for n, at in enumerate(range(0, len(self.events), self.cut)):
            await asyncio.sleep(began + n * 1e-3 - loop.time())
            yield EventPacket(self.events[at : at + self.cut], SIZE, SIZE)


def test_latency_is_bounded_by_the_queue() -> None:
    """A learner four times too slow: without a bound the last predictions would be three quarters of the run late."""
    each, room, packets = 4e-3, 10, 500
    source = Steady(packets_of(packets), cut=PER_PACKET)
    session = small_session(None)
    process, never = session.process, threading.Event()

    def slowly(timestep: Timestep) -> StepResult:
        never.wait(each)
        return process(timestep)

    session.process = slowly  # type: ignore[method-assign]
    sink = ListSink()
    pipeline = pipeline_of(
        source,
        [sink],
        session,
        policy="drop-oldest",
        queue_events=room * PER_PACKET,
    )
    run(pipeline)
    late = [r.prediction.latency_s for r in sink.results]
    ledger = pipeline.snapshot().ledger
    assert ledger.read == ledger.accounted == len(source.events)
    assert ledger.dropped["overflow"] > 0
    # By the machine's own measure of a step, which is longer where others use it too.
    step = max(each, session.counters.steps.quantile_ms(0.5) / 1e3 + each)
    waiting = room + LIVE_WAITING + 3
    half = len(late) // 2
    assert np.median(late[half:]) < 3 * waiting * step
    assert np.median(late[half:]) < 3 * np.median(late[half // 2 : half]) + each
    assert pipeline.snapshot().latency.n == len(late)


def test_few_events_over_a_long_time_do_not_wait_for_long_either() -> None:
    """The queue has room for all their number, but not for all their time."""
    source = Gate(packets_of(300))
    session = small_session(None)
    stalled(session, source.sent)
    sink = ListSink()
    pipeline = pipeline_of(
        source,
        [sink],
        session,
        policy="drop-oldest",
        queue_span=20 * WINDOW,
    )
    run(pipeline)
    seen = [r.timestep.t_start // WINDOW for r in sink.results]
    assert 20 <= len(seen) <= 20 + IN_FLIGHT
    assert seen[-19:] == list(range(281, 300))
    assert pipeline.snapshot().ledger.accounted == pipeline.snapshot().ledger.read == len(source.events)
