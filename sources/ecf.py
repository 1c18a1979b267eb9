"""Rows of events in an HDF5 dataset packed with ECF, the codec of Prophesee's HDF5 files (HDF5 filter 36559).

A chunk begins with a word of 32 bits: how many events (from bit 2), whether y, x and polarity are packed together
(bit 1), or else x and polarity (bit 0). The first time (64 bits, µs) follows, then the times, and then the rest, a
field after the other. All is little-endian. What the fields look like stands in :mod:`stream_ottt.sources.ecf_kernel`.
Format: https://github.com/prophesee-ai/hdf5_ecf
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_ottt.errors import InputError

FILTER = 0x8ECF
RECORD = np.dtype({"names": ["x", "y", "p", "t"], "formats": ["<u2", "<u2", "<i2", "<i8"], "offsets": [0, 2, 4, 8]})
MOST_EVENTS = 65535
"""In a chunk."""
NOT_PACKED = 1
"""The bit of a chunk's filter mask that says so."""

Fail = Callable[[str, int], InputError]


class EcfRows:
    """Reads like an h5py dataset of records [n], chunk by chunk.

    Args:
        dataset: in one dimension, of which ECF is the only filter.
        fail: makes an error of a message and a byte offset.

    Raises:
        InputError: its rows are not those of ECF.
    """

    def __init__(self, dataset: Any, fail: Fail) -> None:
        from stream_ottt.sources.ecf_kernel import decode

        self.name: str = dataset.name
        self.shape: tuple[int, ...] = dataset.shape
        self.dtype: np.dtype[Any] = dataset.dtype
        self._id = dataset.id
        self._fail = fail
        self._decode = decode
        self._chunk: int = dataset.chunks[0]
        self._first = -1  # row with which the chunk in hand begins
        self._rows = np.empty(0, RECORD)
        if dataset.id.get_storage_size() > dataset.file.id.get_filesize():
            raise fail(f"{self.name} promises more packed bytes than the file holds; the file is damaged", 0)
        if self.dtype != RECORD or len(self.shape) != 1 or self._chunk > MOST_EVENTS:
            raise fail(f"{self.name} is {self.dtype} in chunks of {self._chunk}; expected events as ECF packs them", 0)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> npt.NDArray[Any]:
        """Rows of a slice without a step. Raises InputError at a damaged chunk."""
        start, stop, _ = rows.indices(len(self))
        firsts = range(start - start % self._chunk, stop, self._chunk)
        parts = [self._unpacked(at)[max(start - at, 0) : stop - at] for at in firsts]
        return np.concatenate(parts) if parts else np.empty(0, RECORD)

    def _unpacked(self, first: int) -> npt.NDArray[Any]:
        """The rows of the chunk that begins with the row ``first``."""
        if first != self._first:
            self._rows, self._first = self._read(first), first
        return self._rows

    def _read(self, first: int) -> npt.NDArray[Any]:
        needed = min(self._chunk, len(self) - first)
        try:
            mask, packed = self._id.read_direct_chunk((first,))
        except (OSError, RuntimeError, ValueError, MemoryError):
            mask, packed = 0, b""
        if not packed:
            message = f"the events from row {first} on are not in the file; it was cut off or is damaged"
            raise self._fail(message, self._offset(first))
        if mask & NOT_PACKED:
            rows = np.frombuffer(packed, RECORD, len(packed) // RECORD.itemsize)
            used = len(packed)
        else:
            count = int.from_bytes(packed[:4], "little") >> 2
            rows = np.empty(min(count, MOST_EVENTS), RECORD)
            used = self._decode(np.frombuffer(packed, np.uint8), rows)
        if used != len(packed) or len(rows) < needed:
            at = self._offset(first) + (used + (1 << 62) if used < 0 else used)
            raise self._fail(f"the ECF chunk of the events from row {first} on is damaged; copy the file again", at)
        return rows

    def _offset(self, first: int) -> int:
        """Where in the file a chunk lies. HDF5 looks through all of them for it."""
        return int(self._id.get_chunk_info_by_coord((first,)).byte_offset or 0)
