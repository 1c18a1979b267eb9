"""The sending end of the feed: PUB or PUSH, waiting for readers, and an end of the stream that is not lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import zmq

from stream_ottt.errors import OutputError
from stream_ottt.live.wishes import LONGEST, LONGEST_WITH_KEYS, Wishes
from stream_ottt.live.zmq_socket import FeedSocket, SocketOptions
from stream_ottt.pipeline.threads import start_thread

LINGER_S = 5.0
"""Longest wait at the end for what readers have not taken yet."""
REPEAT_S = 0.1
"""How often PUB says that the stream has ended, to readers that are still there."""


class Sender:
    """Sends messages of the feed.

    PUB (``zmq+pub``) drops what a slow reader has no room for; PUSH (``zmq+push``) waits for room.

    Args:
        address: ``zmq+pub://…`` or ``zmq+push://…``.
        options: of the socket.

    Raises:
        UsageError, OutputError: the address cannot be used.
    """

    def __init__(self, address: str, options: SocketOptions) -> None:
        self.address = address
        longest = LONGEST if options.keys is None else LONGEST_WITH_KEYS  # nothing but wishes comes
        self._link = FeedSocket(address, options, max_bytes=longest)
        self._socket = self._link.socket
        if not self._link.sends:
            self._link.close()
            raise OutputError(f"{address}: this socket does not send; write zmq+pub:// or zmq+push://")
        self.publishes = self._link.kind == "pub"
        self.wishes = Wishes(self._socket)
        if self.publishes:
            self._socket.setsockopt(zmq.XPUB_VERBOSER, 1)
            self._link.on_change = self.wishes.take

    @property
    def endpoint(self) -> str:
        """Where readers can reach it."""
        return self._link.endpoint

    async def wait_for_readers(self, count: int, topic: bytes, within: float) -> None:
        """Until ``count`` readers have asked for ``topic``; for PUSH, until one is connected.

        Raises:
            OutputError: they do not come within ``within`` seconds.
        """
        self._link.listen()
        loop = asyncio.get_running_loop()
        until = loop.time() + within
        while count and (not self.publishes or self.wishes.readers(topic) < count):
            if not await self._link.wait(zmq.POLLIN if self.publishes else zmq.POLLOUT, until - loop.time()):
                raise OutputError(f"{self.address}: no reader came within {within:g} s; start it first, or wait longer")
            if not self.publishes:
                return

    async def send(self, frames: Sequence[bytes | memoryview], within: float | None = None) -> None:
        """Send one message; PUSH waits for room, PUB does not.

        Raises:
            OutputError: PUSH found no room within ``within`` seconds.
        """
        if self.publishes:
            self.wishes.take()
        while True:
            try:
                self._socket.send_multipart(frames, zmq.NOBLOCK, copy=True)
                return
            except zmq.Again:
                if not await self._link.wait(zmq.POLLOUT, within):
                    raise OutputError(
                        f"{self.address}: no reader has taken anything for {within:g} s; connect one with zmq+pull://"
                    ) from None

    async def send_last(self, frames: Sequence[bytes | memoryview], within: float | None) -> None:
        """Send the message that ends the stream.

        PUB may drop it as any other, and does not say so. It is repeated until the readers have gone, which they do
        when they get it, or until ``within`` seconds have passed.
        """
        await self.send(frames, within)
        if not self.publishes:
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + (LINGER_S if within is None else within)
        topic = bytes(frames[0])
        while self.wishes.readers(topic) and loop.time() < until:
            if not await self._link.wait(zmq.POLLIN, REPEAT_S):
                await self.send(frames)

    async def close(self, linger: float = LINGER_S) -> None:
        """Close, giving readers up to ``linger`` seconds to take what is under way."""
        self._link.release()
        # In a thread that nobody has to wait for, should the program be stopped meanwhile.
        await start_thread("linger", lambda: self._link.close(linger_ms=round(linger * 1000)))
