"""The source's end of the pipeline: its packets in a bounded queue, at their pace, and an account of those given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Event

from stream_ottt.events.packet import EventPacket
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.pipeline.learner_thread import Task
from stream_ottt.pipeline.pace import Pace
from stream_ottt.pipeline.progress import Progress
from stream_ottt.pipeline.queues import BoundedQueue, OverflowPolicy
from stream_ottt.pipeline.source import Source

Labels = Sequence[LabelInterval]
"""A source's own labels."""


@dataclass(slots=True)
class Arrived:
    """A packet, a task that came between packets, or else the end of a pass, on its way to the binner.

    Attributes:
        packet: the packet.
        at: ``time.perf_counter()`` when it came.
        task: the task.
        number: 1, 2, 3, … of the packets; one that is missing was given up.
        labels: the source's own, of this pass.
    """

    packet: EventPacket | None
    at: float
    task: Task | None = None
    number: int = 0
    labels: Labels | None = None


class Inlet:
    """One source with a queue behind it, which waits for room or gives up packets.

    Args:
        source: where events come from.
        progress: live counters.
        passes: how often the source is iterated.
        speed: stream seconds per wall second, or None for as fast as possible.
        policy: of the queue.
        queue_events: events that may wait.
        queue_span: event time that may wait, µs; None for any.
        stopped: once set, nothing more is read.
        do_now: takes a task that was given up with the packets around it, since a task is done all the same.
    """

    def __init__(
        self,
        source: Source,
        progress: Progress,
        *,
        passes: int,
        speed: float | None,
        policy: OverflowPolicy,
        queue_events: int,
        queue_span: int | None,
        stopped: Event,
        do_now: Callable[[Task], object],
    ) -> None:
        self.source = source
        self.progress = progress
        self.queue: BoundedQueue[Arrived] = BoundedQueue(queue_events, policy)
        self._passes = passes
        self._speed = speed
        self._queue_span = queue_span
        self._stopped = stopped
        self._do_now = do_now
        self._newest: int | None = None  # event time that was read, µs

    async def run(self) -> None:
        """Read to the end, or until stopped and cancelled.

        Raises:
            InputError: what damaged the source, once all that was good is in the queue.
        """
        number = 0
        try:
            for _ in range(self._passes):
                pace = Pace(self._speed) if self._speed is not None else None
                labels: Labels | None = None
                async for packet in self.source:
                    # A collection that is shuffled has other labels in each pass, and reading runs ahead.
                    labels = self.source.labels if labels is None else labels
                    for part in [packet] if pace is None else pace.cut(packet):
                        if pace is not None:
                            await pace.wait_for(part)
                        self.progress.ledger.read += len(part)
                        self.progress.sensor = (part.width, part.height)
                        number += 1
                        await self._offer(Arrived(part, time.perf_counter(), None, number, labels), self._weight(part))
                        if self._stopped.is_set():
                            return
                await self._offer(Arrived(None, time.perf_counter()), 0)
        except asyncio.CancelledError:
            if not self._stopped.is_set():
                raise
        finally:
            self.queue.end()

    def after_what_came(self, task: Task) -> None:
        """Let ``task`` be done after the packets that the source has given so far."""
        if not self.queue.push(Arrived(None, 0.0, task)):
            self._do_now(task)

    def give_up(self, arrived: Iterable[Arrived], reason: str) -> None:
        """Count the events of packets that are given up; a task among them is still done."""
        for one in arrived:
            if one.packet is not None:
                self.progress.ledger.drop(reason, len(one.packet))
            elif one.task is not None:
                self._do_now(one.task)

    def close(self) -> None:
        """Nothing is taken any more: what waits, and what still comes, is given up."""
        self.give_up(self.queue.close(), "stopped")

    def _weight(self, packet: EventPacket) -> int:
        """What a packet takes of the queue: events, or more where few of them span much time."""
        t = packet.events["t"]
        if not len(t) or self._queue_span is None:
            return max(len(t), 1)
        newest = int(t[-1])
        before, self._newest = self._newest, max(newest, newest if self._newest is None else self._newest)
        span = newest - (int(t[0]) if before is None else before)
        return max(len(t), min(self.queue.capacity, span * self.queue.capacity // self._queue_span))

    async def _offer(self, arrived: Arrived, weight: int) -> None:
        """Put it into the queue; every event that does not stay there is counted."""
        try:
            given_up = await self.queue.put(arrived, weight)
        except asyncio.CancelledError:
            self.give_up([arrived], "stopped")
            raise
        self.give_up(given_up, "stopped" if self._stopped.is_set() else "overflow")
