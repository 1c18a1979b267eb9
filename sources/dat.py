"""Prophesee DAT files: decoded events of 8 bytes, of type "2d" (N-CARS, the first cameras) or CD.

Format: https://docs.prophesee.ai/stable/data/file_formats/dat.html
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stream_ottt.events import EVENT_DTYPE, EventArray, EventPacket
from stream_ottt.sources.evt2 import XY
from stream_ottt.sources.prophesee import PropheseeSource, parse_header

EVENT_2D = 0x00
EVENT_CD = 0x0C
EVENT_BYTES = 8
SIDE_BITS = 14
TIME_RANGE = 1 << 32
WRAP = TIME_RANGE * 15 // 16
"""The time falling by so much means that its 32 bits overflowed (after 71 minutes), not a late event."""


class DatDecoder:
    """Events of 8 bytes, block by block: time in bits 0–31, x in 32–45, y in 46–59, polarity in 60–63."""

    def __init__(self) -> None:
        self._last = 0
        self._wraps = 0

    def decode(self, words: npt.NDArray[np.uint64]) -> EventArray:
        """Decode the next events [n], uint64. Returns them [n] in order."""
        out = np.empty(len(words), EVENT_DTYPE)
        halves = words.view("<u4").reshape(-1, 2)
        out["t"] = self._unwrap(halves[:, 0])
        address = halves[:, 1].copy()
        field = address & np.uint32(0x3FFF)
        address <<= np.uint32(2)
        address &= np.uint32(0x3FFF << 16)
        field |= address
        out.view(XY)["xy"] = field
        out["p"] = words >= np.uint64(1 << 60)
        return out

    def _unwrap(self, low: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32] | npt.NDArray[np.int64]:
        """Times [n] of 32 bits → times [n] in µs since the first overflow was counted."""
        if not self._wraps and max(self._last, int(low.max(initial=0))) < WRAP:
            self._last = int(low[-1]) if len(low) else self._last
            return low
        times = low.astype(np.int64)
        wraps = self._wraps + np.cumsum(np.diff(times, prepend=self._last) <= -WRAP)
        self._last, self._wraps = int(times[-1]), int(wraps[-1])
        return times + (wraps << 32)


class DatSource(PropheseeSource):
    """Events of a Prophesee DAT file."""

    name = "dat"
    max_side = 1 << SIDE_BITS
    word_bytes = EVENT_BYTES

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        header = parse_header(head)
        if not header.fields or header.encoding:
            return False
        return "data file" in head[: header.size].decode("latin-1").lower() or path.suffix.lower() == ".dat"

    def packets(self) -> Iterator[EventPacket]:
        with self.open() as file:
            header = self.header(file)
            kind = self.read(file, 2)
            if len(kind) < 2:
                raise self.fail("expected the event type and size, the file ends; copy it again", header.size)
            if kind[0] not in (EVENT_2D, EVENT_CD) or kind[1] != EVENT_BYTES:
                raise self.fail(
                    f"expected events of type 0x0 (2d) or 0xc (CD) of 8 bytes, found type {kind[0]:#x} of "
                    f"{kind[1]} bytes; write the recording's CD events with `metavision_file_to_dat`",
                    header.size,
                )
            width, height = self.sensor(header)
            decoder = DatDecoder()
            for _, block in self.blocks(file):
                yield EventPacket(decoder.decode(block.view("<u8")), width, height)
