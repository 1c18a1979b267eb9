"""Prophesee DAT files of CD events.

Format: https://docs.prophesee.ai/stable/data/file_formats/dat.html
"""

from __future__ import annotations

from pathlib import Path

from stream_ottt.errors import OutputError
from stream_ottt.events.packet import EventArray
from stream_ottt.sinks.writers.base import EventWriter

MAX_SIDE = 1 << 14
MAX_TIME = 1 << 32
EVENT_CD = 0x0C
EVENT_BYTES = 8


class DatWriter(EventWriter):
    """Writes a DAT file: 8 bytes per event.

    Raises:
        OutputError: a sensor of more than 16384 pixels a side; the file cannot be written.
    """

    name = "dat"
    suffixes = (".dat",)

    def __init__(self, path: Path, width: int, height: int) -> None:
        if max(width, height) > MAX_SIDE:
            raise OutputError(
                f"{path}: DAT holds sensors up to {MAX_SIDE}x{MAX_SIDE} pixels, not {width}x{height}; write aedat4"
            )
        super().__init__(path, width, height)
        header = f"% Data file containing CD events\n% Version 2\n% Width {width}\n% Height {height}\n"
        self.put(header.encode() + bytes((EVENT_CD, EVENT_BYTES)))

    def write(self, events: EventArray) -> None:
        if not len(events):
            return
        x, y, t = self.columns_within(events, MAX_SIDE, MAX_TIME, called="DAT")
        words = events["p"].astype("<u8") << 60 | (y << 46 | x << 32 | t).astype("<u8")
        self.put(words.tobytes())
