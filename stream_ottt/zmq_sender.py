"""The sending end of the feed: PUB or PUSH, waiting for readers, numbering, and an end that is not lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import zmq

from stream_ottt.errors import OutputError
from stream_ottt.zmq_socket import FeedSocket, SocketOptions

LINGER_MS = 5000
"""Longest wait at the end for what readers have not taken yet."""


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
        self._link = FeedSocket(address, options)
        self._socket = self._link.socket
        if self._link.kind not in ("pub", "push"):
            self._link.close()
            raise OutputError(f"{address}: this socket does not send; write zmq+pub:// or zmq+push://")
        self.publishes = self._link.kind == "pub"
        if self.publishes:
            self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)

    @property
    def endpoint(self) -> str:
        """Where readers can reach it."""
        return self._link.endpoint

    async def wait_for_readers(self, count: int, topic: bytes, within: float) -> None:
        """Until ``count`` readers have asked for ``topic``; for PUSH, until one is connected.

        Raises:
            OutputError: they do not come within ``within`` seconds.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + within
        missing = count
        while missing > 0:
            flag = zmq.POLLIN if self.publishes else zmq.POLLOUT
            if not await self._link.wait(flag, until - loop.time()):
                raise OutputError(
                    f"{self.address}: no reader came within {within:g} s; start it first, or wait longer"
                )
            if not self.publishes:
                return
            wish = self._socket.recv(zmq.NOBLOCK)
            if wish[:1] == b"\x01" and topic.startswith(wish[1:]):
                missing -= 1
            elif wish[:1] == b"\x00" and topic.startswith(wish[1:]):
                missing += 1

    async def send(self, frames: Sequence[bytes | memoryview], within: float | None = None) -> None:
        """Send one message; PUSH waits for room, PUB does not.

        Raises:
            OutputError: PUSH found no room within ``within`` seconds.
        """
        while True:
            try:
                self._socket.send_multipart(frames, zmq.NOBLOCK, copy=True)
                return
            except zmq.Again:
                if not await self._link.wait(zmq.POLLOUT, within):
                    raise OutputError(
                        f"{self.address}: no reader has taken anything for {within:g} s; connect one with zmq+pull://"
                    ) from None

    async def send_last(self, frames: Sequence[bytes | memoryview], within: float) -> None:
        """Send the message that ends the stream; PUB too waits with it for its slowest reader, up to ``within`` s."""
        if self.publishes:
            self._socket.setsockopt(zmq.XPUB_NODROP, 1)
            until = asyncio.get_running_loop().time() + within
            while asyncio.get_running_loop().time() < until:
                try:
                    self._socket.send_multipart(frames, zmq.NOBLOCK)
                    return
                except zmq.Again:
                    # XPUB always claims that it can send, so there is nothing to wait on.
                    await asyncio.sleep(0.01)
            return
        await self.send(frames, within)

    async def close(self) -> None:
        """Close, giving readers a while to take what is under way."""
        self._link.release()
        await asyncio.to_thread(self._link.close, linger_ms=LINGER_MS)
