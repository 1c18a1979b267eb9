"""Publishing AEDAT4 over TCP, as dv-processing's NetworkWriter does."""

from __future__ import annotations

import asyncio
import os
import time

from stream_ottt.errors import OutputError
from stream_ottt.events.packet import EventPacket
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.live.publisher import PATIENCE_S, Output
from stream_ottt.sinks.writers.aedat4 import CAMERA, INFO, compressor, event_packet, header
from stream_ottt.sources.aedat4.header import MAGIC

STALL_S = 0.25
"""A client that has taken nothing for so long is not waited for."""
MAX_BEHIND = 32 << 20
"""Bytes that wait for a client, at most."""


class TcpOutput(Output):
    """AEDAT4 over TCP, for dv-processing's NetworkReader and whoever else reads it. It carries no labels.

    The stream waits for the slowest client, but for none that takes nothing: the others go on, and it is cut off when
    it is ``MAX_BEHIND`` bytes or ``PATIENCE_S`` seconds behind.

    A client gets the header, which says the sensor's size, with the first events after it came. As dv-processing's
    writer does, without the magic line of a file.

    Args:
        host, port: where to listen; port 0 takes a free one.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._compression, self._compress = compressor("lz4")
        self._clients: dict[asyncio.StreamWriter, bool] = {}  # whether it has the header
        self._stalled: dict[asyncio.StreamWriter, tuple[float, int]] = {}  # since when, and bytes that waited then
        self._came = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Begin to listen. Raises OutputError where that is not possible."""
        try:
            self._server = await asyncio.start_server(self._accept, self._host, self._port)
        except OSError as e:
            reason = os.strerror(e.errno) if e.errno and e.errno > 0 else e  # asyncio's own words are long
            raise OutputError(f"tcp://{self._host}:{self._port}: cannot be bound: {reason}; choose another port") from e
        host, port = self._server.sockets[0].getsockname()[:2]
        self.endpoint = f"tcp://{host}:{port}"

    async def wait_for_readers(self, count: int, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while len(self._clients) < count:
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            raise OutputError(f"{self.endpoint}: no reader came within {seconds:g} s; start it first") from None

    async def events(self, packet: EventPacket) -> None:
        body = self._compress(event_packet(packet.events))
        message = (0).to_bytes(4, "little") + len(body).to_bytes(4, "little") + body
        for client, (_, behind) in list(self._stalled.items()):
            if client.transport.get_write_buffer_size() < behind:
                del self._stalled[client]  # it takes again, and is waited for
        for client, begun in self._clients.items():
            client.write(message if begun else self._header(packet) + message)
            self._clients[client] = True
        await self._wait([client for client in self._clients if client not in self._stalled])
        for client, (since, _) in list(self._stalled.items()):
            behind = client.transport.get_write_buffer_size()
            self._stalled[client] = since, behind
            if behind > MAX_BEHIND or time.monotonic() - since > PATIENCE_S:
                self._leave(client)

    async def _wait(self, clients: list[asyncio.StreamWriter]) -> None:
        """Until these have taken what they were sent, or take nothing."""
        await asyncio.sleep(0)  # what is written goes out, also where none is waited for
        waiting = {asyncio.ensure_future(client.drain()): client for client in clients}
        while waiting:
            before = {client: client.transport.get_write_buffer_size() for client in waiting.values()}
            done, _ = await asyncio.wait(waiting, timeout=STALL_S, return_when=asyncio.ALL_COMPLETED)
            for task in done:
                client = waiting.pop(task)
                if task.exception() is not None:
                    self._leave(client)
            for task, client in list(waiting.items()):
                if (behind := client.transport.get_write_buffer_size()) >= before[client]:
                    del waiting[task]
                    task.cancel()
                    self._stalled[client] = time.monotonic(), behind

    def _leave(self, client: asyncio.StreamWriter) -> None:
        self._clients.pop(client, None)
        self._stalled.pop(client, None)
        client.transport.abort()

    async def label(self, interval: LabelInterval) -> None:
        """AEDAT4 has no labels."""

    async def end(self, within: float | None = None) -> None:
        for client in self._clients:
            client.close()
        closing = [asyncio.ensure_future(client.wait_closed()) for client in self._clients]
        if closing:
            await asyncio.wait(closing, timeout=PATIENCE_S if within is None else within)
        for client in self._clients:
            client.transport.abort()
        await asyncio.gather(*closing, return_exceptions=True)
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _accept(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients[writer] = False
        self._came.set()

    def _header(self, packet: EventPacket) -> bytes:
        info = INFO.format(compression="LZ4", width=packet.width, height=packet.height, camera=CAMERA)
        return header(self._compression, -1, info)[len(MAGIC) :]
