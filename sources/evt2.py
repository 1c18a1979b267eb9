"""Prophesee RAW files in EVT 2.0: words of 32 bits, the time's upper bits in words of their own.

Format: https://docs.prophesee.ai/stable/data/encoding_formats/evt2.html
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stream_ottt.events import EVENT_DTYPE, EventArray, EventPacket
from stream_ottt.sources.prophesee import RawSource, parse_header

CD_ON = 0x1
TIME_HIGH = 0x8
EXT_TRIGGER = 0xA
OTHERS = 0xE
CONTINUED = 0xF
FIRST_OTHER = np.uint32(0x2 << 28)
"""Words below it are pixels' events, CD_OFF or CD_ON."""

IS_TYPE = np.isin(np.arange(16), (0x0, CD_ON, TIME_HIGH, EXT_TRIGGER, OTHERS, CONTINUED))
"""[16] bool: the types that the format has; the rest are reserved."""

HIGH_BITS, LOW_BITS = 28, 6
WRAP = (1 << HIGH_BITS) * 15 // 16
"""TIME_HIGH falling by so much means that it began anew (after 4.8 hours), not that it is out of order."""

XY = np.dtype({"names": ["xy"], "formats": ["<u4"], "offsets": [0], "itemsize": EVENT_DTYPE.itemsize})
"""An event's x and y as one number, written at once."""


class Evt2Decoder:
    """Words of one stream, block by block, into events. Events before the first TIME_HIGH get the time -1."""

    def __init__(self) -> None:
        self._time_high = -1
        self._raw_high: int | None = None
        self._wraps = 0

    def decode(self, words: npt.NDArray[np.uint32]) -> tuple[EventArray, int]:
        """Decode the next words [n], uint32.

        Returns:
            The events [m] in order, and how many words were decoded: n, or the index of the first word of a
            type that the format does not have.
        """
        is_event = words < FIRST_OTHER
        others = np.flatnonzero(~is_event)
        special = words[others]
        kinds = special >> 28
        is_high = kinds == TIME_HIGH
        counts = others - np.arange(len(others))
        if not is_high.all():
            bad = np.flatnonzero(~IS_TYPE[kinds])
            if len(bad):
                stop = int(others[bad[0]])
                return self.decode(words[:stop])[0], stop
            special, counts = special[is_high], counts[is_high]
        events = words[is_event]
        # The upper part of the time, and before which events it changes.
        highs = np.empty(len(special) + 1, np.int64)
        bounds = np.empty(len(special) + 2, np.int64)
        highs[0], bounds[0], bounds[-1] = self._time_high, 0, len(events)
        highs[1:], bounds[1:-1] = self._unwrap(special), counts
        self._time_high = int(highs[-1])
        # Half the width is faster, and enough for the first 71 minutes.
        narrow = highs.min() >= 0 and highs.max() < 2**32 - 2**LOW_BITS
        spans = bounds[1:] - bounds[:-1]
        if narrow:
            return _pack(events, np.repeat(highs.astype(np.uint32), spans)), len(words)
        return _pack(events, np.repeat(highs, spans)), len(words)

    def _unwrap(self, words: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
        """TIME_HIGH words [k] → time in µs, int64 [k], with the low bits zero."""
        high = (words & np.uint32((1 << HIGH_BITS) - 1)).astype(np.int64)
        if len(high):
            before = high[0] if self._raw_high is None else self._raw_high
            self._raw_high = int(high[-1])
            if self._wraps or before - high.min() >= WRAP or high.max() >= WRAP:
                wraps = self._wraps + np.cumsum(np.diff(high, prepend=before) <= -WRAP)
                self._wraps = int(wraps[-1])
                high += wraps << HIGH_BITS
            high <<= LOW_BITS
        return high


def _pack(words: npt.NDArray[np.uint32], times: npt.NDArray[np.int64] | npt.NDArray[np.uint32]) -> EventArray:
    """Event words [m] and the upper part of their times [m] → events [m]. Overwrites both."""
    out = np.empty(len(words), EVENT_DTYPE)
    field = words >> 22
    field &= np.uint32(0x3F)
    np.bitwise_or(times, field, out=times)
    out["t"] = times
    out["p"] = words >= np.uint32(CD_ON << 28)
    np.left_shift(words, 16, out=field)
    field &= np.uint32(0x7FF << 16)
    words >>= np.uint32(11)
    words &= np.uint32(0x7FF)
    field |= words
    out.view(XY)["xy"] = field
    return out


class Evt2Source(RawSource):
    """Pixel events of a Prophesee RAW file in EVT 2.0; triggers and the camera's messages are passed over."""

    name = "evt2"
    encoding = "EVT2"
    word_bytes = 4

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        # Every encoding but EVT 3.0, so that reading one that is not known ends in a message that says which.
        return parse_header(head).encoding not in ("", "EVT3")

    def packets(self) -> Iterator[EventPacket]:
        with self.open() as file:
            width, height = self.begin(file)
            decoder = Evt2Decoder()
            for offset, block in self.blocks(file):
                words = block.view("<u4")
                events, decoded = decoder.decode(words)
                if len(events):
                    yield EventPacket(events, width, height)
                if decoded < len(words):
                    raise self.fail(
                        f"expected a word type of EVT 2.0, found {int(words[decoded]) >> 28:#x}; "
                        "the file is damaged from there on",
                        offset + 4 * decoded,
                    )
