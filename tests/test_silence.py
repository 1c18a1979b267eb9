"""Windows of a live stream that falls silent, or lost some of its events: against the same stream read from a file."""

from __future__ import annotations

import asyncio
import threading
from itertools import pairwise

import numpy as np
import pytest
from helpers import SIZE, WINDOW, LiveSource, pipeline_of, small_session, to_the_end
from hypothesis import given
from hypothesis import strategies as st

from stream_ottt.events.binning import Binner
from stream_ottt.events.clock import CONFIRM
from stream_ottt.events.config import BinningConfig
from stream_ottt.events.packet import EventArray, EventPacket, Ledger, make_events
from stream_ottt.events.timestep import StepResult, Timestep
from stream_ottt.pipeline.sink import Sink, SinkConfig

Facts = tuple[int, int, int, int, bool]


def at_times(t: list[int]) -> EventArray:
    n = len(t)
    return make_events(np.arange(n) % SIZE, np.zeros(n), t, np.ones(n))


def facts(timesteps: list[Timestep]) -> list[Facts]:
    return [(s.index, s.t_start, s.t_end, s.events, s.new_sample) for s in timesteps]


def binner(boundaries: list[int], **config: object) -> Binner:
    settings = BinningConfig(**{"window": 10, "silence": 50, "width": SIZE, "height": SIZE, **config})
    return Binner(settings, SIZE, SIZE, Ledger(), boundaries=boundaries)


steps = st.lists(st.integers(0, 120), min_size=1, max_size=30)
cuts = st.lists(st.integers(0, 400), max_size=5, unique=True).map(sorted)


@given(steps, cuts, st.lists(st.integers(0, 200), min_size=30, max_size=30), st.sampled_from([{}, {"count": 3}]))
def test_a_clock_changes_when_timesteps_come_but_not_which(
    gaps: list[int], boundaries: list[int], waits: list[int], config: dict[str, object]
) -> None:
    """Whatever time it says, as long as no event before that time still comes."""
    t = np.cumsum(gaps).tolist()
    plain, clocked = binner(boundaries, **config), binner(boundaries, **config)
    want = [*plain.feed(at_times(t)), *plain.flush()]
    got = []
    for i, now in enumerate(t):
        got += clocked.feed(at_times([now]))
        said = now + waits[i] if i + 1 == len(t) else min(now + waits[i], t[i + 1])
        got += clocked.advance(said)
    got += clocked.flush()
    assert facts(got) == facts(want)


def test_the_last_window_comes_out_once_its_time_has_passed() -> None:
    one = binner([])
    assert facts(list(one.feed(at_times([3, 4])))) == []
    assert list(one.advance(12)) == []
    assert facts(list(one.advance(13))) == [(0, 3, 13, 2, True)]
    assert list(one.advance(99)) == []  # not again, and nothing where nothing was
    assert facts([*one.feed(at_times([35])), *one.flush()]) == [
        (1, 13, 23, 0, False),
        (2, 23, 33, 0, False),
        (3, 33, 43, 1, False),
    ]


def test_a_window_of_a_count_comes_out_after_a_silence() -> None:
    one = binner([], count=5)
    list(one.feed(at_times([3, 4])))
    assert list(one.advance(53)) == []
    assert facts(list(one.advance(54))) == [(0, 3, 5, 2, True)]
    assert facts([*one.feed(at_times([200])), *one.flush()]) == [(1, 200, 201, 1, True)]


@given(steps, cuts, st.sets(st.integers(0, 29)))
def test_where_events_are_lost_no_empty_windows_are_made_up(
    gaps: list[int], boundaries: list[int], lost: set[int]
) -> None:
    """The windows that hold events are those of the same events without a word about losses, reset as those are."""
    t = np.cumsum(gaps).tolist()
    plain, told = binner(boundaries), binner(boundaries)
    want = [*plain.feed(at_times(t)), *plain.flush()]
    got = []
    for i, now in enumerate(t):
        if i in lost:
            told.lost_some()
        got += told.feed(at_times([now]))
    got += told.flush()
    spans = [(s.t_start, s.t_end, s.events) for s in got if s.events]
    assert spans == [(s.t_start, s.t_end, s.events) for s in want if s.events]
    assert [s.index for s in got] == list(range(len(got)))
    assert sum(s.new_sample for s in got) <= sum(s.new_sample for s in want)
    for before, after in pairwise(got):
        assert before.t_end <= after.t_start
        crossed = any(before.t_start < b <= after.t_start for b in boundaries)
        assert after.new_sample or not crossed


class Pausing(LiveSource):
    """Sends its events, and then nothing, until it is told to end."""

    def __init__(self, events: EventArray) -> None:
        super().__init__(events)
        self.go_on = asyncio.Event()

    async def __aiter__(self):
        yield EventPacket(self.events, SIZE, SIZE)
        await self.go_on.wait()


class Waiting(Sink):
    """Says when the last of ``n`` results is there."""

    name = "waiting"

    def __init__(self, n: int) -> None:
        super().__init__(SinkConfig())
        self.missing = n
        self.done = threading.Event()

    async def consume(self, result: StepResult) -> None:
        self.missing -= 1
        if not self.missing:
            self.done.set()


@pytest.mark.parametrize("patience", [0.05, None])
def test_a_live_stream_that_falls_silent_is_predicted_to_its_end(patience: float | None) -> None:
    async def go() -> int:
        # The first events of a stream are held until there are some to believe its clock.
        source = Pausing(at_times([0] * CONFIRM + [WINDOW + 1, 2 * WINDOW + 1]))
        session = small_session(None)
        sink = Waiting(3 if patience else 2)
        pipeline = pipeline_of(source, [sink], session, policy="drop-oldest", patience=patience)
        running = asyncio.create_task(to_the_end(pipeline))
        assert await asyncio.to_thread(sink.done.wait, 60)  # while the source still runs
        seen = session.counters.timesteps
        source.go_on.set()
        await asyncio.wait_for(running, 60)
        assert session.counters.timesteps == 3
        return seen

    assert asyncio.run(go()) == (3 if patience else 2)
