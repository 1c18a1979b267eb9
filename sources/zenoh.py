"""The live feed over Zenoh: ``zenoh://cameras/left?connect=tcp/HOST:PORT`` (docs/feed.md)."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pydantic import Field

from stream_ottt.events.packet import EventPacket
from stream_ottt.live import feed, topics
from stream_ottt.live.zenoh_peer import MIN_BYTES, ZenohOptions, check_address, open_peer
from stream_ottt.sources.feed_source import FeedConfig, FeedSource

if TYPE_CHECKING:
    import zenoh


class ZenohConfig(FeedConfig, ZenohOptions):
    """Options of :class:`ZenohSource`, beside those of every Zenoh peer.

    Attributes:
        address: ``zenoh://KEY/EXPR``; the expression may hold wildcards.
        queue: messages that may wait here before they are read; more are dropped.
        max_bytes: larger messages are dropped, as is what does not fit beside those that wait.
    """

    address: str
    queue: int = Field(256, ge=1, le=1_000_000)
    max_bytes: int = Field(64 << 20, ge=MIN_BYTES, le=2**30)


class ZenohSource(FeedSource):
    """Events and labels of one source of the feed, over Zenoh."""

    name = "zenoh"
    schemes = ("zenoh",)
    Config = ZenohConfig
    config: ZenohConfig

    def __init__(self, config: ZenohConfig) -> None:
        super().__init__(config)
        self._key = check_address(config.address, config, writes=False)
        self._waiting: Waiting | None = None
        self._dropped = 0  # by earlier iterations

    async def __aiter__(self) -> AsyncIterator[EventPacket]:
        import zenoh

        config = self.config
        await asyncio.to_thread(feed.warm_up)
        waiting = self._waiting = Waiting(config.queue, config.max_bytes)
        session = await asyncio.to_thread(open_peer, config.address, config, writes=False, max_bytes=config.max_bytes)
        try:
            # Directly: Zenoh's own queue to a thread of Python's has no bound.
            session.declare_subscriber(self._key, zenoh.handlers.Callback(waiting.put, indirect=False))
            within = None if config.idle is None else config.idle / 1e6
            while True:
                payload = await waiting.get(within)
                if payload is None:
                    return
                try:
                    frames = feed.split_frames(payload)
                except topics.FeedError as e:
                    self.refuse(e)
                    continue
                packet, ended = self.take(frames)
                if packet is not None:
                    yield packet
                if ended and not config.follow:
                    return
        finally:
            await asyncio.to_thread(session.close)
            self._dropped += waiting.dropped
            self._waiting = None

    def statistics(self) -> dict[str, Any]:
        now = 0 if self._waiting is None else self._waiting.dropped
        return {**super().statistics(), "dropped_messages": self._dropped + now}


class Waiting:
    """A bounded queue from Zenoh's thread to the running event loop.

    Args:
        messages: how many may wait.
        size: bytes that they may have together.

    Attributes:
        dropped: messages that found no room. Those with events are among the lost ones, too, by their numbers.
    """

    def __init__(self, messages: int, size: int) -> None:
        self.dropped = 0
        self._loop = asyncio.get_running_loop()
        self._messages = messages
        self._size = size
        self._bytes = 0
        self._payloads: deque[bytes] = deque()
        self._lock = threading.Lock()
        self._came = asyncio.Event()

    def put(self, sample: zenoh.Sample) -> None:
        """Take a message, in Zenoh's thread; it must not wait there."""
        n = len(sample.payload)
        with self._lock:
            if len(self._payloads) >= self._messages or self._bytes + n > self._size:
                self.dropped += 1
                return
            self._payloads.append(sample.payload.to_bytes())
            self._bytes += n
            first = len(self._payloads) == 1
        if first:
            with suppress(RuntimeError):  # the loop is closed: nobody reads any more
                self._loop.call_soon_threadsafe(self._came.set)

    async def get(self, within: float | None) -> bytes | None:
        """The next message; None after ``within`` seconds."""
        while True:
            self._came.clear()
            with self._lock:
                if self._payloads:
                    payload = self._payloads.popleft()
                    self._bytes -= len(payload)
                    break
            try:
                async with asyncio.timeout(within):
                    await self._came.wait()
            except TimeoutError:
                with self._lock:
                    if not self._payloads:
                        return None
        # Others have their turn, also where there is always a next one.
        await asyncio.sleep(0)
        return payload
