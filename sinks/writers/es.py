"""Event Stream 2.0 (.es) with DVS events; see :mod:`stream_ottt.sources.es` for the format."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stream_ottt.errors import OutputError
from stream_ottt.events.packet import EventArray
from stream_ottt.sinks.writers.base import EventWriter
from stream_ottt.sources.es import DVS, MAGIC, PAUSE, PAUSE_US, RECORD

MAX_PAUSE_US = PAUSE_US << 26
"""The longest pause that is written, 2.4 hours: it takes 64 MiB of filling bytes."""

PIECE = 1 << 22


class EventStreamWriter(EventWriter):
    """Writes DVS events; times are kept as they are, so that the first pause lasts from 0 to the first event."""

    name = "es"
    suffixes = (".es",)

    def __init__(self, path: Path, width: int, height: int) -> None:
        super().__init__(path, width, height)
        self._t = 0
        size = width.to_bytes(2, "little") + height.to_bytes(2, "little")
        self.put(MAGIC + bytes([2, 0, 0, DVS]) + size)

    def write(self, events: EventArray) -> None:
        """Append events; see the base class."""
        if not len(events):
            return
        delta = np.diff(events["t"], prepend=self._t)
        if delta.max() > MAX_PAUSE_US or delta.min() < 0:
            i = int(np.argmax((delta > MAX_PAUSE_US) | (delta < 0)))
            raise OutputError(
                f"{self.path}: the event at {events['t'][i]} µs comes {delta[i]} µs after the one before; Event Stream "
                f"holds pauses up to {MAX_PAUSE_US} µs in ascending order, so shift the times or choose another format"
            )
        pauses, rest = np.divmod(delta, PAUSE_US)
        begins = np.cumsum(pauses + RECORD.itemsize) - RECORD.itemsize
        records = np.empty(len(events), RECORD)
        records["head"] = rest << 1 | events["p"]
        records["x"] = events["x"]
        records["y"] = self.height - 1 - events["y"]
        raw = records.view(np.uint8).reshape(-1, RECORD.itemsize)
        # Pieces of the file, each from one event to another: what lies between them is pauses, however many.
        for piece in np.split(np.arange(len(events)), np.flatnonzero(np.diff(begins // PIECE)) + 1):
            for left in range(int(pauses[piece[0]]), 0, -PIECE):
                self.put(bytes([PAUSE]) * min(left, PIECE))
            places = begins[piece] - begins[piece[0]]
            out = np.full(int(places[-1]) + RECORD.itemsize, PAUSE, np.uint8)
            out[places[:, None] + np.arange(RECORD.itemsize)] = raw[piece]
            self.put(out.tobytes())
        self._t = int(events["t"][-1])
