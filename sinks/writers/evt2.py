"""Prophesee RAW files in EVT 2.0.

Format: https://docs.prophesee.ai/stable/data/encoding_formats/evt2.html
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stream_ottt.errors import OutputError
from stream_ottt.events.packet import EventArray
from stream_ottt.sinks.writers.base import EventWriter

MAX_SIDE = 1 << 11
MAX_TIME = 1 << 34
TIME_HIGH = 0x8 << 28
LOW_BITS = 6


class Evt2Writer(EventWriter):
    """Writes an EVT 2.0 file: a TIME_HIGH word wherever the time's upper 28 bits change, and a word per event.

    Raises:
        OutputError: a sensor of more than 2048 pixels a side; the file cannot be written.
    """

    name = "evt2"
    suffixes = (".raw",)

    def __init__(self, path: Path, width: int, height: int) -> None:
        if max(width, height) > MAX_SIDE:
            raise OutputError(
                f"{path}: EVT 2.0 holds sensors up to {MAX_SIDE}x{MAX_SIDE} pixels, not {width}x{height}; "
                "write dat or aedat4"
            )
        super().__init__(path, width, height)
        self._high = -1
        self.put(
            f"% evt 2.0\n% format EVT2;height={height};width={width}\n% geometry {width}x{height}\n% end\n".encode()
        )

    def write(self, events: EventArray) -> None:
        if not len(events):
            return
        x, y, t = self.columns_within(events, MAX_SIDE, MAX_TIME, called="EVT 2.0")
        high = t >> LOW_BITS
        if self._high < 0 and high[0] & 0xFF == ord("%"):
            # Some readers would take a first word that begins like a header line for one.
            self.put(np.array([TIME_HIGH | (int(high[0]) - 1)], "<u4").tobytes())
        changes = np.diff(high, prepend=self._high) != 0
        self._high = int(high[-1])
        at = np.arange(len(t)) + np.cumsum(changes)
        words = np.empty(int(at[-1]) + 1, "<u4")
        words[at] = events["p"].astype(np.int64) << 28 | (t & 0x3F) << 22 | x << 11 | y
        words[at[changes] - 1] = TIME_HIGH | high[changes]
        self.put(words.tobytes())
