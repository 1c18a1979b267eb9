"""The live feed over ZeroMQ: ``zmq+sub://host:5555?topic=NAME`` and ``zmq+pull://…`` (docs/feed.md)."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from typing import Any

import zmq
from pydantic import Field

from stream_ottt.errors import UsageError
from stream_ottt.events.packet import EventPacket
from stream_ottt.live import feed
from stream_ottt.live.memory_guard import LOOK_S, MemoryGuard
from stream_ottt.live.zmq_socket import FeedSocket, SocketOptions, check_exposure, parse_address
from stream_ottt.settings import Bytes
from stream_ottt.sources.feed_source import FeedConfig, FeedSource

BUSY_S = 0.001
"""A flood of messages must not keep the event loop from everything else for longer."""


class ZmqConfig(FeedConfig, SocketOptions):
    """Options of :class:`ZmqSource`, beside those of every socket of the feed.

    Attributes:
        address: ``zmq+sub://HOST:PORT`` or ``zmq+pull://HOST:PORT``.
        max_bytes: a peer that sends a larger frame is disconnected.
        max_growth: by how much the memory of the process may grow before all connections are closed and opened anew: a
            message that never ends is seen by nothing else.
    """

    address: str
    max_bytes: int = Field(64 << 20, ge=4096, le=2**31)
    max_growth: Bytes = Field(512 << 20, ge=1 << 20, le=2**40)


class ZmqSource(FeedSource):
    """Events and labels of one source of the feed, over ZeroMQ."""

    name = "zmq"
    schemes = ("zmq+sub", "zmq+pull")
    Config = ZmqConfig
    config: ZmqConfig

    def __init__(self, config: ZmqConfig) -> None:
        super().__init__(config)
        kind, host, _ = parse_address(config.address)
        if kind not in ("sub", "pull"):
            raise UsageError(f"{config.address}: events are received with zmq+sub:// or zmq+pull://")
        check_exposure(config.address, host, config)
        self.endpoint = ""
        self.reopened = 0

    def statistics(self) -> dict[str, Any]:
        return {**super().statistics(), "reopened": self.reopened}

    def _subscribe(self, link: FeedSocket) -> None:
        if link.kind == "sub":
            # The wish for events goes last: who answers it has heard of the other.
            for kind in ("labels", "events"):
                link.socket.subscribe(f"{kind}/{self.config.topic or ''}".encode())

    async def __aiter__(self) -> AsyncIterator[EventPacket]:
        config = self.config
        await asyncio.to_thread(feed.warm_up)
        link = FeedSocket(config.address, config, max_bytes=config.max_bytes)
        try:
            self.endpoint = link.endpoint
            self._subscribe(link)
            idle = math.inf if config.idle is None else config.idle / 1e6
            guard = MemoryGuard(config.max_growth)
            heard = rested = time.monotonic()
            while True:
                if guard.exceeded():
                    link.open_anew()
                    guard.begin_again()
                    self._subscribe(link)
                    self.reopened += 1
                try:
                    frames = link.socket.recv_multipart(zmq.NOBLOCK, copy=False)
                except zmq.Again:
                    left = heard + idle - time.monotonic()
                    if left <= 0 or (not await link.wait(zmq.POLLIN, min(left, LOOK_S)) and left <= LOOK_S):
                        return
                    rested = time.monotonic()
                    continue
                heard = time.monotonic()
                packet, ended = self.take([frame.buffer for frame in frames])
                if packet is not None:
                    yield packet
                if ended and not config.follow:
                    return
                if time.monotonic() - rested > BUSY_S:
                    await asyncio.sleep(0)
                    rested = time.monotonic()
        finally:
            link.close()
