"""AEDAT4 over TCP, as dv-processing's NetworkWriter serves it: ``tcp://host:port``."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing
from typing import Any

from pydantic import Field

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import EventPacket
from stream_ottt.live.sockets import keep_alive
from stream_ottt.pipeline.source import Source, SourceConfig
from stream_ottt.settings import Duration, Flag
from stream_ottt.sources.aedat4.decoder import MAX_PACKET_BYTES, Aedat4Decoder
from stream_ottt.sources.aedat4.header import MAGIC, MAX_SIDE
from stream_ottt.sources.continuity import Continuity

ADDRESS = re.compile(r"(?:tcp|udp)://(?P<host>\[[0-9a-fA-F:.%]+\]|[^/:\[\]?#]+):(?P<port>\d{1,5})/?")
CHUNK = 1 << 18
"""Bytes read at once."""
MAX_DAMAGE = 10
"""Connections that ended in damage and are described in the statistics."""


class TcpConfig(SourceConfig):
    """Options of :class:`TcpSource`.

    Attributes:
        address: ``tcp://HOST:PORT``.
        stream: number of the event stream; None for the first.
        width: sensor width in pixels; None for what the header says.
        height: sensor height in pixels; None for what the header says.
        follow: connect again when the sender is gone, and wait for one that is not there yet.
        reconnect: wait between two attempts.
        idle: end the connection after so long without a byte; None waits for ever.
        keepalive: how long a connection may be silent before the system asks whether the sender is there; one that does
            not answer three times counts as gone. 0 never asks.
        max_bytes: largest packet; a sender of a larger one is cut off.
    """

    address: str
    stream: int | None = None
    width: int | None = Field(None, ge=1, le=MAX_SIDE)
    height: int | None = Field(None, ge=1, le=MAX_SIDE)
    follow: Flag = False
    reconnect: Duration = Field(200_000, ge=1000)
    idle: Duration | None = None
    keepalive: Duration = Field(10_000_000, le=3_600_000_000)
    max_bytes: int = Field(32 << 20, ge=4096, le=MAX_PACKET_BYTES)


class TcpSource(Source):
    """Events of one stream of a network writer."""

    name = "tcp"
    schemes = ("tcp",)
    Config = TcpConfig
    live = True
    config: TcpConfig

    def __init__(self, config: TcpConfig) -> None:
        super().__init__(config)
        if config.width or config.height:
            self.size_from = "option"
        self.host, self.port = split_address(config.address)
        self._continuity = Continuity()
        self._connections = 0
        self._damage: list[str] = []
        self._size: tuple[int, int] | None = None

    async def __aiter__(self) -> AsyncIterator[EventPacket]:
        while True:
            try:
                async with aclosing(self._connection()) as packets:
                    async for packet in packets:
                        yield packet
            except OSError as e:
                if not self.config.follow:
                    message = f"no sender answers: {e.strerror or e}; start it, or wait for it with ?follow"
                    raise InputError(message, path=self.config.address) from e
            except InputError as e:
                if not self.config.follow:
                    raise
                self._damage.append(str(e))
                del self._damage[MAX_DAMAGE:]
            if not self.config.follow:
                return
            self._continuity.interrupted()
            await asyncio.sleep(self.config.reconnect / 1e6)

    def statistics(self) -> dict[str, Any]:
        return {"connections": self._connections, "damage": list(self._damage), **self._continuity.facts()}

    async def _connection(self) -> AsyncGenerator[EventPacket, None]:
        """Packets until the sender closes the connection.

        Raises:
            OSError: there is nobody.
            InputError: the bytes are damaged, or end within a packet.
        """
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=CHUNK)
        try:
            self._connections += 1
            keep_alive(writer.get_extra_info("socket"), self.config.keepalive)
            decoder = Aedat4Decoder(self.config.address, self.config.stream, self.config.max_bytes)
            first = self._connections > 1
            # dv-processing's writer begins with the header's size, a recording sent as it is with the magic line.
            try:
                start = await self._heard(reader.readexactly(len(MAGIC)))
            except asyncio.IncompleteReadError as e:
                if e.partial:
                    raise InputError("the AEDAT4 header is cut short", path=self.config.address, offset=0) from e
                return
            data = start if start == MAGIC else MAGIC + start
            while data:
                decoded = decoder.feed(data)
                while (events := await asyncio.to_thread(next, decoded, None)) is not None:
                    if len(events):
                        self._continuity.place(events, restarted=first)
                        first = False
                        yield EventPacket(events, *self._sensor(decoder))
                data = await self._heard(reader.read(CHUNK))
            if decoder.header is not None:
                decoder.close()
        finally:
            writer.close()

    async def _heard(self, reading: Coroutine[Any, Any, bytes]) -> bytes:
        """What is read. Raises InputError after ``idle`` without a byte."""
        idle = self.config.idle
        try:
            async with asyncio.timeout(None if idle is None else idle / 1e6):
                return await reading
        except TimeoutError:
            raise InputError(f"nothing has come for {(idle or 0) / 1e6:g} s", path=self.config.address) from None

    def _sensor(self, decoder: Aedat4Decoder) -> tuple[int, int]:
        """The sensor's size, which must stay the same.

        Raises:
            InputError: it is not known, or another one than at first.
        """
        assert decoder.stream is not None
        width = self.config.width or decoder.stream.width
        height = self.config.height or decoder.stream.height
        if width is None or height is None:
            raise InputError(
                "the sender gives no usable sizeX and sizeY; say them with ?width=…&height=…", path=self.config.address
            )
        if self._size not in (None, (width, height)):
            raise InputError(f"the sensor is now {width}×{height}, and was another", path=self.config.address)
        self._size = (width, height)
        return self._size


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``tcp://HOST:PORT`` or ``udp://HOST:PORT``.

    Raises:
        UsageError: it is no such address.
    """
    match = ADDRESS.fullmatch(address)
    if not match or int(match["port"]) > 65535:
        raise UsageError(
            f"{address}: no address; expected a host and a port up to 65535, as in {address[:3]}://localhost:7777"
        )
    return match["host"].strip("[]"), int(match["port"])
