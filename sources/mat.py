"""MATLAB's ``.mat`` files up to version 7, over scipy: arrays t, x, y and p under any usual names, or one array [n, 4].

They may be the fields of a struct, such as ``TD`` of N-MNIST's and N-Caltech101's functions: where its polarities are 1
and 2, coordinates count from 1. Files of version 7.3 are HDF5, and are read as such.

Not read: cell arrays, objects and functions; files of version 4.

Traps of other readers: MATLAB counts from 1, so that x and y are one too large and OFF is 1 where ON is 2.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from stream_ottt.errors import InputError
from stream_ottt.sources.columns import ORDER, Columns, TableConfig, dtype_problem, find_columns, from_0
from stream_ottt.sources.guesses import PAIRS, SAMPLE_ROWS, said_pair
from stream_ottt.sources.mat_layout import LayoutError, names_of
from stream_ottt.sources.tables import Said, Table, TableSource, row_columns

MAGIC = b"MATLAB 5.0 MAT-file"
MAX_RATIO = 64
AT_LEAST = 64 << 20
MAX_BYTES = 4 << 30
"""What is read into memory: so many bytes for each of the file's, or so many; never more than the last."""

MAX_DEPTH = 8
MATLAB_ON = 2
"""Polarity of ON where OFF is 1."""


class MatConfig(TableConfig):
    """Options of MAT files.

    Attributes:
        array: the variable that holds the events, or a field of one, such as ``data.events``, where there are several.
    """

    array: str | None = None


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
    Config = MatConfig
    config: MatConfig

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
        names = self._names()
        try:
            variables = scipy.loadmat(self.path, variable_names=names, appendmat=False, simplify_cells=True)
        except Exception as e:  # whatever a damaged file makes of scipy's parser
            raise self.fail(f"no MAT file, or a damaged one: {' '.join(str(e).split())[:120]}; copy it again") from e
        variables = {name: variables[name] for name in names if name in variables}
        yield self._table(variables), _said_size(variables)

    def _names(self) -> list[str]:
        """The variables that may be read, of a file that is whole and does not unpack to more than any recording."""
        most = min(MAX_BYTES, max(AT_LEAST, MAX_RATIO * self.path.stat().st_size))
        try:
            with self.open() as file:
                return names_of(file, most)
        except LayoutError as e:
            raise self.fail(f"no MAT file, or a damaged one: {e}; copy it again") from e
        except MemoryError:
            raise self.fail(
                f"it unpacks to more than {most >> 20} MiB, which is no recording, or too long for memory"
            ) from None

    def _table(self, variables: dict[str, Any]) -> MatTable:
        """The events: the variable that the option names, or the only struct or array that can be a table."""
        found = dict(_candidates(variables))
        name = self.config.array
        if name is None:
            structs = [n for n, value in found.items() if isinstance(value, dict)]
            choices = structs or list(found)
            if len(choices) != 1:
                held = ", ".join(choices or [f"{n} {list(np.shape(v))}" for n, v in variables.items()])
                held = held or "no arrays of numbers and no structs"
                if choices:
                    raise self.fail(
                        f"events may lie in {held[:200]}; say where with array=, such as array={choices[0]}"
                    )
                raise self.fail(
                    f"no arrays t, x, y and p, and no array [n, 4]; it holds {held[:200]}; "
                    "save the events' columns under these names"
                )
            name = choices[0]
        elif name not in found:
            raise self.fail(
                f"no events in {name!r}; they may lie in {', '.join(found)[:200] or 'nothing that is there'}"
            )
        value = found[name]
        return self._of_struct(value) if isinstance(value, dict) else self._of_rows(value)

    def _of_rows(self, rows: Any) -> MatTable:
        rows = rows.T if rows.shape[0] == len(ORDER) != rows.shape[1] else rows
        keys = row_columns(rows.dtype, rows.shape[1], self.config.columns, rows[:SAMPLE_ROWS])
        if isinstance(keys, str):
            raise self.fail(keys)
        return MatTable({role: rows[key] for role, key in keys.items()}, "")

    def _of_struct(self, struct: dict[str, Any]) -> MatTable:
        names = find_columns(struct)
        columns = {role: np.atleast_1d(struct[name]).reshape(-1) for role, name in names.items()}
        if len({len(c) for c in columns.values()}) > 1:
            raise self.fail(f"t, x, y and p must be equally long; found { {r: len(c) for r, c in columns.items()} }")
        for role, column in columns.items():
            if problem := dtype_problem(role, column.dtype):
                raise self.fail(problem)
        p = columns["p"]
        if len(p) and p.dtype.kind != "b" and p.min() == 1 and p.max() == MATLAB_ON:
            columns = from_0(columns)
        return MatTable(columns, names["t"])


def _said_size(variables: dict[str, Any]) -> Said:
    """The sensor's size, as numbers ``width`` and ``height``, or as two numbers such as ``resolution``."""
    width, height = variables.get("width"), variables.get("height")
    if isinstance(width, (int, float)) and isinstance(height, (int, float)) and said_pair([width, height]):
        return int(width), int(height)
    return next((pair for name in PAIRS if (pair := said_pair(variables.get(name)))), (None, None))


def _candidates(value: dict[str, Any], at: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """What may be a table of events, by its path: a struct with the four columns, or an array [n, 4] or [4, n]."""
    if len(find_columns(value)) == len(ORDER):
        yield at, value
        return
    for name, inner in value.items():
        path = f"{at}.{name}" if at else name
        if isinstance(inner, dict) and depth < MAX_DEPTH:
            yield from _candidates(inner, path, depth + 1)
        elif (
            isinstance(inner, np.ndarray)
            and inner.ndim == 2
            and len(ORDER) in inner.shape
            and inner.dtype.kind in "iuf"
        ):
            yield path, inner
