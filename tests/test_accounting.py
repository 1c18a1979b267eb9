"""Every event is in exactly one count, at every moment, whatever is lost, stopped or broken."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest
from helpers import (
    SIZE,
    WINDOW,
    ListSink,
    ListSource,
    LiveSource,
    labelled_events,
    pipeline_of,
    run,
    small_session,
    to_the_end,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from watching import watched

from stream_ottt.errors import InputError
from stream_ottt.events.packet import LAST_US, EventPacket, Ledger, make_events, split_well_formed
from stream_ottt.pipeline.pipeline import LIVE_WAITING, WAITING
from stream_ottt.pipeline.queues import OverflowPolicy

KINDS = {"file": ListSource, "live": LiveSource}


def messy_events(seed: int, n: int) -> np.ndarray:
    """Events of which some lie outside the sensor, some come late, and some have impossible times."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, 60 * WINDOW, n))
    events = make_events(rng.integers(0, SIZE, n), rng.integers(0, SIZE, n), t, rng.random(n) < 0.5)
    some = rng.random(n)
    events["x"][some < 0.05] = 99
    events["t"][(some > 0.05) & (some < 0.10)] -= 5 * WINDOW
    events["t"][(some > 0.10) & (some < 0.11)] = 2**63 - 1
    return events


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 1500),
    cut=st.integers(1, 400),
    kind=st.sampled_from(sorted(KINDS)),
    policy=st.sampled_from(["block", "drop-oldest", "drop-newest"]),
    room=st.integers(1, 800),
    max_steps=st.one_of(st.none(), st.integers(1, 70)),
    stop_at=st.one_of(st.none(), st.integers(1, 70)),
    broken_at=st.one_of(st.none(), st.integers(1, 70)),
    damaged=st.booleans(),
)
def test_counts_add_up_at_every_moment(
    seed: int,
    n: int,
    cut: int,
    kind: str,
    policy: OverflowPolicy,
    room: int,
    max_steps: int | None,
    stop_at: int | None,
    broken_at: int | None,
    damaged: bool,
) -> None:
    class Source(KINDS[kind]):  # type: ignore[misc, name-defined]
        def packets(self) -> Iterator[EventPacket]:
            yield from super().packets()
            if damaged:
                raise InputError("cut short")

        async def __aiter__(self) -> AsyncIterator[EventPacket]:
            async for packet in super().__aiter__():
                yield packet
                await asyncio.sleep(0)
            if damaged:
                raise InputError("cut short")

    class Stopping(ListSink):
        async def consume(self, result) -> None:
            await super().consume(result)
            if len(self.results) == stop_at:
                pipeline.stop()

    session = small_session(None)
    process = session.process

    def break_at(timestep):
        if timestep.index + 1 == broken_at:
            raise MemoryError("injected")
        return process(timestep)

    session.process = break_at  # type: ignore[method-assign]
    pipeline = pipeline_of(
        Source(messy_events(seed, n), cut=cut),
        [Stopping()],
        session,
        policy=policy,
        queue_events=room,
        max_steps=max_steps,
    )
    ledgers = [snapshot.ledger for snapshot in watched(pipeline)]
    read = [ledger.read for ledger in ledgers]
    assert all(ledger.in_hand >= 0 for ledger in ledgers)
    assert read == sorted(read)
    end = pipeline.snapshot()
    assert end.ledger.in_hand == sum(end.waiting.values()) == 0
    assert end.ledger.binned == sum(r.timestep.events for r in pipeline.sinks[0].results)  # type: ignore[attr-defined]


@pytest.mark.parametrize("max_steps", range(1, 40, 3))
def test_whatever_number_of_steps_ends_a_run(max_steps: int) -> None:
    pipeline = pipeline_of(ListSource(labelled_events(0, 60), cut=40), [], small_session(None), max_steps=max_steps)
    assert run(pipeline).reason == "max-steps"
    assert pipeline.snapshot().ledger.in_hand == 0


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_at_rest_what_is_in_hand_is_what_queues_and_the_open_window_hold(kind: str) -> None:
    events = labelled_events(0, 60)
    session = small_session(None)
    process, entered, release = session.process, threading.Event(), threading.Event()

    def stall(timestep):
        entered.set()
        assert release.wait(60)
        return process(timestep)

    session.process = stall  # type: ignore[method-assign]
    policy: OverflowPolicy = "block" if kind == "file" else "drop-oldest"
    pipeline = pipeline_of(KINDS[kind](events, cut=130), [], session, policy=policy, queue_events=500)

    def at_rest() -> bool:
        """The learner's queue is full, and the binner waits for room there."""
        room = WAITING if kind == "file" else LIVE_WAITING
        return len(pipeline.learning.queue) == room and pipeline.binner._handing > 0

    async def go() -> None:
        running = asyncio.create_task(to_the_end(pipeline))
        assert await asyncio.to_thread(entered.wait, 60)
        while not (at_rest() and (kind == "file" or pipeline.snapshot().ledger.read == len(events))):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        snapshot = pipeline.snapshot()
        assert snapshot.ledger.in_hand == sum(snapshot.waiting.values()) > 0
        assert snapshot.waiting["window"] > 0 and snapshot.waiting["timesteps"] > 0
        assert (snapshot.waiting["queue"] > 0) == (kind == "live")
        release.set()
        await running

    asyncio.run(asyncio.wait_for(go(), 60))
    assert pipeline.snapshot().ledger.in_hand == 0


def test_a_time_at_the_end_of_int64_is_malformed_and_ends_no_run() -> None:
    events = labelled_events(0, 6)
    events["t"][100] = 2**63 - 1
    events["t"][200] = LAST_US
    pipeline = pipeline_of(ListSource(events), [], small_session(None))
    run(pipeline)
    ledger = pipeline.snapshot().ledger
    assert (ledger.malformed, ledger.binned) == (2, len(events) - 2)
    kept, malformed = split_well_formed(EventPacket(events, SIZE, SIZE))
    assert (len(kept), malformed) == (len(events) - 2, 2)


def test_accounts_add_up() -> None:
    parts = [
        Ledger(binned=5, dropped={"stopped": 1}),
        Ledger(late=2, malformed=3),
        Ledger(read=12, dropped={"stopped": 1}),
    ]
    total = Ledger.total(parts)
    assert total == Ledger(12, 5, 2, 3, {"stopped": 2})
    assert (total.accounted, total.in_hand) == (12, 0)
    again = Ledger()
    again.load_state_dict(total.state_dict())
    assert again == total and again.dropped is not total.dropped


def test_no_account_holds_less_than_nothing_while_its_owner_counts() -> None:
    """Between any two looks at it, its owner reads an event and bins it."""

    class Busy(Ledger):
        def __getattribute__(self, name: str) -> object:
            value = super().__getattribute__(name)
            if name in ("read", "binned", "late", "malformed"):
                self.read = super().__getattribute__("read") + 1
                self.binned = super().__getattribute__("binned") + 1
            return value

    assert Ledger.total([Busy()]).in_hand >= 0


def test_a_snapshot_looks_downstream_first() -> None:
    """At each look at an account, one more event has gone all the way."""
    pipeline = pipeline_of(ListSource(labelled_events(0, 1)), [], small_session(None))

    class Flowing(Ledger):
        def __getattribute__(self, name: str) -> object:
            if name in ("read", "binned"):
                for owner, count in ((pipeline.reader, "read"), (pipeline.learning, "binned")):
                    look = super(Flowing, owner.ledger).__getattribute__
                    setattr(owner.ledger, count, look(count) + 1)
            return super().__getattribute__(name)

    pipeline.reader.ledger, pipeline.learning.ledger = Flowing(), Flowing()
    assert pipeline.snapshot().ledger.in_hand >= 0


@pytest.mark.parametrize("passes", [1, 3])
def test_a_stop_between_two_passes_loses_no_event(passes: int) -> None:
    """What was open in the one is given up before the other takes its place."""
    pipeline = pipeline_of(ListSource(labelled_events(0, 2), cut=150), [], small_session(None), passes=50)
    end_pass = pipeline.binner._end_pass

    def stop_and_end(binner, at) -> None:  # type: ignore[no-untyped-def]
        if pipeline.binner._index >= 20 * passes - 1:
            pipeline.stop()
        end_pass(binner, at)

    pipeline.binner._end_pass = stop_and_end  # type: ignore[method-assign]
    assert run(pipeline).reason == "interrupted"
    ledger = pipeline.snapshot().ledger
    assert ledger.in_hand == 0 and ledger.read == ledger.binned + ledger.late + sum(ledger.dropped.values()) > 0
