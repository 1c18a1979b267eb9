"""MATLAB's ``.mat`` files up to version 7, over scipy: arrays t, x, y and p under any usual names, or one array [n, 4].

Files of version 7.3 are HDF5, and are read as such.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from stream_ottt.errors import InputError
from stream_ottt.sources.columns import ORDER, Columns, dtype_problem, find_columns
from stream_ottt.sources.guesses import SAMPLE_ROWS
from stream_ottt.sources.tables import Said, Table, TableSource, row_columns

MAGIC = b"MATLAB 5.0 MAT-file"
MAX_RATIO = 1032
"""Bytes that deflate makes of one at most."""
MAX_BYTES = 4 << 30
"""Of the arrays that are held in memory."""


class MatTable:
    """Columns in memory."""

    damage: InputError | None = None

    def __init__(self, columns: Columns, t_name: str) -> None:
        self._columns = columns
        self.t_name = t_name

    def __len__(self) -> int:
        return len(self._columns["t"])

    def read(self, start: int, stop: int) -> Columns:
        """Rows [start, stop)."""
        return {role: column[start:stop] for role, column in self._columns.items()}


class MatSource(TableSource):
    """MATLAB's ``.mat`` of versions 5 to 7, read as a whole into memory; needs scipy."""

    name = "mat"

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        """By the text at its beginning."""
        return head.startswith(MAGIC)

    @contextmanager
    def table(self) -> Iterator[tuple[Table, Said]]:
        """The columns, in memory."""
        self.open().close()
        try:
            scipy = importlib.import_module("scipy.io")
        except ImportError as e:
            raise self.fail("reading MAT files needs scipy: 'pip install scipy', or save them as CSV or NPZ") from e
        try:
            found = {name: (shape, kind) for name, shape, kind in scipy.whosmat(self.path, appendmat=False)}
            names = self._wanted(found)
            arrays = scipy.loadmat(self.path, variable_names=names, appendmat=False)
        except InputError:
            raise
        except Exception as e:  # whatever a damaged file makes of scipy's parser
            raise self.fail(f"no MAT file, or a damaged one: {' '.join(str(e).split())[:120]}") from e
        yield self._table({name: np.asarray(arrays[name]) for name in names}), (None, None)

    def _wanted(self, found: dict[str, tuple[tuple[int, ...], str]]) -> list[str]:
        """The variables with the events, whose sizes are what the file can hold."""
        columns = find_columns(found)
        names = list(columns.values())
        if len(columns) < len(ORDER):
            names = [n for n, (shape, _) in found.items() if len(shape) == 2 and len(ORDER) in shape]
        if len(columns) < len(ORDER) and len(names) != 1:
            listed = ", ".join(f"{n} {kind} {list(shape)}" for n, (shape, kind) in list(found.items())[:8])
            raise self.fail(
                f"no arrays t, x, y and p, and no single array [n, 4]; it holds {listed or 'nothing'}; "
                "save the events' columns under these names"
            )
        size = sum(8 * int(np.prod(found[n][0], dtype=object)) for n in names)
        if size > min(MAX_BYTES, MAX_RATIO * self.path.stat().st_size):
            raise self.fail(f"{size:,} bytes are promised, more than the file holds or is read into memory")
        return names

    def _table(self, arrays: dict[str, Any]) -> MatTable:
        if len(arrays) == 1:
            (rows,) = arrays.values()
            rows = rows.T if rows.shape[0] == len(ORDER) != rows.shape[1] else rows
            keys = row_columns(rows.dtype, rows.shape[1], self.config.columns, rows[:SAMPLE_ROWS])
            if isinstance(keys, str):
                raise self.fail(keys)
            return MatTable({role: rows[key] for role, key in keys.items()}, "")
        names = find_columns(arrays)
        columns = {role: arrays[name].reshape(-1) for role, name in names.items()}
        if len({len(c) for c in columns.values()}) > 1:
            raise self.fail(f"t, x, y and p must be equally long; found { {r: len(c) for r, c in columns.items()} }")
        for role, column in columns.items():
            if problem := dtype_problem(role, column.dtype):
                raise self.fail(problem)
        return MatTable(columns, names["t"])
