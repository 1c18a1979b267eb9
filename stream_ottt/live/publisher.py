"""Playing a source onto a socket: cutting it into messages, keeping pace, labels at their time, and an end."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from stream_ottt.errors import InputError, OutputError
from stream_ottt.events.clock import Clock
from stream_ottt.events.misfits import Misfits
from stream_ottt.events.packet import EVENT_DTYPE, EventPacket
from stream_ottt.filters.chain import FilterChain, Spec, open_filters
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.live import feed, topics
from stream_ottt.live.zenoh_peer import ZenohSender
from stream_ottt.live.zmq_sender import Sender
from stream_ottt.pipeline.pace import Pace
from stream_ottt.pipeline.source import Source

MESSAGE_EVENTS = 10_000
"""Most events in one message."""
LOSSLESS_S = 600.0
"""Longest wait for a PUSH reader that is behind, after the last message."""
PATIENCE_S = 5.0
"""Longest wait at the end, and for a client that takes nothing."""


@dataclass(slots=True)
class Counts:
    """What was published, and what was not: malformed events, those with wrong times, and what filters left out.

    Attributes:
        read: events of the source.
        size: width and height of its sensor.
        misfits: why events were malformed.
    """

    read: int = 0
    size: tuple[int, int] = (0, 0)
    misfits: Misfits = field(default_factory=Misfits)
    events: int = 0
    messages: int = 0
    labels: int = 0
    malformed: int = 0
    wrong_times: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


class Output(ABC):
    """Where events and labels go."""

    endpoint: str

    @abstractmethod
    async def wait_for_readers(self, count: int, seconds: float) -> None:
        """Raises OutputError when ``count`` readers do not come within ``seconds``."""

    @abstractmethod
    async def events(self, packet: EventPacket) -> None:
        """Send a packet of at most MESSAGE_EVENTS events."""

    @abstractmethod
    async def label(self, interval: LabelInterval) -> None:
        """Send a label, where that is possible."""

    @abstractmethod
    async def end(self, within: float | None = None) -> None:
        """Say that the stream has ended, and close; after ``within`` seconds at most, or when readers have it all."""


class FeedOutput(Output):
    """The live feed, over ZeroMQ or Zenoh.

    Args:
        sender: what carries it.
        name: of the source, in topics.
    """

    def __init__(self, sender: Sender | ZenohSender, name: str) -> None:
        self.name = name
        feed.warm_up()
        self._sender = sender
        self.endpoint = self._sender.endpoint
        self._own = feed.new_sender()
        self._seq = 0
        self._size = (1, 1)
        self._latest = 0

    async def wait_for_readers(self, count: int, seconds: float) -> None:
        await self._sender.wait_for_readers(count, topics.topic("events", self.name), seconds)

    async def events(self, packet: EventPacket) -> None:
        self._size = (packet.width, packet.height)
        self._latest = int(packet.events["t"][-1])
        await self._sender.send(feed.pack_events(self.name, self._seq, packet.events, *self._size, sender=self._own))
        self._seq += 1

    async def label(self, interval: LabelInterval) -> None:
        await self._sender.send(feed.pack_label(self.name, interval, sender=self._own))

    async def end(self, within: float | None = None) -> None:
        # PUSH loses nothing: its reader may take as long as it needs.
        patience = within if within is not None else PATIENCE_S if self._sender.publishes else None
        nothing = np.empty(0, EVENT_DTYPE)
        last = feed.pack_events(self.name, self._seq, nothing, *self._size, t=self._latest, eos=True, sender=self._own)
        try:
            await self._sender.send_last(last, patience)
        except OutputError:
            if within is None:
                raise
        finally:
            await self._sender.close(LOSSLESS_S if patience is None else patience)


async def play(
    source: Source,
    output: Output,
    counts: Counts,
    *,
    speed: float | None = None,
    labels: LabelTimeline | None = None,
    delay: int | Literal["end"] = "end",
    filters: Sequence[Spec] = (),
) -> None:
    """Send all of ``source``, and each label when it becomes known.

    Args:
        source: what to play.
        output: where to.
        counts: what was sent is counted here.
        speed: stream seconds per wall second; None for as fast as it goes.
        labels: of the stream; they are sent after the last event before their time. None for the source's own, if it
            has any.
        delay: when the source's own labels become known: µs after their start, or at their ``"end"``.
        filters: what leaves out or moves events, in this order.

    Raises:
        InputError: the source is damaged; what was good before is sent.
        OutputError: it cannot be sent.
    """
    pace = None if speed is None else Pace(speed)
    due: deque[tuple[int, LabelInterval]] | None = None
    began = time.perf_counter()
    newest = 0
    try:
        async with aclosing(_usable(source, counts, filters)) as packets:
            async for packet in packets:
                if due is None:  # only now a collection knows its labels
                    timeline = labels or LabelTimeline(source.labels or (), delay=delay)
                    due = deque(sorted((timeline.known_at(i), i) for i in timeline))
                for part in [packet] if pace is None else pace.cut(packet):
                    if pace is not None:
                        await asyncio.sleep(max(0.0, pace.due(part) - time.perf_counter()))
                    for message in _messages(part, [t for t, _ in due]):
                        newest = int(message.events["t"][-1])
                        while due and due[0][0] <= int(message.events["t"][0]):
                            await output.label(_named(due.popleft()[1], source))
                            counts.labels += 1
                        await output.events(message)
                        counts.events += len(message)
                        counts.messages += 1
                    await asyncio.sleep(0)
    finally:
        for _, interval in due or ():
            if interval.t_start <= newest and counts.messages:
                await output.label(_named(interval, source))
                counts.labels += 1
        counts.seconds = time.perf_counter() - began


def _named(interval: LabelInterval, source: Source) -> LabelInterval:
    """The label with its class's name, where the source knows it."""
    return replace(interval, name=interval.name or source.class_names.get(interval.label))


async def _usable(source: Source, counts: Counts, filters: Sequence[Spec]) -> AsyncGenerator[EventPacket]:
    """What is fit to be sent of a source, in order of time and filtered; the rest is counted."""
    clock = Clock(source.config.tolerance)
    chain: FilterChain | None = None
    error: InputError | None = None
    try:
        async for packet in source:
            events, malformed = counts.misfits.sift(packet)
            counts.malformed += malformed
            counts.read += len(packet)
            counts.size = packet.width, packet.height
            if chain is None:
                chain = open_filters(filters, packet.width, packet.height)
                counts.dropped = chain.dropped
            yield EventPacket(chain(clock.feed(events)), chain.width, chain.height)
            counts.wrong_times = clock.left_out
    except InputError as e:
        error = e
    if chain is not None:
        yield EventPacket(chain(clock.flush(ended=True)), chain.width, chain.height)
        counts.wrong_times = clock.left_out
    if error is not None:
        raise error


def _messages(packet: EventPacket, times: list[int]) -> Iterator[EventPacket]:
    """Parts of a packet of at most MESSAGE_EVENTS events, none with events on both sides of one of ``times``."""
    t = packet.events["t"]
    if not len(t):
        return
    inside = [x for x in times if t[0] < x <= t[-1]]
    cuts = np.union1d(np.searchsorted(t, inside), np.arange(0, len(t), MESSAGE_EVENTS)).astype(int)
    for part in np.split(packet.events, cuts):
        if len(part):
            yield EventPacket(part, packet.width, packet.height)
