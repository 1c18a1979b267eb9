"""Prophesee RAW files in EVT 3.0.

Format: https://docs.prophesee.ai/stable/data/encoding_formats/evt3.html
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stream_ottt.errors import OutputError
from stream_ottt.events.packet import EventArray
from stream_ottt.sinks.writers.base import EventWriter

MAX_SIDE = 1 << 11
MAX_TIME = 1 << 34
"""4.8 hours: the 24 bits of the time then have begun again a thousand times."""
ADDR_Y, ADDR_X, TIME_LOW, TIME_HIGH = 0x0000, 0x2000, 0x6000, 0x8000
BITS = 12
LAST = (1 << BITS) - 1
FALL = (1 << BITS) * 15 // 16
"""Where the upper part of the time falls by as much, every reader takes it to have begun again."""


class Evt3Writer(EventWriter):
    """Writes an EVT 3.0 file: a word for each event, and before it one for each part that has changed: the time's upper
    and lower 12 bits, and y. After a pause in which the 24 bits of the time begin again, words of the last and of the
    first time say so.

    Raises:
        OutputError: a sensor of more than 2048 pixels a side; the file cannot be written.
    """

    name = "evt3"
    suffixes = (".evt3.raw",)

    def __init__(self, path: Path, width: int, height: int) -> None:
        if max(width, height) > MAX_SIDE:
            raise OutputError(
                f"{path}: EVT 3.0 holds sensors up to {MAX_SIDE}x{MAX_SIDE} pixels, not {width}x{height}; "
                "write dat or aedat4"
            )
        super().__init__(path, width, height)
        header = f"% evt 3.0\n% format EVT3;height={height};width={width}\n% geometry {width}x{height}\n% end\n"
        self.put(header.encode())
        self._high = 0
        self._low = -1
        self._y = -1

    def write(self, events: EventArray) -> None:
        if not len(events):
            return
        x, y, t = self.columns_within(events, MAX_SIDE, MAX_TIME, called="EVT 3.0")
        high, low = t >> BITS, t & LAST
        wraps = np.diff(high >> BITS, prepend=self._high >> BITS)
        wraps[(wraps == 1) & (np.diff(high & LAST, prepend=self._high & LAST) <= -FALL)] = 0  # said by the fall alone
        new_high = np.diff(high, prepend=self._high) != 0
        if self._low < 0:
            new_high[0] = True
            if not wraps[0] and high[0] & 0xFF == ord("%"):
                # Some readers would take a first word that begins like a header line for one.
                self.put((TIME_HIGH | int(high[0]) - 1).to_bytes(2, "little"))
        new_low = np.diff(low, prepend=self._low) != 0
        new_low |= new_high
        new_y = np.diff(y, prepend=self._y) != 0
        self._high, self._low, self._y = int(high[-1]), int(low[-1]), int(y[-1])
        last = np.cumsum(2 * wraps + new_high + new_low + new_y + 1) - 1
        words = np.empty(int(last[-1]) + 1, "<u2")
        words[last] = ADDR_X | events["p"].astype(np.int64) << 11 | x
        words[(last - 1)[new_y]] = ADDR_Y | y[new_y]
        words[(last - 1 - new_y)[new_low]] = TIME_LOW | low[new_low]
        words[(last - 2 - new_y)[new_high]] = TIME_HIGH | (high[new_high] & LAST)
        for i in np.flatnonzero(wraps):
            end = last[i] - 2 - new_y[i]
            words[end - 2 * wraps[i] : end] = np.tile([TIME_HIGH | LAST, TIME_HIGH], wraps[i])
        self.put(words.tobytes())
