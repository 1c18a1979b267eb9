"""Event Stream 2.0 (.es), DVS events: a header of 20 bytes, then five bytes an event and one byte for each
long pause.

An event: time since the event before (7 bits, µs) and polarity (1 bit), x and y (16 bits each, little-endian;
y grows upwards from the bottom row). A byte 0xFF in the place of an event adds 127 µs, 0xFE nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from stream_ottt.events.packet import EVENT_DTYPE, EventArray, EventPacket, make_events
from stream_ottt.pipeline.source import FileSource
from stream_ottt.sources.compiled import WORDS, Reach

MAGIC = b"Event Stream"
HEADER = 20
DVS = 1
TYPES = {0: "generic events", 2: "ATIS events", 4: "colour events"}
PAUSE_US = 127
PAUSE = 0xFF
PADDING = 0xFE
CHUNK = 1 << 18
"""Bytes read at once: 52,000 events."""
COMPILED_FROM_BYTES = 4 << 20
"""From this size on, a file is worth the tenth of a second that loading the compiled loop takes."""

RECORD = np.dtype([("head", "u1"), ("x", "<u2"), ("y", "<u2")])


Decode = Callable[[npt.NDArray[np.uint8], int, int], tuple[EventArray, int, int]]


def decode(data: npt.NDArray[np.uint8], t: int, height: int) -> tuple[EventArray, int, int]:
    """Decode the whole events at the beginning of ``data``.

    Args:
        data: uint8 [n], beginning with an event or a pause.
        t: time of the event before, pauses included, µs.
        height: rows, for turning y.

    Returns:
        The events, the bytes they took, and the time reached, µs.
    """
    # All events take five bytes, so only the runs of bytes that look like pauses need to be walked through one by one:
    # pauses are those from the first that a whole number of events separates from the pause before.
    edges = np.flatnonzero(np.diff(data >= PADDING, prepend=False, append=False)).tolist()
    at = 0
    turns = [0]
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        first = start + (at - start) % RECORD.itemsize
        if first < end:
            turns += (first, end)
            at = end
    used = len(data) - (len(data) - at) % RECORD.itemsize
    pause = np.repeat(np.arange(len(turns)) % 2 == 1, np.diff(turns, append=used))
    where = np.flatnonzero(pause)
    records = data[:used][~pause].view(RECORD)
    before = (where - np.arange(len(where))) // RECORD.itemsize
    added = np.bincount(before[data[where] == PAUSE], minlength=len(records) + 1) * PAUSE_US
    times = t + np.cumsum(added)
    times[:-1] += np.cumsum(records["head"] >> 1, dtype=np.int64)
    if len(records):
        times[-1] = times[-2] + added[-1]
    y = height - 1 - records["y"].astype(np.int32)
    return make_events(records["x"], y, times[:-1], records["head"] & 1), used, int(times[-1])


def compiled_decode(reach: Reach) -> Decode:
    """As :func:`decode`, twice as fast once numba is loaded; ``reach`` then tells how far the events go."""
    from stream_ottt.sources.es_kernel import decode as kernel

    def decode_compiled(data: npt.NDArray[np.uint8], t: int, height: int) -> tuple[EventArray, int, int]:
        out = np.empty(len(data) // RECORD.itemsize, EVENT_DTYPE)
        reach.clear()
        n, used, t = kernel(data, out.view(WORDS), t, height, reach.values)
        return out[:n], used, t

    return decode_compiled


class EventStreamSource(FileSource):
    """DVS events of one Event Stream file."""

    name = "es"

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        """By the signature."""
        return head.startswith(MAGIC)

    def packets(self) -> Iterator[EventPacket]:
        """Decode from the beginning; see the base class."""
        with self.open() as file:
            width, height = self._header(file)
            reach: Reach | None = None
            step: Decode = decode
            if os.fstat(file.fileno()).st_size >= COMPILED_FROM_BYTES:
                reach = Reach()
                step = compiled_decode(reach)
            offset, t, rest = HEADER, 0, b""
            while chunk := file.read(CHUNK):
                data = np.frombuffer(rest + chunk, np.uint8)
                events, used, t = step(data, t, height)
                if len(events):
                    yield EventPacket(events, width, height, reach is not None and reach.within(width, height))
                offset += used
                rest = data[used:].tobytes()
            if rest:
                raise self.fail(
                    f"the last event has {len(rest)} of its {RECORD.itemsize} bytes; the file is truncated", offset
                )

    def _header(self, file: BinaryIO) -> tuple[int, int]:
        head = file.read(HEADER)
        if not head.startswith(MAGIC):
            raise self.fail(f"expected the signature 'Event Stream', found {head[:12]!r}", 0)
        if len(head) > 12 and head[12] != 2:
            raise self.fail(f"Event Stream version {head[12]} is not read; expected version 2", 12)
        if len(head) > 15 and head[15] != DVS:
            kind = TYPES.get(head[15], f"events of the unknown type {head[15]}")
            raise self.fail(f"holds {kind}; only DVS events (type 1) are read, so write their DVS part to a file", 15)
        if len(head) < HEADER:
            raise self.fail(f"the header has {len(head)} of its {HEADER} bytes; the file is truncated", len(head))
        width, height = (int.from_bytes(head[i : i + 2], "little") for i in (16, 18))
        if not width or not height:
            raise self.fail(f"a sensor of {width}×{height} pixels; the header is damaged", 16)
        return width, height
