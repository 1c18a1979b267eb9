"""AEDAT4 files, as DV, dv-processing and faery write them, finished or still growing.

Not read: frames, IMU samples, triggers and other streams; packets that were cut off.

Traps of other readers: dv-processing 2.0.4 does not come to an end on some damaged files; others take coordinates
outside the sensor for events.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import Field

from stream_ottt.errors import UsageError
from stream_ottt.events.packet import EventPacket
from stream_ottt.pipeline.off_the_loop import off_the_loop
from stream_ottt.pipeline.source import FileConfig, FileSource
from stream_ottt.settings import Flag
from stream_ottt.sources.aedat4.decoder import PACKET_HEADER, Aedat4Decoder, unpacker
from stream_ottt.sources.aedat4.flatbuffer import FlatbufferError
from stream_ottt.sources.aedat4.header import (
    COMPRESSIONS,
    MAGIC,
    MAX_SIDE,
    Header,
    StreamInfo,
    choose_stream,
    header_size,
    parse_header,
)
from stream_ottt.sources.aedat4.index import checked, place_of, read_index
from stream_ottt.sources.decompress import DecompressError

MAX_TABLE_BYTES = 64 << 20
POLL_S = 0.05
"""How often a growing file is looked at."""


class Aedat4Config(FileConfig):
    """Options of :class:`Aedat4Source`.

    Attributes:
        stream: number of the event stream; None for the first.
        width: sensor width in pixels; None for what the header says.
        height: sensor height in pixels; None for what the header says.
        follow: wait for more at the file's end, until its data table is there.
    """

    stream: int | None = None
    width: int | None = Field(None, ge=1, le=MAX_SIDE)
    height: int | None = Field(None, ge=1, le=MAX_SIDE)
    follow: Flag = False


class Aedat4Source(FileSource):
    """Events of one stream of an AEDAT4 file; frames, IMU samples and triggers in it are passed over."""

    name = "aedat4"
    Config = Aedat4Config
    config: Aedat4Config

    def __init__(self, config: Aedat4Config) -> None:
        super().__init__(config)
        self._decoder: Aedat4Decoder | None = None
        asked = (config.from_, config.to, config.shift, config.sort or None)
        names = [name for name, value in zip(("from", "to", "shift", "sort"), asked, strict=True) if value is not None]
        if config.follow and names:
            raise UsageError(f"{config.path}: '{names[0]}' is not for a recording that is followed; leave it out")

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        return head.startswith(MAGIC)

    def packets(self) -> Iterator[EventPacket]:
        with self.open() as file:
            decoder = self._start()
            yield from self._available(decoder, file)
            decoder.close()

    def packets_from(self, start: int) -> Iterator[EventPacket]:
        """Decode from the packet that a finished file's data table names; from the beginning without one."""
        with self.open() as file:
            decoder = self._start()
            header = self._read_header()
            place = self._place_of(start, header, file)
            if place:
                file.seek(0)
                yield from self._fed(decoder, file.read(header.size))
                decoder.position = place
            file.seek(place)
            yield from self._available(decoder, file)
            decoder.close()

    def _place_of(self, start: int, header: Header, file: BinaryIO) -> int:
        """Where the packet with the first events of ``start`` (µs) or later begins; 0 where no table says it truly."""
        if header.table_position <= 0:
            return 0
        file.seek(header.table_position)
        packed = memoryview(file.read(MAX_TABLE_BYTES))
        stream = choose_stream(header, self.config.stream, str(self.path)).id
        try:
            table = packed if bytes(packed[8:12]) == b"FTAB" else unpacker(header.compression)(packed)
            first = header.size + PACKET_HEADER.size
            index = checked(read_index(table), first, header.table_position)
            body = place_of(index, stream, start)
        except (DecompressError, FlatbufferError):
            return 0  # its damage is told when the reading comes to it
        for offset, number, size in zip(*(index[k].tolist() for k in ("offset", "stream", "size")), strict=True):
            if os.pread(file.fileno(), PACKET_HEADER.size, offset - PACKET_HEADER.size) != PACKET_HEADER.pack(
                number, size
            ):
                return 0
        return body - PACKET_HEADER.size

    @property
    def synchronous(self) -> bool:
        return not self.config.follow

    def __aiter__(self) -> AsyncIterator[EventPacket]:
        return self._follow() if self.config.follow else super().__aiter__()

    async def _follow(self) -> AsyncIterator[EventPacket]:
        with self.open() as file:
            decoder = self._start()
            while True:
                async with aclosing(off_the_loop(self._available(decoder, file))) as packets:
                    async for packet in packets:
                        yield packet
                self._look_for_end(decoder, file)
                if decoder.finished:
                    return
                await asyncio.sleep(POLL_S)

    def _start(self) -> Aedat4Decoder:
        self._decoder = Aedat4Decoder(str(self.path), self.config.stream)
        return self._decoder

    def _available(self, decoder: Aedat4Decoder, file: BinaryIO) -> Iterator[EventPacket]:
        """Packets of what the file holds beyond its current position."""
        while data := file.read(decoder.lacking):
            yield from self._fed(decoder, data)

    def _fed(self, decoder: Aedat4Decoder, data: bytes) -> Iterator[EventPacket]:
        for events in decoder.feed(data):
            assert decoder.stream is not None
            width, height = self.size(decoder.stream)
            yield EventPacket(events, width, height, decoder.reach.within(width, height))

    def _look_for_end(self, decoder: Aedat4Decoder, file: BinaryIO) -> None:
        """Ask a growing file's header, which a recorder rewrites last, whether the file is complete.

        Raises:
            InputError: the file has become shorter, or is complete and cut short.
        """
        read = file.tell()
        if file.seek(0, os.SEEK_END) < read:
            raise self.fail("the file became shorter while it was followed; start again", read)
        if decoder.header is not None and not decoder.finished:
            file.seek(0)
            end = parse_header(file.read(decoder.header.size), str(self.path)).table_position
            decoder.finish_at(end)
            if not decoder.finished and 0 < end <= read:
                decoder.close()
        file.seek(read)

    def size(self, stream: StreamInfo) -> tuple[int, int]:
        """Width and height in pixels, of the options or else the header's. Raises InputError without them."""
        width = self.config.width or stream.width
        height = self.config.height or stream.height
        if width is None or height is None:
            raise self.fail(
                f"the header gives no usable sizeX and sizeY for stream {stream.id}; say them with ?width=…&height=…"
            )
        return width, height

    def describe(self) -> dict[str, Any]:
        """Camera, compression, and all streams with the packets counted in the last pass.

        Raises:
            InputError: the header is damaged, or lists no event stream.
            UsageError: the header has no event stream of the wanted number.
        """
        decoder = self._decoder
        header = decoder.header if decoder else None
        if header is None:
            header = self._read_header()
        chosen = choose_stream(header, self.config.stream, str(self.path))
        return {
            "camera": chosen.camera,
            "compression": COMPRESSIONS[header.compression],
            "stream": chosen.id,
            "streams": [
                {
                    "id": s.id,
                    "type": s.type,
                    "name": s.name,
                    "width": s.width,
                    "height": s.height,
                    "packets": decoder.packets[s.id] if decoder else None,
                }
                for s in header.streams
            ],
        }

    def _read_header(self) -> Header:
        with self.open() as file:
            data = b""
            while len(data) < (needed := header_size(data, str(self.path))):
                more = file.read(needed - len(data))
                if not more:
                    raise self.fail(f"the AEDAT4 header is cut short at byte {len(data)}; copy the file again", 0)
                data += more
        return parse_header(data, str(self.path))
