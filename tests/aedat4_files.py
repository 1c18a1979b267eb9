"""Small AEDAT4 files of any shape, for tests: several streams, any compression, with or without a data table."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import lz4.frame
import numpy as np
import zstandard

from stream_ottt.events.packet import EventArray, make_events

PACKERS = {
    0: bytes,
    1: lambda data: lz4.frame.compress(data, store_size=False),
    2: lambda data: lz4.frame.compress(data, compression_level=9, content_checksum=True),
    3: lambda data: zstandard.ZstdCompressor().compress(data),
    4: lambda data: zstandard.ZstdCompressor(level=19, write_content_size=False).compress(data),
}


def events_of(n: int, seed: int = 0, width: int = 16, height: int = 12) -> EventArray:
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, 10 * n, n)) + 1_700_000_000_000_000
    return make_events(rng.integers(0, width, n), rng.integers(0, height, n), t, rng.random(n) < 0.5)


def stream_xml(number: int, kind: str, size: tuple[int, int] | None = (16, 12)) -> str:
    info = '<attr key="source" type="string">Cam_7</attr>'
    if size:
        info += f'<attr key="sizeX" type="int">{size[0]}</attr><attr key="sizeY" type="int">{size[1]}</attr>'
    return (
        f'<node name="{number}"><attr key="typeIdentifier" type="string">{kind}</attr>'
        f'<attr key="originalOutputName" type="string">out{number}</attr><node name="info">{info}</node></node>'
    )


def info_xml(*streams: str) -> str:
    return f'<dv version="2.0"><node name="outInfo">{"".join(streams)}</node></dv>'


def flatbuffer(identifier: bytes, count: int, items: bytes) -> bytes:
    """Size-prefixed, one table with one vector."""
    body = struct.pack("<I4s2xHHHiII", 16, identifier, 6, 8, 4, 6, 4, count) + items
    return struct.pack("<I", len(body)) + body


def events_flatbuffer(events: EventArray) -> bytes:
    items = b"".join(struct.pack("<qhh?3x", int(t), int(x), int(y), bool(p)) for x, y, t, p in events.tolist())
    return flatbuffer(b"EVTS", len(events), items)


@dataclass
class Aedat4File:
    """A file under construction; ``starts`` are the byte offsets of its packets, ``table`` that of its data table."""

    compression: int = 1
    xml: str = field(default_factory=lambda: info_xml(stream_xml(0, "EVTS")))
    body: bytes = b""
    starts: list[int] = field(default_factory=list)

    def head(self, table_position: int = -1) -> bytes:
        text = self.xml.encode()
        table = struct.pack(
            "<I4s6xHHHHHiiIq4xI", 24, b"IOHE", 10, 24, 4, 12, 8, 10, self.compression, 16, table_position, len(text)
        )
        body = table + text + b"\0"
        return b"#!AER-DAT4.0\r\n" + struct.pack("<I", len(body)) + body

    def raw(self, stream: int, packed: bytes) -> Aedat4File:
        self.starts.append(len(self.head()) + len(self.body))
        self.body += struct.pack("<ii", stream, len(packed)) + packed
        return self

    def add(self, stream: int, content: bytes) -> Aedat4File:
        return self.raw(stream, PACKERS[self.compression](content))

    def events(self, events: EventArray, stream: int = 0) -> Aedat4File:
        return self.add(stream, events_flatbuffer(events))

    @property
    def table(self) -> int:
        return len(self.head()) + len(self.body)

    @property
    def table_bytes(self) -> bytes:
        return PACKERS[self.compression](flatbuffer(b"FTAB", 0, b""))

    def unfinished(self, position: int = -1) -> bytes:
        return self.head(position) + self.body

    def finished(self) -> bytes:
        return self.head(self.table) + self.body + self.table_bytes
