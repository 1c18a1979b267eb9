"""The live feed over ZeroMQ: ``zmq+sub://host:5555?topic=NAME`` and ``zmq+pull://…`` (docs/feed.md)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import zmq
from pydantic import Field, field_validator

from stream_ottt.errors import UsageError
from stream_ottt.events.packet import EventPacket
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.live import feed
from stream_ottt.live.zmq_socket import FeedSocket, SocketOptions, check_exposure, parse_address
from stream_ottt.pipeline.source import Source, SourceConfig
from stream_ottt.settings import Duration, Flag
from stream_ottt.sources.continuity import Continuity

BUSY_S = 0.001
"""A flood of messages must not keep the event loop from everything else for longer."""
MAX_COMPLAINTS = 10
"""Messages that are described in the statistics when they cannot be read; all are counted."""


class ZmqConfig(SourceConfig, SocketOptions):
    """Options of :class:`ZmqSource`, beside those of every socket of the feed.

    Attributes:
        address: ``zmq+sub://HOST:PORT`` or ``zmq+pull://HOST:PORT``.
        topic: name of the source to follow; None follows the first that is heard.
        follow: go on after the end of the stream, for a source that comes back.
        idle: end after so long without a message; None waits for ever.
        max_bytes: a peer that sends a larger frame is disconnected.
    """

    address: str
    topic: str | None = None
    follow: Flag = False
    idle: Duration | None = None
    max_bytes: int = Field(64 << 20, ge=4096, le=2**31)

    @field_validator("topic")
    @classmethod
    def _topic(cls, topic: str | None) -> str | None:
        return None if topic is None else feed.check_name(topic)


class ZmqSource(Source):
    """Events and labels of one source of the feed.

    A message that cannot be read is counted and described, and changes nothing else. Messages that never came are
    known by the gap in the numbers.
    """

    name = "zmq"
    schemes = ("zmq+sub", "zmq+pull")
    Config = ZmqConfig
    live = True
    gives_labels = True
    config: ZmqConfig

    def __init__(self, config: ZmqConfig) -> None:
        super().__init__(config)
        kind, host, _ = parse_address(config.address)
        if kind not in ("sub", "pull"):
            raise UsageError(f"{config.address}: events are received with zmq+sub:// or zmq+pull://")
        check_exposure(config.address, host, config)
        self.following = config.topic
        self.endpoint = ""
        self.messages = 0
        self.events = 0
        self.labels_received = 0
        self.malformed = 0
        self.of_others = 0
        self.first_seq: int | None = None
        self._complaints: list[str] = []
        self._size: tuple[int, int] | None = None
        self._expected = 0
        self._continuity = Continuity()

    async def __aiter__(self) -> AsyncIterator[EventPacket]:
        config = self.config
        await asyncio.to_thread(feed.warm_up)
        link = FeedSocket(config.address, config, max_bytes=config.max_bytes)
        try:
            self.endpoint = link.endpoint
            if link.kind == "sub":
                # The wish for events goes last: who answers it has heard of the other.
                for kind in ("labels", "events"):
                    link.socket.subscribe(f"{kind}/{config.topic or ''}".encode())
            idle = None if config.idle is None else config.idle / 1e6
            rested = time.monotonic()
            while True:
                try:
                    frames = link.socket.recv_multipart(zmq.NOBLOCK, copy=False)
                except zmq.Again:
                    if not await link.wait(zmq.POLLIN, idle):
                        return
                    rested = time.monotonic()
                    continue
                packet, ended = self._take(frames)
                if packet is not None:
                    yield packet
                if ended and not config.follow:
                    return
                if time.monotonic() - rested > BUSY_S:
                    await asyncio.sleep(0)
                    rested = time.monotonic()
        finally:
            link.close()

    def statistics(self) -> dict[str, Any]:
        return {
            "topic": self.following,
            "messages": self.messages,
            "first_seq": self.first_seq,
            "malformed_messages": self.malformed,
            "malformed": list(self._complaints),
            "other_messages": self.of_others,
            "label_messages": self.labels_received,
            **self._continuity.facts(),
        }

    def _take(self, frames: list[zmq.Frame]) -> tuple[EventPacket | None, bool]:
        """Use one message; a packet if it has events, and whether it ends the stream."""
        try:
            kind, source = feed.split_topic(frames[0].bytes[:256])
            if kind == "predictions" or (self.following is not None and source != self.following):
                self.of_others += 1
                return None, False
            if len(frames) != feed.count_frames(kind):
                raise feed.FeedError(f"{len(frames)} frames, where {kind} have {feed.count_frames(kind)}")
            if kind == "labels":
                self._take_label(feed.unpack_label(frames[1].buffer))
                return None, False
            header, events = feed.unpack_events(frames[1].buffer, frames[2].buffer)
            size = (header.width, header.height)
            if self._size is not None and size != self._size:
                raise feed.FeedError(f"a sensor of {size[0]}×{size[1]}, where it was {self._size[0]}×{self._size[1]}")
        except feed.FeedError as e:
            self.malformed += 1
            if len(self._complaints) < MAX_COMPLAINTS:
                self._complaints.append(str(e))
            return None, False
        self.following, self._size = source, size
        if header.eos and self.messages and header.seq == self._expected - 1:
            return None, True  # said again, to whoever had not heard it
        restarted = self._count(header.seq)
        if header.n:
            self._continuity.place(events, restarted=restarted)
        return (EventPacket(events, *size) if header.n else None), header.eos

    def _count(self, seq: int) -> bool:
        """Find what is missing before message ``seq``; True when the source has begun to count anew."""
        self.messages += 1
        if self.first_seq is None:
            self.first_seq = seq
        restarted = False
        if self.messages > 1 and seq < self._expected:
            restarted = True
            self._continuity.interrupted(seq or None)
        elif self.messages > 1 and seq > self._expected:
            self._continuity.interrupted(seq - self._expected)
        self._expected = seq + 1
        return restarted

    def _take_label(self, interval: LabelInterval) -> None:
        self.labels_received += 1
        shift = self._continuity.shift
        if self.on_label is not None:
            self.on_label(replace(interval, t_start=interval.t_start + shift, t_end=interval.t_end + shift))
