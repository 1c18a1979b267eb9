"""The way of the data, as tasks joined by bounded queues: source → binner → learner → sinks.

Decoding and binning run in worker threads, everything that touches the network in one thread of its own; the event loop
only passes things on. Files wait for the learner. A live source never waits: its overflow policy drops packets and
counts their events.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from threading import Event
from typing import Any, Literal, Protocol

from stream_ottt.errors import InputError, StreamOtttError
from stream_ottt.events.binning import Binner
from stream_ottt.events.packet import split_well_formed
from stream_ottt.events.timestep import Timestep
from stream_ottt.labels.timeline import LabelTimeline
from stream_ottt.learning.session import Session
from stream_ottt.pipeline.learner_thread import Binned, LearnerThread, Task
from stream_ottt.pipeline.progress import Progress
from stream_ottt.pipeline.queues import OverflowPolicy
from stream_ottt.pipeline.sink import Sink
from stream_ottt.pipeline.sink_writer import Outlet
from stream_ottt.pipeline.source import Source
from stream_ottt.pipeline.source_reader import Arrived, Inlet, Labels

BATCH = 16
"""Most timesteps that cross from one thread to the next at once."""
LIVE_BATCH = 2
"""The same for a live stream, where each that waits makes all behind it later."""


class BeginPass(Protocol):
    """Makes ready for one pass over the source."""

    def __call__(self, first_index: int, labels: Labels | None) -> tuple[Binner, LabelTimeline | None]:
        """A binner whose first timestep has index ``first_index``, and the pass's timeline where it is another one."""


SILENCE = Arrived(None, 0.0)
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
            first packet has come; builds the session and a :class:`BeginPass`.
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
    outcome: Outcome = field(default_factory=Outcome)

    def __post_init__(self) -> None:
        self._stopped = Event()
        self._reader: asyncio.Task[None] | None = None
        self._batch = BATCH if self.policy == "block" else LIVE_BATCH
        self._learning = LearnerThread(
            self.progress,
            batch=self._batch,
            threads=self.threads,
            stopped=self._stopped,
            max_steps=self.max_steps,
            enough=self._enough,
        )
        self._inlet = Inlet(
            self.source,
            self.progress,
            passes=self.passes,
            speed=self.speed,
            policy=self.policy,
            queue_events=self.queue_events,
            queue_span=self.queue_span,
            stopped=self._stopped,
            do_now=self.between_timesteps,
        )

    @property
    def session(self) -> Session | None:
        """What the timesteps go through, once the first packet has come."""
        return self._learning.session

    def stop(self) -> None:
        """End the run after the current timestep; safe to call from a signal handler."""
        self._stopped.set()
        self.outcome.reason = "interrupted"
        if self._reader is not None:
            self._reader.cancel()

    def _enough(self) -> None:
        """End the run, in the learner's thread: it was for ``max_steps``."""
        self._stopped.set()
        self.outcome.reason = "max-steps"
        assert self._reader is not None
        self._reader.get_loop().call_soon_threadsafe(self._reader.cancel)

    def after_what_came(self, task: Task) -> None:
        """Do ``task`` in the learner's thread, after the packets that the source has given so far."""
        self._inlet.after_what_came(task)

    def between_timesteps(self, task: Task) -> bool:
        """Do ``task`` in the learner's thread, as soon as may be; False when the run is ending."""
        return self._learning.between_timesteps(task)

    async def run(self) -> Outcome:
        """Run to the end of the stream, or until stopped.

        Raises:
            StreamOtttError: what went wrong in one of the parts (damaged input is in the outcome instead).
        """
        outlets = [Outlet(sink, self.progress, lossy=self.policy != "block") for sink in self.sinks]
        try:
            async with asyncio.TaskGroup() as group:
                for outlet in outlets:
                    group.create_task(outlet.run())
                self._reader = group.create_task(self._read())
                binning = group.create_task(self._bin())
                group.create_task(self._learn(outlets, binning))
        except BaseExceptionGroup as e:
            raise _first(e) from e
        finally:
            self._learning.shut_down()
        return self.outcome

    async def _read(self) -> None:
        try:
            await self._inlet.run()
        except InputError as e:
            self.outcome = Outcome("damaged", e)

    async def _learn(self, outlets: Sequence[Outlet], binning: asyncio.Task[None]) -> None:
        try:
            await self._learning.run(outlets)
        except Exception:
            # The others end as after a stop; to be cancelled, they would let go of events that are not yet counted.
            self._stopped.set()
            assert self._reader is not None
            self._reader.cancel()
            await asyncio.wait([binning])
            raise

    # --- binner ----------------------------------------------------------------------------------------------------

    async def _bin(self) -> None:
        """From packets to timesteps, in worker threads."""
        ledger = self.progress.ledger
        begin_pass: BeginPass | None = None
        binner: Binner | None = None
        index = number = 0
        try:
            heard = time.perf_counter()
            while (arrived := await self._next_packet(binner)) is not None:
                packet = arrived.packet
                if self._stopped.is_set():
                    self._inlet.give_up([arrived], "stopped")
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
                    self.between_timesteps(Session.end_pass)
                    binner = None
                    continue
                events, malformed = await asyncio.to_thread(split_well_formed, packet)
                ledger.malformed += malformed
                if binner is None:
                    if begin_pass is None:
                        prepared = await self._learning.call(self.prepare, packet.width, packet.height, arrived.labels)
                        begin_pass = prepared[1]
                        self._learning.begin(prepared[0])
                    binner, timeline = begin_pass(index, arrived.labels)
                    if timeline is not None:
                        self.between_timesteps(partial(Session.follow, timeline=timeline))
                elif arrived.number != number + 1:
                    binner.lost_some()
                number = arrived.number
                index = await self._emit(binner.feed(events), arrived.at, index)
            if binner is not None and not self._stopped.is_set():
                await self._emit(binner.flush(), time.perf_counter(), index)
        finally:
            if binner is not None:
                binner.abandon("stopped")
            self._inlet.close()
            self._learning.end()

    async def _next_packet(self, binner: Binner | None) -> Arrived | None:
        """What comes next; ``SILENCE`` when nothing did for a while and a window of a live stream is open."""
        if self.patience is None or binner is None or not binner.held:
            return await self._inlet.queue.get()
        try:
            async with asyncio.timeout(self.patience):
                return await self._inlet.queue.get()
        except TimeoutError:
            return SILENCE

    async def _emit(self, timesteps: Iterable[Timestep], at: float, index: int) -> int:
        """Pass timesteps on as the binner makes them; returns the index after the last."""
        iterator = iter(timesteps)
        came = None if self.speed is None and self.policy == "block" else at
        while batch := await asyncio.to_thread(lambda: list(islice(iterator, self._batch))):
            for timestep in batch:
                index = timestep.index + 1
                await self._learning.put(Binned(timestep, came))
            if self._stopped.is_set():
                break
        return index


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
