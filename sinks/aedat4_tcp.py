"""Publishing AEDAT4 over TCP, as dv-processing's NetworkWriter does."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from stream_ottt.errors import OutputError
from stream_ottt.events.packet import EventPacket
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.live.publisher import PATIENCE_S, Output
from stream_ottt.sinks.writers.aedat4 import CAMERA, INFO, compressor, event_packet, header
from stream_ottt.sources.aedat4.header import MAGIC


class TcpOutput(Output):
    """AEDAT4 over TCP, for dv-processing's NetworkReader and whoever else reads it. It carries no labels.

    A client gets the header, which says the sensor's size, with the first events after it came. As dv-processing's
    writer does, without the magic line of a file.

    Args:
        host, port: where to listen; port 0 takes a free one.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._compression, self._compress = compressor("lz4")
        self._clients: dict[asyncio.StreamWriter, bool] = {}  # whether it has the header
        self._came = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Begin to listen. Raises OutputError where that is not possible."""
        try:
            self._server = await asyncio.start_server(self._accept, self._host, self._port)
        except OSError as e:
            raise OutputError(f"tcp://{self._host}:{self._port}: cannot be bound: {e.strerror or e}") from e
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
        for client, begun in list(self._clients.items()):
            try:
                client.write(message if begun else self._header(packet) + message)
                self._clients[client] = True
                async with asyncio.timeout(PATIENCE_S):
                    await client.drain()
            except (OSError, TimeoutError):
                del self._clients[client]
                client.close()

    async def label(self, interval: LabelInterval) -> None:
        """AEDAT4 has no labels."""

    async def end(self) -> None:
        for client in self._clients:
            client.close()
        for client in self._clients:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(PATIENCE_S):
                    await client.wait_closed()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _accept(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients[writer] = False
        self._came.set()

    def _header(self, packet: EventPacket) -> bytes:
        info = INFO.format(compression="LZ4", width=packet.width, height=packet.height, camera=CAMERA)
        return header(self._compression, -1, info)[len(MAGIC) :]
