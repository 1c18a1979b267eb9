"""Reads a live source, which cannot wait, in the event loop.

It fills a queue, whose overflow policy gives up packets and counts their events.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import aclosing, suppress
from threading import Event

from stream_ottt.events.packet import EventPacket
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.pipeline.pace import Pace
from stream_ottt.pipeline.queues import BoundedQueue, OverflowPolicy
from stream_ottt.pipeline.source import Source
from stream_ottt.pipeline.source_reader import Arrived, Labels, SourceReader

MAX_LABELS = 10_000
"""Labels that came with the stream and wait for the packets before them; more are refused."""


class LiveReader(SourceReader):
    """Reads a source in the event loop, into a queue.

    Args:
        source, passes, stopped: see :class:`SourceReader`.
        speed: stream seconds per wall second, or None for as it comes.
        policy: of the queue.
        queue_events: events that may wait.
        queue_span: event time that may wait, µs; None for any.
        patience: seconds without a packet after which the binner is told that nothing came; None never tells.
    """

    def __init__(
        self,
        source: Source,
        *,
        passes: int,
        speed: float | None,
        stopped: Event,
        policy: OverflowPolicy,
        queue_events: int,
        queue_span: int | None,
        patience: float | None,
    ) -> None:
        super().__init__(source, passes=passes, stopped=stopped)
        self._speed = speed
        self.queue: BoundedQueue[Arrived] = BoundedQueue(queue_events, policy)
        self._queue_span = queue_span
        self._patience = patience
        self._labels: deque[tuple[int, LabelInterval]] = deque()  # with the number of the packet before it
        self._newest: int | None = None  # event time that was read, µs
        self._woken = False
        self._queued = 0  # number of the last packet that went into the queue
        self._running: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # --- in the event loop -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._running = asyncio.create_task(self._read())
        try:
            await self._running
        except asyncio.CancelledError:
            pass  # stopped
        except Exception as e:
            self.error = e
        finally:
            self.queue.end()

    def stop(self) -> None:
        if self._loop is not None and self._running is not None:
            self._loop.call_soon_threadsafe(self._running.cancel)
        self.queue.wake()

    def wake(self) -> None:
        self._woken = True
        self.queue.wake()

    def add_label(self, interval: LabelInterval) -> bool:
        if len(self._labels) >= MAX_LABELS:
            return False
        self._labels.append((self._queued, interval))
        self.queue.wake()
        return True

    async def _read(self) -> None:
        for number in range(self._passes):
            pace = None if self._speed is None else Pace(self._speed)
            labels: Labels | None = None
            self._behind = 0
            async with aclosing(aiter(self.source)) as packets:  # type: ignore[type-var]
                async for packet in packets:
                    # A collection that is shuffled has other labels in each pass, and reading runs ahead.
                    labels = self.source.labels if labels is None else labels
                    if number < self._skip[0]:
                        break
                    if (left := self._without_skipped(packet, number)) is None:
                        continue
                    for part in [left] if pace is None else pace.cut(left):
                        due = time.perf_counter() if pace is None else pace.due(part)
                        if pace is not None:
                            await asyncio.sleep(max(0.0, due - time.perf_counter()))
                        await self._offer(self._count(part, due, number, labels))
                        if self._stopped.is_set():
                            return
            self._check_skipped(number)

    async def _offer(self, arrived: Arrived) -> None:
        """Put it into the queue; every event that does not stay there is counted."""
        assert arrived.packet is not None
        weight = self._weight(arrived.packet)
        given_up = self.queue.put(arrived, weight, 0)
        if self.queue.policy == "block" and given_up and not self._stopped.is_set():
            putting = asyncio.ensure_future(asyncio.to_thread(self.queue.put, arrived, weight))
            try:
                given_up = await asyncio.shield(putting)
            except asyncio.CancelledError:
                while not putting.done():  # the binner, which ends as well, closes the queue; a stop may come twice
                    with suppress(asyncio.CancelledError):
                        await asyncio.wait([putting])
                self._give_up(putting.result())
                raise
        if arrived not in given_up:
            self._queued = arrived.number
        self._give_up(given_up)

    def _give_up(self, given_up: Iterable[Arrived]) -> None:
        reason = "stopped" if self._stopped.is_set() else "overflow"
        for one in given_up:
            assert one.packet is not None
            self.ledger.drop(reason, len(one.packet), one.packet.shares)

    def _weight(self, packet: EventPacket) -> int:
        """What a packet takes of the queue: events, or more where few of them span much time."""
        t = packet.events["t"]
        if not len(t) or self._queue_span is None:
            return max(len(t), 1)
        newest = int(t[-1])
        before, self._newest = self._newest, max(newest, newest if self._newest is None else self._newest)
        span = newest - (int(t[0]) if before is None else before)
        return max(len(t), min(self.queue.capacity, span * self.queue.capacity // self._queue_span))

    # --- in the binner's thread ------------------------------------------------------------------------------------

    def arrivals(self) -> Generator[Arrived]:
        taken = 0
        heard = time.perf_counter()
        while not self._stopped.is_set():
            # Before the first packet there is nobody to take labels.
            if taken and (came := self._labels_up_to(taken)):
                yield Arrived(time.perf_counter(), came)
            left = None if self._patience is None else max(0.0, self._patience - (time.perf_counter() - heard))
            arrived = self.queue.get(left)
            if arrived is not None:
                arrived.came = self._labels_up_to(arrived.number - 1)
                taken = arrived.number
                yield arrived
                heard = time.perf_counter()
            elif self.queue.exhausted:
                break
            elif self._patience is not None and time.perf_counter() - heard >= self._patience:
                yield Arrived(time.perf_counter(), quiet=True)
                heard = time.perf_counter()
            elif self._woken:
                self._woken = False
                yield Arrived(time.perf_counter())
        if taken and (came := self._labels_up_to(self._number)):
            yield Arrived(time.perf_counter(), came)

    def close(self) -> list[EventPacket]:
        return [one.packet for one in self.queue.close() if one.packet is not None]

    def held(self) -> int:
        return sum(len(one.packet) for one in self.queue.waiting() if one.packet is not None)

    def _labels_up_to(self, number: int) -> tuple[LabelInterval, ...]:
        """Labels that came before packet ``number + 1``."""
        came = []
        while self._labels and self._labels[0][0] <= number:
            came.append(self._labels.popleft()[1])
        return tuple(came)
