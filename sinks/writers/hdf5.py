"""HDF5 in DSEC's layout: events/t, x, y and p, the time of the first event in t_offset, and ms_to_idx.

``ms_to_idx[k]`` is the number of events before k ms after ``t_offset``; ``t`` counts from there, too. The sensor's size
is in the attributes ``width`` and ``height``, which DSEC lacks.
Format: https://dsec.ifi.uzh.ch/data-format/
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from stream_ottt.errors import OutputError
from stream_ottt.events.packet import EventArray
from stream_ottt.sinks.writers.base import EventWriter

COLUMNS = {"t": "<i8", "x": "<u2", "y": "<u2", "p": "u1"}
CHUNK = 1 << 16
"""Events, or milliseconds, that are packed together."""
MAX_MS = 100_000_000
"""Milliseconds that the index can span: 28 hours."""


class Hdf5Writer(EventWriter):
    """Appends to one data set for each column, packed with Deflate, and to the index of milliseconds."""

    name = "hdf5"
    suffixes = (".h5", ".hdf5")

    def __init__(self, path: Path, width: int, height: int) -> None:
        import h5py

        super().__init__(path, width, height)
        self._events = 0
        self._ms = 0
        self._offset: int | None = None
        packed = {"maxshape": (None,), "chunks": (CHUNK,), "compression": "gzip", "compression_opts": 1}
        try:
            self._h5 = h5py.File(path, "w")
            self._h5.attrs["width"], self._h5.attrs["height"] = width, height
            for name, dtype in COLUMNS.items():
                self._h5.create_dataset(f"events/{name}", (0,), dtype, shuffle=True, **packed)
            self._h5.create_dataset("ms_to_idx", (0,), "<u8", shuffle=True, **packed)
        except OSError as e:
            super().close()
            raise self._failed(e) from e

    def write(self, events: EventArray) -> None:
        if not len(events):
            return
        if self._offset is None:
            self._offset = int(events["t"][0])
        t = events["t"] - self._offset
        if t[-1] // 1000 >= MAX_MS:
            raise OutputError(
                f"{self.path}: HDF5's index spans {MAX_MS // 1000} s, not {t[-1] // 1_000_000} s; write aedat4"
            )
        try:
            for name in COLUMNS:
                self._append(f"events/{name}", t if name == "t" else events[name])
            for first in range(self._ms, int(t[-1]) // 1000 + 1, CHUNK):
                starts = np.arange(first, min(first + CHUNK, int(t[-1]) // 1000 + 1))
                self._append("ms_to_idx", self._events + np.searchsorted(t, starts * 1000))
        except OSError as e:
            raise self._failed(e) from e
        self._ms = int(t[-1]) // 1000 + 1
        self._events += len(events)

    def close(self) -> None:
        if self.file.closed:
            return
        try:
            if "t_offset" not in self._h5:
                self._h5["t_offset"] = np.int64(self._offset or 0)
            self._h5.close()
        except OSError as e:
            raise self._failed(e) from e
        finally:
            super().close()

    def _append(self, name: str, values: npt.NDArray[np.generic]) -> None:
        data = self._h5[name]
        start = len(data)
        data.resize(start + len(values), axis=0)
        data[start:] = values

    def _failed(self, error: OSError) -> OutputError:
        """HDF5's own errors have many lines and no number."""
        return OutputError(f"{self.path}: cannot be written: {' '.join(str(error).split())[:200]}")
