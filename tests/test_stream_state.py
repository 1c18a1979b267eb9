"""A binner and its thread that are stopped anywhere and go on from their state make the same timesteps."""

from __future__ import annotations

from threading import Event

import numpy as np
import pytest
from helpers import SIZE, WINDOW, ListSource, intervals, labelled_events
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_ottt.events.binning import Binner
from stream_ottt.events.config import BinningConfig
from stream_ottt.events.frames import FRAMES
from stream_ottt.events.packet import EventPacket, Ledger, make_events
from stream_ottt.events.timestep import Timestep
from stream_ottt.labels.timeline import LabelTimeline
from stream_ottt.pipeline.binning_thread import BinningThread
from stream_ottt.pipeline.file_reader import FileReader
from stream_ottt.pipeline.handed import Handed, Pass
from stream_ottt.pipeline.queues import BoundedQueue
from stream_ottt.pipeline.source_reader import Arrived

EVENTS = labelled_events(5, 6)
BINNING = BinningConfig(window=WINDOW, width=SIZE, height=SIZE)
TIMELINE = LabelTimeline(intervals(6))


def facts(timesteps: list[Timestep]) -> list[tuple[object, ...]]:
    return [(t.index, t.t_start, t.t_end, t.events, t.new_sample, t.frame.tobytes()) for t in timesteps]


@settings(max_examples=40)
@given(
    cut=st.integers(0, len(EVENTS)),
    count=st.sampled_from([None, 7]),
    lost=st.booleans(),
    frame=st.sampled_from(FRAMES.names()),
)
def test_a_binner_goes_on_from_its_state(cut: int, count: int | None, lost: bool, frame: str) -> None:
    config = BINNING.model_copy(update={"count": count, "frame": frame})
    boundaries = TIMELINE.boundaries()
    one, other = (Binner(config, SIZE, SIZE, Ledger(), boundaries=boundaries) for _ in range(2))
    before = facts([*one.feed(EVENTS[:cut])])
    if lost:
        one.lost_some()
    other.load_state_dict(one.state_dict())
    got, want = ([*b.feed(EVENTS[cut:]), *b.flush()] for b in (other, one))
    assert before + facts(got) == before + facts(want)


def thread_of(queue: BoundedQueue[Handed], passes: int, cut: int) -> BinningThread:
    ready = Event()
    ready.set()
    reader = FileReader(ListSource(EVENTS, cut=cut), passes=passes, speed=None, stopped=Event(), ready=ready)
    begins = Pass(TIMELINE, tuple(TIMELINE.boundaries()))
    return BinningThread(reader, BINNING, lambda *_: begins, queue, stopped=Event(), fail=fail, timed=False)


def fail(error: BaseException) -> None:
    raise error


def taken_from(queue: BoundedQueue[Handed]) -> list[Handed]:
    got = []
    while (handed := queue.get(10)) is not None:
        got.append(handed)
    return got


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("cut", [40, 333])
def test_the_thread_goes_on_behind_what_it_took(passes: int, cut: int) -> None:
    """A mark at the end of each packet: from any of them on, a new thread makes what the old one made."""
    queue: BoundedQueue[Handed] = BoundedQueue(10**6)
    whole = thread_of(queue, passes, cut)
    usable = whole._usable

    def mark_each(packet):
        whole.mark()
        return usable(packet)

    whole._usable = mark_each  # type: ignore[method-assign]
    whole.run()
    handed = taken_from(queue)
    marks = [i for i, one in enumerate(handed) if one.mark is not None]
    assert len(marks) == passes * -(-len(EVENTS) // cut)
    for i in marks[:: max(1, len(marks) // 6)]:
        state = handed[i].mark
        assert state is not None
        again: BoundedQueue[Handed] = BoundedQueue(10**6)
        resumed = thread_of(again, passes, 71)
        resumed.load_state_dict(state)
        resumed.run()
        want = [one.timestep for one in handed[i:] if one.timestep is not None]
        got = [one.timestep for one in taken_from(again) if one.timestep is not None]
        assert facts(got) == facts(want)
        accounts = [Ledger.total((t.ledger, t._reader.ledger)) for t in (whole, resumed)]
        assert accounts[0] == accounts[1] and accounts[0].read == passes * len(EVENTS)
        assert np.sum([t.events for t in got]) == accounts[1].read - sum(
            one.events for one in handed[:i] if one.timestep is not None
        )


def test_a_mark_that_is_wanted_before_the_first_packet_is_sent_behind_it() -> None:
    """There is no pass that it could be a place in before."""
    queue: BoundedQueue[Handed] = BoundedQueue(10**6)
    thread = thread_of(queue, 1, 40)
    thread.mark()
    thread.run()
    handed = taken_from(queue)
    assert handed[0].begins is not None
    (mark,) = [one.mark for one in handed if one.mark is not None]
    assert mark["place"]["events"] == 40 and mark["binner"] is not None


def test_no_mark_is_sent_within_a_packet() -> None:
    """A stop gives up the rest of a packet, which nobody would read again after such a mark."""
    queue: BoundedQueue[Handed] = BoundedQueue(10**6)
    thread = thread_of(queue, 1, len(EVENTS))
    put = queue.put

    def stopping(handed: Handed) -> list[Handed]:
        if handed.timestep is not None and handed.timestep.index == 3:
            thread.mark()
            thread._stopped.set()
        return put(handed)

    queue.put = stopping  # type: ignore[method-assign, assignment]
    thread.run()
    assert [one for one in taken_from(queue) if one.mark is not None] == []


def test_a_thread_that_goes_on_sends_its_next_mark_when_the_one_before_would_have() -> None:
    queue: BoundedQueue[Handed] = BoundedQueue(10**6)
    whole = thread_of(queue, 1, 40)
    whole._mark_every = 10
    whole.run()
    marks = [one.mark for one in taken_from(queue) if one.mark is not None]
    assert len(marks) > 3
    again: BoundedQueue[Handed] = BoundedQueue(10**6)
    resumed = thread_of(again, 1, 40)
    resumed._mark_every = 10
    resumed.load_state_dict(marks[1])
    resumed.run()
    later = [one.mark for one in taken_from(again) if one.mark is not None]
    for key in ("index", "place", "reader", "ledger"):
        assert [mark[key] for mark in later] == [mark[key] for mark in marks[2:]]


def test_what_came_before_a_loss_is_binned_before_it() -> None:
    """Also what the clock still holds, so that no empty windows are made up for what was lost."""

    def at(number: int, *times: int) -> Arrived:
        n = len(times)
        events = make_events([1] * n, [1] * n, list(times), [1] * n)
        return Arrived(0.0, packet=EventPacket(events, SIZE, SIZE), number=number)

    queue: BoundedQueue[Handed] = BoundedQueue(10**6)
    thread = thread_of(queue, 1, 100)
    thread._reader.arrivals = lambda: (one for one in (at(1, 0, 10), at(3, 5 * WINDOW + 1)))  # type: ignore[method-assign]
    thread.run()
    made = [one.timestep for one in taken_from(queue) if one.timestep is not None]
    assert [(t.t_start, t.events) for t in made] == [(0, 2), (5 * WINDOW, 1)]
