"""Columns of events in HDF5 datasets, whichever way their rows lie."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from stream_ottt.errors import InputError
from stream_ottt.sources.columns import Columns, from_0

STEP = 1 << 20
"""Rows that are looked at together."""
DAMAGE = (
    OSError,
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    NotImplementedError,
    OverflowError,
    MemoryError,
    SystemError,
)
"""What h5py makes of files that are none or are damaged."""


class Turned:
    """A dataset [columns, n] that reads like one [n, columns].

    Args:
        dataset: in two dimensions.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self.shape: tuple[int, int] = dataset.shape[::-1]
        self.chunks: tuple[int, ...] | None = dataset.chunks

    @classmethod
    def where_wide(cls, dataset: Any, width: int) -> Self | Any:
        """The dataset itself, or turned where it has ``width`` rows and not as many columns."""
        shape: tuple[int, ...] = dataset.shape or ()
        return cls(dataset) if len(shape) == 2 and shape[0] == width != shape[1] else dataset

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> npt.NDArray[Any]:
        """Rows of a slice."""
        return np.asarray(self._dataset[:, rows]).T


class Hdf5Table:
    """Columns in a dataset each, or all in one dataset of records or [n, columns].

    Args:
        columns: role → (dataset, index of the column in what is read from it).
        t_offset: µs to add to all times.
        path: of the file.
        t_name: of the column of times.
        matlab: coordinates may count from 1.

    Attributes:
        place: path of the group that the times lie in.

    Raises:
        InputError: from :meth:`read`, what is damaged, or a file that has become shorter since it was opened: HDF5
            makes zeros of what is missing.
    """

    damage: InputError | None = None

    def __init__(
        self, columns: dict[str, tuple[Any, Any]], t_offset: int, path: Path, t_name: str, *, matlab: bool = False
    ) -> None:
        self._columns = columns
        self._t_offset = t_offset
        self._path = path
        self.t_name = t_name
        self._length = len(columns["t"][0])
        self.place = str(columns["t"][0].name).rpartition("/")[0]
        self._size = path.stat().st_size
        self._from_1 = matlab and self._counts_from_1()

    def __len__(self) -> int:
        return self._length

    def read(self, start: int, stop: int) -> Columns:
        """Rows [start, stop)."""
        out: dict[str, Any] = {}
        pieces: dict[str, Any] = {}
        for role, (dataset, key) in self._columns.items():
            if dataset.name not in pieces:
                try:
                    pieces[dataset.name] = dataset[start:stop]
                except DAMAGE as e:
                    raise InputError(f"{dataset.name} cannot be unpacked: {e}", path=self._path) from e
            out[role] = pieces[dataset.name][key]
        size = self._path.stat().st_size
        if size < self._size:
            raise InputError(f"the file has become shorter while it was read: {size} bytes", path=self._path)
        if self._t_offset:
            t = out["t"]
            out["t"] = (t.astype(np.int64) if t.dtype.kind in "iu" else t) + self._t_offset
        return from_0(out) if self._from_1 else out

    def _counts_from_1(self) -> bool:
        """Whether polarities are 1 and 2, as MATLAB's functions make them."""
        self._from_1 = False
        found: set[float] = set()
        with suppress(InputError):  # the damage is raised when the stream comes to it
            for at in range(0, len(self), STEP):
                found.update(np.unique(self.read(at, min(at + STEP, len(self)))["p"]).tolist())
                if found not in ({1}, {2}, {1, 2}):
                    break
        return found == {1, 2}
