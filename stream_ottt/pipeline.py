"""The way of the data, as tasks joined by bounded queues: source → binner → learner → sinks.

Decoding and binning run in worker threads, everything that touches the network in one thread of its own; the event loop
only passes things on. Files wait for the learner. A live source never waits: its overflow policy drops packets and
counts their events.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Literal, Protocol

from stream_ottt.binning import Binner
from stream_ottt.errors import InputError, StreamOtttError
from stream_ottt.events import EventPacket, split_well_formed
from stream_ottt.labels import LabelInterval, LabelTimeline
from stream_ottt.outlet import Outlet
from stream_ottt.pace import Pace
from stream_ottt.progress import Progress
from stream_ottt.queues import BoundedQueue, OverflowPolicy
from stream_ottt.session import Session
from stream_ottt.sinks.base import Sink
from stream_ottt.sources.base import Source
from stream_ottt.timestep import StepResult, Timestep

BATCH = 16
"""Most timesteps that cross from one thread to the next at once."""
LIVE_BATCH = 2
"""The same for a live stream, where each that waits makes all behind it later."""


Task = Callable[[Session], object]
"""Something to be done to the session, in the learner's thread, between two timesteps."""


Labels = Sequence[LabelInterval]
"""A source's own labels."""


@dataclass(slots=True)
class _Arrived:
    """A packet, a task that came between packets, or else the end of a pass, on its way to the binner."""

    packet: EventPacket | None
    at: float
    task: Task | None = None
    number: int = 0  # of the packet
    labels: Labels | None = None  # the source's own, of this pass


@dataclass(slots=True)
class _Binned:
    """A timestep, a task, or else the end of a pass, on its way to the learner."""

    timestep: Timestep | None
    at: float
    task: Task | None = None


class BeginPass(Protocol):
    """Makes ready for one pass over the source."""

    def __call__(self, first_index: int, labels: Labels | None) -> tuple[Binner, LabelTimeline | None]:
        """A binner whose first timestep has index ``first_index``, and the pass's timeline where it is another one."""


SILENCE = _Arrived(None, 0.0)
"""Stands for no packet within the patience."""


@dataclass(slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        reason: ``end`` of the stream, ``max-steps``, ``interrupted``, or ``damaged`` input.
        error: what damaged the input, where something did.
    """

    reason: Literal["end", "max-steps", "interrupted", "damaged"] = "end"
    error: InputError | None = None


@dataclass
class Pipeline:
    """One run of a source through a session into sinks.

    Attributes:
        source: where events come from.
        sinks: where results go; one that fails is reported, counted and left out.
        progress: live counters.
        prepare: called in the learner's thread with the sensor's width and height and the source's own labels, once the
            first packet has come;
            builds the session and a :class:`BeginPass`.
        passes: how often the source is iterated.
        speed: stream seconds per wall second, or None for as fast as possible.
        policy: of the queue behind the source.
        queue_events: events that may wait in that queue.
        queue_span: event time that may wait there, µs; None for any.
        max_steps: timesteps after which to stop.
        threads: of torch.
        patience: seconds without a packet after which a window whose end has passed is closed; None waits for events.
    """

    source: Source
    sinks: Sequence[Sink]
    progress: Progress
    prepare: Callable[[int, int, Labels | None], tuple[Session, BeginPass]]
    passes: int = 1
    speed: float | None = None
    policy: OverflowPolicy = "block"
    queue_events: int = 1 << 20
    queue_span: int | None = None
    max_steps: int | None = None
    threads: int = 1
    patience: float | None = None
    session: Session | None = None
    outcome: Outcome = field(default_factory=Outcome)

    def __post_init__(self) -> None:
        self._stop = False
        self._newest: int | None = None  # event time that was read, µs
        self._reader: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._packets: BoundedQueue[_Arrived] = BoundedQueue(self.queue_events, self.policy)
        self._batch = BATCH if self.policy == "block" else LIVE_BATCH
        self._timesteps: BoundedQueue[_Binned] = BoundedQueue(2 * self._batch)

    def stop(self) -> None:
        """End the run after the current timestep; safe to call from a signal handler."""
        self._stop = True
        self.outcome.reason = "interrupted"
        if self._reader is not None:
            self._reader.cancel()

    def after_what_came(self, task: Task) -> None:
        """Do ``task`` in the learner's thread, after the packets that the source has given so far."""
        if not self._packets.push(_Arrived(None, 0.0, task)):
            self.between_timesteps(task)

    def between_timesteps(self, task: Task) -> bool:
        """Do ``task`` in the learner's thread, as soon as may be; False when the run is ending."""
        return self._timesteps.push(_Binned(None, 0.0, task))

    async def run(self) -> Outcome:
        """Run to the end of the stream, or until stopped.

        Raises:
            StreamOtttError: what went wrong in one of the parts (damaged input is in the outcome instead).
        """
        outlets = [Outlet(sink, self.progress, lossy=self.policy != "block") for sink in self.sinks]
        learning = ThreadPoolExecutor(1, "learner", initializer=_set_up_learner_thread, initargs=(self.threads,))
        try:
            async with asyncio.TaskGroup() as group:
                for outlet in outlets:
                    group.create_task(outlet.run())
                self._reader = group.create_task(self._read())
                group.create_task(self._bin(learning))
                group.create_task(self._learn(learning, outlets))
        except BaseExceptionGroup as e:
            raise _first(e) from e
        finally:
            learning.shutdown()
        return self.outcome

    # --- source ----------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        """From the source into the first queue, at the stream's own pace where one is asked for."""
        number = 0
        try:
            for _ in range(self.passes):
                pace = Pace(self.speed) if self.speed is not None else None
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
                        await self._offer(_Arrived(part, time.perf_counter(), None, number, labels), self._weight(part))
                        if self._stop:
                            return
                await self._offer(_Arrived(None, time.perf_counter()), 0)
        except InputError as e:
            self.outcome = Outcome("damaged", e)
        except asyncio.CancelledError:
            if not self._stop:
                raise
        finally:
            self._packets.end()

    def _weight(self, packet: EventPacket) -> int:
        """What a packet takes of the queue: events, or more where few of them span much time."""
        t = packet.events["t"]
        if not len(t) or self.queue_span is None:
            return max(len(t), 1)
        newest = int(t[-1])
        before, self._newest = self._newest, max(newest, newest if self._newest is None else self._newest)
        span = newest - (int(t[0]) if before is None else before)
        return max(len(t), min(self.queue_events, span * self.queue_events // self.queue_span))

    async def _offer(self, arrived: _Arrived, weight: int) -> None:
        """Put a packet into the first queue; every event that does not stay there is counted."""
        try:
            given_up = await self._packets.put(arrived, weight)
        except asyncio.CancelledError:
            self._drop_packets([arrived], "stopped")
            raise
        self._drop_packets(given_up, "stopped" if self._stop else "overflow")

    def _drop_packets(self, given_up: Iterable[_Arrived], reason: str) -> None:
        """Count events that were given up; a task among them is still done."""
        for arrived in given_up:
            if arrived.packet is not None:
                self.progress.ledger.drop(reason, len(arrived.packet))
            elif arrived.task is not None:
                self.between_timesteps(arrived.task)

    # --- binner ----------------------------------------------------------------------------------------------------

    async def _bin(self, learning: ThreadPoolExecutor) -> None:
        """From packets to timesteps, in worker threads."""
        loop = asyncio.get_running_loop()
        ledger = self.progress.ledger
        begin_pass: BeginPass | None = None
        binner: Binner | None = None
        index = number = 0
        try:
            heard = time.perf_counter()
            while (arrived := await self._next_packet(binner)) is not None:
                packet = arrived.packet
                if self._stop:
                    self._drop_packets([arrived], "stopped")
                    break
                if arrived is SILENCE:
                    assert binner is not None and binner.newest is not None
                    now = binner.newest + int((time.perf_counter() - heard) * 1e6)
                    index = await self._emit(binner.advance(now), time.perf_counter(), index)
                    continue
                if arrived.task is not None:
                    self.between_timesteps(arrived.task)
                    continue
                heard = arrived.at
                if packet is None:
                    if binner is not None:
                        index = await self._emit(binner.flush(), arrived.at, index)
                    await self._timesteps.put(_Binned(None, 0.0))
                    binner = None
                    continue
                events, malformed = await asyncio.to_thread(split_well_formed, packet)
                ledger.malformed += malformed
                if binner is None:
                    if begin_pass is None:
                        prepared = await loop.run_in_executor(
                            learning, self.prepare, packet.width, packet.height, arrived.labels
                        )
                        self.session, begin_pass = prepared[0], prepared[1]
                        self._ready.set()
                    binner, timeline = begin_pass(index, arrived.labels)
                    if timeline is not None:
                        await self._timesteps.put(_Binned(None, 0.0, partial(Session.follow, timeline=timeline)))
                elif arrived.number != number + 1:
                    binner.lost_some()
                number = arrived.number
                index = await self._emit(binner.feed(events), arrived.at, index)
            if binner is not None and not self._stop:
                await self._emit(binner.flush(), time.perf_counter(), index)
        finally:
            if binner is not None:
                binner.abandon("stopped")
            self._drop_packets(self._packets.close(), "stopped")
            self._timesteps.end()
            self._ready.set()

    async def _next_packet(self, binner: Binner | None) -> _Arrived | None:
        """What comes next; ``SILENCE`` when nothing did for a while and a window of a live stream is open."""
        if self.patience is None or binner is None or not binner.held:
            return await self._packets.get()
        try:
            async with asyncio.timeout(self.patience):
                return await self._packets.get()
        except TimeoutError:
            return SILENCE

    async def _emit(self, timesteps: Iterable[Timestep], at: float, index: int) -> int:
        """Pass timesteps on as the binner makes them; returns the index after the last."""
        iterator = iter(timesteps)
        while batch := await asyncio.to_thread(lambda: list(islice(iterator, self._batch))):
            for timestep in batch:
                index = timestep.index + 1
                self._drop_timesteps(await self._timesteps.put(_Binned(timestep, at)))
            if self._stop:
                break
        return index

    def _drop_timesteps(self, given_up: Iterable[_Binned]) -> None:
        for binned in given_up:
            if binned.timestep is not None:
                self.progress.ledger.drop("stopped", binned.timestep.events)

    # --- learner ---------------------------------------------------------------------------------------------------

    async def _learn(self, learning: ThreadPoolExecutor, outlets: Sequence[Outlet]) -> None:
        """From timesteps to results, all in the learner's one thread."""
        loop = asyncio.get_running_loop()
        try:
            await self._ready.wait()
            session = self.session
            if session is None:
                return
            while not self._stop:
                batch = self._next_batch()
                if not batch:
                    # Nothing waits: the time is the rehearsal's, if it wants it.
                    rehearsed = not self._timesteps.exhausted and await loop.run_in_executor(learning, session.idle)
                    if not rehearsed:
                        first = await self._timesteps.get()
                        if first is None:
                            break
                        batch = [first, *self._next_batch()]
                results = await loop.run_in_executor(learning, self._process, session, batch)
                for result in results:
                    for outlet in outlets:
                        await outlet.put(result)
            await loop.run_in_executor(learning, session.finish)
        finally:
            self._drop_timesteps(self._timesteps.close())
            for outlet in outlets:
                outlet.end()

    def _next_batch(self) -> list[_Binned]:
        batch: list[_Binned] = []
        while len(batch) < self._batch and (binned := self._timesteps.get_nowait()) is not None:
            batch.append(binned)
        return batch

    def _process(self, session: Session, batch: list[_Binned]) -> list[StepResult]:
        """Runs in the learner's thread; looks at the stop flag before every timestep."""
        results: list[StepResult] = []
        for binned in batch:
            if binned.task is not None:
                binned.task(session)
                continue
            if binned.timestep is None:
                session.end_pass()
                continue
            if self._stop:
                self._drop_timesteps([binned])
                continue
            # A file that is read ahead has no moment at which its events happened.
            since = time.perf_counter() if self.speed is None and self.policy == "block" else binned.at
            result = session.process(binned.timestep)
            result.prediction.latency_s = time.perf_counter() - since
            self.progress.latency.add(result.prediction.latency_s)
            results.append(result)
            if self.progress.timesteps == self.max_steps:
                self._stop = True
                self.outcome.reason = "max-steps"
                assert self._reader is not None
                self._reader.get_loop().call_soon_threadsafe(self._reader.cancel)
        return results


def _set_up_learner_thread(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    # Traces that fade through long silences become denormal numbers, which cost many times the time.
    torch.set_flush_denormal(True)


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    """The error to show of a group: the first that is the user's to mend, else the first."""
    leaves: list[BaseException] = []

    def collect(g: BaseExceptionGroup[Any]) -> None:
        for e in g.exceptions:
            if isinstance(e, BaseExceptionGroup):
                collect(e)
            else:
                leaves.append(e)

    collect(group)
    with suppress(StopIteration):
        return next(e for e in leaves if isinstance(e, StreamOtttError))
    return leaves[0]
