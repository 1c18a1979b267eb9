"""Event Stream 2.0 (.es), DVS or ATIS events: a header of 20 bytes, then five bytes an event and one byte for each
long pause.

A DVS event: time since the event before (7 bits, µs) and polarity (1 bit), x and y (16 bits each, little-endian;
y grows upwards from the bottom row). A byte 0xFF in the place of an event adds 127 µs, 0xFE nothing.
An ATIS event: time (6 bits), polarity, and whether it measures exposure (1 bit each). A byte 0xFD adds 63 µs in the
place of an event, 0xFE twice and 0xFF thrice as much.

Not read: colour and generic events; what an ATIS measures of exposure.

Traps of other readers: y grows upwards, and here it does not; the times are differences, so that a damaged byte moves
all that follows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from stream_ottt.events.packet import EVENT_DTYPE, EventPacket
from stream_ottt.pipeline.source import FileSource
from stream_ottt.sources.reach import WORDS, Reach
from stream_ottt.sources.zero_tail import NEVER_WRITTEN, written_end

MAGIC = b"Event Stream"
HEADER = 20
DVS = 1
ATIS = 2
TYPES = {0: "generic events", 4: "colour events"}
PAUSE_US = 127
PAUSE = 0xFF
PADDING = 0xFE
CHUNK = 1 << 18
"""Bytes read at once: 52,000 events."""
RECORD = np.dtype([("head", "u1"), ("x", "<u2"), ("y", "<u2")])


class EventStreamSource(FileSource):
    """DVS events of one Event Stream file, or the change-detection events of an ATIS's."""

    name = "es"

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        """By the signature."""
        return head.startswith(MAGIC)

    def packets(self) -> Iterator[EventPacket]:
        """Decode from the beginning; see the base class."""
        from stream_ottt.sources.es_kernel import decode

        with self.open() as file:
            width, height, atis = self._header(file)
            reach = Reach()
            offset, t, rest = HEADER, 0, b""
            end = written_end(file) + RECORD.itemsize - 1  # an event may end with zeros
            while chunk := file.read(min(CHUNK, max(end - file.tell(), 0))):
                data = np.frombuffer(rest + chunk, np.uint8)
                events = np.empty(len(data) // RECORD.itemsize, EVENT_DTYPE)
                reach.clear()
                n, used, t = decode(data, events.view(WORDS), t, height, reach.values, atis)
                if n:
                    yield EventPacket(events[:n], width, height, reach.within(width, height))
                offset += used
                rest = data[used:].tobytes()
            if end < os.fstat(file.fileno()).st_size:
                raise self.fail(f"from here on {NEVER_WRITTEN}", end)
            if rest:
                raise self.fail(
                    f"the last event has {len(rest)} of its {RECORD.itemsize} bytes; the file is truncated", offset
                )

    def _header(self, file: BinaryIO) -> tuple[int, int, bool]:
        """Width and height in pixels, and whether the events are an ATIS's."""
        head = file.read(HEADER)
        if not head.startswith(MAGIC):
            raise self.fail(f"expected the signature 'Event Stream', found {head[:12]!r}", 0)
        if len(head) > 12 and head[12] != 2:
            raise self.fail(f"Event Stream version {head[12]} is not read; expected version 2", 12)
        if len(head) > 15 and head[15] not in (DVS, ATIS):
            kind = TYPES.get(head[15], f"events of the unknown type {head[15]}")
            raise self.fail(f"holds {kind}, in which no changes of pixels are; choose a file of DVS or ATIS events", 15)
        if len(head) < HEADER:
            raise self.fail(f"the header has {len(head)} of its {HEADER} bytes; the file is truncated", len(head))
        width, height = (int.from_bytes(head[i : i + 2], "little") for i in (16, 18))
        if not width or not height:
            raise self.fail(f"a sensor of {width}×{height} pixels; the header is damaged", 16)
        return width, height, head[15] == ATIS
