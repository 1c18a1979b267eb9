"""The source's end of the pipeline: its packets in order, at their pace, each with the labels that came before it.

A file is read by the thread that bins it, which waits for the learner. A live source cannot wait: it fills a queue in
the event loop, whose overflow policy gives up packets and counts their events.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from contextlib import aclosing, closing, suppress
from dataclasses import dataclass
from threading import Event
from typing import cast

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EventPacket, Ledger
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.pipeline.pace import Pace
from stream_ottt.pipeline.playback import Playback
from stream_ottt.pipeline.queues import BoundedQueue, OverflowPolicy
from stream_ottt.pipeline.source import BlockingSource, Source

Labels = Sequence[LabelInterval]
"""A source's own labels."""

MAX_LABELS = 10_000
"""Labels that came with the stream and wait for the packets before them; more are refused."""


@dataclass(slots=True, eq=False)
class Arrived:
    """What the binner gets next: labels that came with the stream, a packet, or neither.

    Attributes:
        at: ``time.perf_counter()`` when the packet came, or was due.
        came: labels that came before the packet.
        packet: the packet.
        number: 1, 2, 3, … of the packets; one that is missing was given up.
        pass_number: 0, 1, 2, … of the passes over the source.
        behind: events of this pass up to the end of the packet, those that were given up among them.
        labels: the source's own, of this pass.
        quiet: no packet came within the reader's patience.
    """

    at: float
    came: tuple[LabelInterval, ...] = ()
    packet: EventPacket | None = None
    number: int = 0
    pass_number: int = 0
    behind: int = 0
    labels: Labels | None = None
    quiet: bool = False


class SourceReader(ABC):
    """Reads a source to its end, or until stopped.

    Args:
        source: where events come from.
        passes: how often the source is iterated.
        speed: stream seconds per wall second, or None for as fast as possible.
        stopped: once set, nothing more is read.

    Attributes:
        ledger: what was read, and what was given up here.
        error: what ended the source before its end; all that was good before it is given on.
        sensor: (width, height) once the first packet has come.
        playback: a person's hand on a file; None for what comes at its own time.
    """

    playback: Playback | None = None

    def __init__(self, source: Source, *, passes: int, speed: float | None, stopped: Event) -> None:
        self.source = source
        self.ledger = Ledger()
        self.error: Exception | None = None
        self.sensor: tuple[int, int] | None = None
        self._passes = passes
        self._speed = speed
        self._stopped = stopped
        self._number = 0
        self._skip = (0, 0)
        self._behind = 0  # events of the pass that was begun last

    @abstractmethod
    def arrivals(self) -> Generator[Arrived]:
        """What came, in its order; for the binner's thread."""

    @abstractmethod
    async def run(self) -> None:
        """What there is to do in the event loop, until all has been read."""

    @abstractmethod
    def stop(self) -> None:
        """Let whoever reads look at ``stopped``."""

    @abstractmethod
    def wake(self) -> None:
        """Let :meth:`arrivals` give something, be it neither label nor packet, as soon as may be."""

    def add_label(self, interval: LabelInterval) -> bool:
        """Take a label that comes after the packets so far; False when too many wait."""
        return False

    def skip(self, pass_number: int, events: int) -> None:
        """Begin in that pass over the source, behind so many of its events. They are not counted as read."""
        self._skip = (pass_number, events)

    def _without_skipped(self, packet: EventPacket, pass_number: int) -> EventPacket | None:
        """What is left of a packet behind those that are to be skipped.

        Returns:
            None where it lies before them. A packet that ends with them is given on, though empty: the pass that goes
            on needs one to begin with.
        """
        first, events = self._skip
        skipped = 0 if pass_number != first else max(0, min(len(packet), events - self._behind))
        self._behind += skipped
        if skipped and self._behind < events:
            return None
        left = packet.events[skipped:] if skipped else packet.events
        return EventPacket(left, packet.width, packet.height, packet.well_formed) if skipped else packet

    def close(self) -> int:
        """The binner takes nothing any more, and gives up what waits: so many events. Called in its thread."""
        return 0

    def held(self) -> int:
        """Events that wait here."""
        return 0

    def _check_skipped(self, pass_number: int) -> None:
        """Raise InputError where a pass has ended before all that is to be skipped."""
        first, events = self._skip
        if pass_number == first and self._behind < events:
            raise InputError(
                f"holds {self._behind} events, and {events} had been taken of it before: it is not what it was; "
                "resume with the source of then",
                path=getattr(self.source.config, "path", None),
            )

    def _count(self, packet: EventPacket, at: float, pass_number: int, labels: Labels | None) -> Arrived:
        self.ledger.read += len(packet)
        self.sensor = (packet.width, packet.height)
        self._number += 1
        self._behind += len(packet)
        return Arrived(at, (), packet, self._number, pass_number, self._behind, labels)


class FileReader(SourceReader):
    """Reads a source that can wait, in the binner's own thread.

    Args:
        source, passes, speed, stopped: see :class:`SourceReader`.
        ready: set when the learner is; at a pace, what comes after the first packet waits for it.

    Attributes:
        playback: a person's hand on it.
    """

    playback: Playback
    source: BlockingSource

    def __init__(
        self, source: BlockingSource, *, passes: int, speed: float | None, stopped: Event, ready: Event
    ) -> None:
        super().__init__(source, passes=passes, speed=speed, stopped=stopped)
        self._ready = ready
        self.playback = Playback(speed, stopped)

    def stop(self) -> None:
        self.playback.wake()

    def wake(self) -> None:
        self.playback.wake()

    def arrivals(self) -> Generator[Arrived]:
        try:
            for number in range(self._passes):
                self.playback.begin()
                labels: Labels | None = None
                self._behind = 0
                with closing(cast("Generator[EventPacket]", self.source.excerpt())) as packets:
                    for packet in packets:
                        labels = self.source.labels if labels is None else labels
                        if number < self._skip[0]:
                            break  # it was begun all the same, so that a source that shuffles counts its passes
                        if (left := self._without_skipped(packet, number)) is None:
                            if self._stopped.is_set():
                                return
                            continue
                        rest = len(left)
                        for part in self.playback.parts(left):
                            while not self.playback.wait(part):
                                yield Arrived(time.perf_counter())
                            if self._stopped.is_set():
                                self.ledger.read += rest
                                self.ledger.drop("stopped", rest)
                                return
                            rest -= len(part)
                            yield self._count(part, self.playback.due, number, labels)
                            if self.playback.speed is not None and not self._ready.is_set():
                                self._ready.wait()
                                self.playback.go_on()
                self._check_skipped(number)
        except Exception as e:
            self.error = e

    async def run(self) -> None:
        return


class LiveReader(SourceReader):
    """Reads a source in the event loop, into a queue.

    Args:
        source, passes, speed, stopped: see :class:`SourceReader`.
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
        super().__init__(source, passes=passes, speed=speed, stopped=stopped)
        self.queue: BoundedQueue[Arrived] = BoundedQueue(queue_events, policy)
        self._queue_span = queue_span
        self._patience = patience
        self._labels: deque[tuple[int, LabelInterval]] = deque()  # with the number of the packet before it
        self._newest: int | None = None  # event time that was read, µs
        self._woken = self._stopping = False
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
            if not self._stopping:
                raise
        except Exception as e:
            self.error = e
        finally:
            self.queue.end()

    def stop(self) -> None:
        self._stopping = True
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
            self.ledger.drop(reason, len(one.packet))

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

    def close(self) -> int:
        return sum(len(one.packet) for one in self.queue.close() if one.packet is not None)

    def held(self) -> int:
        return sum(len(one.packet) for one in self.queue.waiting() if one.packet is not None)

    def _labels_up_to(self, number: int) -> tuple[LabelInterval, ...]:
        """Labels that came before packet ``number + 1``."""
        came = []
        while self._labels and self._labels[0][0] <= number:
            came.append(self._labels.popleft()[1])
        return tuple(came)
