"""The live source's end of the pipeline by itself: when it says that nothing came, what its queue holds, its labels."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from threading import Event

from helpers import SIZE

from stream_ottt.events.packet import EventPacket, Ledger, make_events
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.pipeline.live_reader import LiveReader
from stream_ottt.pipeline.queues import OverflowPolicy
from stream_ottt.pipeline.source import Source, SourceConfig
from stream_ottt.pipeline.source_reader import Arrived

PATIENCE_S = 0.02


class At(Source):
    """A packet of one event at each of some times."""

    name = "at"
    Config = SourceConfig

    def __init__(self, *times: int) -> None:
        super().__init__(SourceConfig())
        self.times = times

    async def __aiter__(self) -> AsyncIterator[EventPacket]:
        for t in self.times:
            yield EventPacket(make_events([0], [0], [t], [1]), SIZE, SIZE)


def reader(
    source: Source, *, policy: OverflowPolicy = "drop-oldest", room: int = 1000, span: int | None = None
) -> LiveReader:
    return LiveReader(
        source,
        passes=1,
        speed=None,
        stopped=Event(),
        policy=policy,
        queue_events=room,
        queue_span=span,
        patience=PATIENCE_S,
    )


def test_it_says_that_nothing_came_once_in_its_patience() -> None:
    arrivals = reader(At()).arrivals()
    began = time.perf_counter()
    assert all(next(arrivals).quiet for _ in range(3))
    assert time.perf_counter() - began >= 3 * PATIENCE_S


def test_times_that_run_backwards_take_no_more_room_than_they_span() -> None:
    """The queue holds 1000 of weight or 1000 µs; of each packet counts by how much it is newer than all before."""
    made = reader(At(5000, 5100, 4000, 5200), span=1000)
    asyncio.run(made.run())
    assert made.queue.weight == 1 + 100 + 1 + 100


def test_a_label_after_a_packet_that_found_no_room_waits_for_no_other() -> None:
    made = reader(At(1, 2), policy="drop-newest", room=1)
    asyncio.run(made._read())
    assert made.ledger.dropped == {"overflow": 1}
    label = LabelInterval(0, 10, 1)
    assert made.add_label(label)
    arrivals = made.arrivals()
    assert next(arrivals).packet is not None
    assert next(arrivals).came == (label,)


def test_a_label_that_comes_just_before_the_end_is_given_on() -> None:
    """After the look for labels, while the next packet is waited for."""
    made = reader(At(1))
    asyncio.run(made._read())
    label, get = LabelInterval(0, 10, 1), made.queue.get

    def get_last(within: float | None = None) -> Arrived | None:
        if not len(made.queue):
            made.add_label(label)
            made.queue.end()
        return get(within)

    made.queue.get = get_last  # type: ignore[method-assign]
    assert [arrived.came for arrived in made.arrivals()] == [(), (label,)]


def test_a_packet_that_waits_for_room_at_the_stop_is_counted() -> None:
    made = reader(At(1, 2), policy="block", room=1)

    async def go() -> list[EventPacket]:
        running = asyncio.create_task(made.run())
        while made.ledger.read < 2:  # noqa: ASYNC110
            await asyncio.sleep(0)
        made._stopped.set()
        made.stop()
        given_back = await asyncio.to_thread(made.close)
        await running
        return given_back

    assert [len(packet) for packet in asyncio.run(go())] == [1]
    assert made.ledger == Ledger(read=2, dropped={"stopped": 1})
