"""Writes AEDAT4 with one event stream, in the form of dv-processing's recordings."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import lz4.frame
import numpy as np
import zstandard

from stream_ottt.events.packet import EVENT_DTYPE, PACKET_EVENTS, EventArray
from stream_ottt.sinks.writers.base import EventWriter

Compression = Literal["none", "lz4", "lz4-high", "zstd", "zstd-high"]

TABLE_POSITION_AT = 54
"""Byte offset of the header's ``dataTablePosition``, which :func:`header` lays there."""
CAMERA = "stream-ottt"
INFO = """\
<dv version="2.0">
    <node name="outInfo" path="/outInfo/">
        <node name="0" path="/outInfo/0/">
            <attr key="compression" type="string">{compression}</attr>
            <attr key="originalModuleName" type="string">stream-ottt</attr>
            <attr key="originalOutputName" type="string">events</attr>
            <attr key="typeDescription" type="string">Array of events (polarity ON/OFF).</attr>
            <attr key="typeIdentifier" type="string">EVTS</attr>
            <node name="info" path="/outInfo/0/info/">
                <attr key="sizeX" type="int">{width}</attr>
                <attr key="sizeY" type="int">{height}</attr>
                <attr key="source" type="string">{camera}</attr>
            </node>
        </node>
    </node>
</dv>
"""
# A size-prefixed flatbuffer whose table has a vector as its one field: the vector's first item is at byte 32.
# Size, distance to the table, identifier; vtable (its size, the table's size, the field's place); the table:
# distance back to the vtable, distance to the vector; the vector's length.
ONE_VECTOR = struct.Struct("<II4s2xHHHiII")
RECORD = np.dtype({"names": ["t", "xy", "on"], "formats": ["<i8", "<u4", "u1"], "offsets": [0, 8, 12], "itemsize": 16})
EVENT = np.dtype({"names": ["xy", "t", "on"], "formats": ["<u4", "<i8", "u1"], "offsets": [0, 4, 12], "itemsize": 13})
# One FileDataDefinition: distance back to the vtable, then the fields in the order of ENTRY_VTABLE's places.
ENTRY = np.dtype(
    {
        "names": ["vtable", "stream", "size", "offset", "events", "first", "last"],
        "formats": ["<i4", "<i4", "<i4", "<i8", "<i8", "<i8", "<i8"],
        "offsets": [0, 4, 8, 12, 20, 28, 36],
        "itemsize": 48,
    }
)
ENTRY_VTABLE = struct.pack("<7H", 14, 44, 12, 4, 20, 28, 36)


def header(compression: int, table_position: int, info: str) -> bytes:
    """The bytes before the first packet: magic, then an ``IOHeader`` flatbuffer."""
    text = info.encode()
    # Size, distance to the table, identifier; vtable; the table: distance back to the vtable, compression,
    # distance to the text, position of the data table; the text's length.
    body = struct.pack(
        "<I4s6xHHHHHiiIq4xI", 24, b"IOHE", 10, 24, 4, 12, 8, 10, compression, 16, table_position, len(text)
    )
    body += text + bytes(1 + -(len(text) + 1) % 4)
    return b"#!AER-DAT4.0\r\n" + struct.pack("<I", len(body)) + body


def one_vector(identifier: bytes, count: int, items: bytes) -> bytes:
    """A flatbuffer of the kind ``identifier`` that holds a vector of ``count`` items."""
    size = ONE_VECTOR.size - 4 + len(items)
    return ONE_VECTOR.pack(size, 16, identifier, 6, 8, 4, 6, 4, count) + items


def event_packet(events: EventArray) -> bytes:
    """An ``EventPacket`` flatbuffer of events [n]."""
    records = np.zeros(len(events), RECORD)
    fields = np.ascontiguousarray(events).view(EVENT)
    for name in EVENT.names or ():
        records[name] = fields[name]
    return one_vector(b"EVTS", len(events), records.tobytes())


def data_table(entries: EventArray) -> bytes:
    """A ``FileDataTable`` flatbuffer of entries [n] of :data:`ENTRY`; ``vtable`` is filled in here."""
    n = len(entries)
    vtable = ONE_VECTOR.size + 4 * n
    # The entries' 64-bit fields stand 4 bytes after a multiple of 8, and must be aligned to 8.
    first = vtable + len(ENTRY_VTABLE) + (4 - vtable - len(ENTRY_VTABLE)) % 8
    places = first + ENTRY.itemsize * np.arange(n)
    entries["vtable"] = places - vtable
    distances = (places - (ONE_VECTOR.size + 4 * np.arange(n))).astype("<u4")
    gap = bytes(first - vtable - len(ENTRY_VTABLE))
    return one_vector(b"FTAB", n, distances.tobytes() + ENTRY_VTABLE + gap + entries.tobytes())


def compressor(compression: Compression) -> tuple[int, Callable[[bytes], bytes]]:
    """The number that AEDAT4 gives to a compression, and the function that does it."""
    if compression == "none":
        return 0, bytes
    if compression in ("lz4", "lz4-high"):
        level = lz4.frame.COMPRESSIONLEVEL_MINHC if compression == "lz4-high" else 0
        return 1 + (compression == "lz4-high"), lambda data: lz4.frame.compress(data, compression_level=level)
    high = compression == "zstd-high"
    return 3 + high, zstandard.ZstdCompressor(level=19 if high else 3).compress


class Aedat4Writer(EventWriter):
    """Writes events as packets of one stream, then the table of the packets.

    Args:
        path, width, height: as for every writer.
        compression: of packets and table; LZ4 is what cameras' recorders choose.
    """

    name = "aedat4"
    suffixes = (".aedat4",)

    def __init__(self, path: Path, width: int, height: int, *, compression: Compression = "lz4") -> None:
        super().__init__(path, width, height)
        number, self._compress = compressor(compression)
        label = compression.replace("-", "_").upper()
        info = INFO.format(compression=label, width=width, height=height, camera=CAMERA)
        self._entries: list[tuple[int, int, int, int, int]] = []
        self._pending: list[EventArray] = []
        self._count = 0
        self.put(header(number, -1, info))

    def write(self, events: EventArray) -> None:
        while self._count + len(events) >= PACKET_EVENTS:
            head, events = np.split(events, [PACKET_EVENTS - self._count])
            self._pending.append(head)
            self._flush()
        if len(events):
            self._pending.append(events.copy())
            self._count += len(events)

    def close(self) -> None:
        if self.file.closed:
            return
        try:
            self._flush()
            position = self.file.tell()
            entries = np.zeros(len(self._entries), ENTRY)
            for i, name in enumerate(("size", "offset", "events", "first", "last")):
                entries[name] = [e[i] for e in self._entries]
            self.put(self._compress(data_table(entries)))
            self.file.seek(TABLE_POSITION_AT)
            self.put(struct.pack("<q", position))
        except OSError as e:
            raise self.failed(e) from e
        finally:
            super().close()

    def _flush(self) -> None:
        """Write the events held back as one packet."""
        events = np.concatenate(self._pending) if self._pending else np.empty(0, EVENT_DTYPE)
        self._pending, self._count = [], 0
        if not len(events):
            return
        body = self._compress(event_packet(events))
        self.put(struct.pack("<ii", 0, len(body)))
        self._entries.append((len(body), self.file.tell(), len(events), int(events["t"][0]), int(events["t"][-1])))
        self.put(body)
