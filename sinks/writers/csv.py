"""Events as text, one a line: ``t,x,y,on``, the sensor's size in the header (``t,x@320,y@240,on``)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stream_ottt.events.packet import EventArray
from stream_ottt.sinks.writers.base import EventWriter

ROWS = 4096
"""Lines formatted at once."""


class CsvWriter(EventWriter):
    """Writes t in µs, x and y in pixels from the top-left corner, 1 for ON and 0 for OFF."""

    name = "csv"
    suffixes = (".csv",)

    def __init__(self, path: Path, width: int, height: int) -> None:
        super().__init__(path, width, height)
        self.put(f"t,x@{width},y@{height},on\n".encode())

    def write(self, events: EventArray) -> None:
        """Append events; see the base class."""
        for at in range(0, len(events), ROWS):
            rows = events[at : at + ROWS]
            table = np.stack([rows[name].astype(np.int64) for name in ("t", "x", "y", "p")], axis=1)
            self.put(b"%d,%d,%d,%d\n" * len(rows) % tuple(table.ravel().tolist()))
