"""NumPy's ``.npy`` files, and pieces of the arrays in them.

Not read: arrays of Python objects, which are never loaded; frames.

Traps of other readers: [n, 4] does not say which column is which: x, y, t, p and t, x, y, p are both usual; whole
numbers are µs unless ``?time=`` says otherwise.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_ottt.errors import InputError
from stream_ottt.sources.columns import ORDER, Columns, column_names, dtype_problem
from stream_ottt.sources.guesses import SAMPLE_ROWS
from stream_ottt.sources.tables import Said, Table, TableSource, row_columns

MAGIC = b"\x93NUMPY"
MAX_HEADER = 1 << 16
MAX_ROW = 1024
"""Bytes. An event needs some ten; a longer row is no event and would make every piece that is read large."""

ReadAt = Callable[[int, int], bytes]
"""(offset, count) → up to ``count`` bytes; fewer only at the end of what is stored."""


@dataclass(frozen=True, slots=True)
class NpyArray:
    """An array in NPY format, of which pieces are read.

    Attributes:
        dtype: of one element; never with Python objects.
        shape: at least one dimension long, except for a scalar ().
        fortran: column after column instead of row after row.
        data: byte offset of the first element.
        read_at: where the bytes come from.
        path: for messages.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    data: int
    read_at: ReadAt
    path: Path

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 1

    @property
    def row_bytes(self) -> int:
        """Bytes per row."""
        columns = 1
        for n in self.shape[1:]:
            columns *= n
        return columns * self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return len(self) * self.row_bytes

    def rows(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Rows [start, stop) of an array of one or two dimensions.

        Raises:
            InputError: the file ends before them.
        """
        n = stop - start
        if self.fortran and len(self.shape) == 2:
            size = self.dtype.itemsize
            columns = [
                self._array(self.data + (column * self.shape[0] + start) * size, n * size)
                for column in range(self.shape[1])
            ]
            return np.stack(columns, axis=1)
        array = self._array(self.data + start * self.row_bytes, n * self.row_bytes)
        return array.reshape(n, *self.shape[1:])

    def _array(self, offset: int, count: int) -> npt.NDArray[Any]:
        data = self.read_at(offset, count)
        if len(data) < count:
            raise InputError("the array ends early; the file is truncated", path=self.path, offset=offset + len(data))
        return np.frombuffer(data, self.dtype)


def open_array(read_at: ReadAt, path: Path, at: int = 0) -> NpyArray:
    """Parse the header of an array that begins at byte 0 of ``read_at``.

    Args:
        read_at: where the bytes come from.
        path: for messages.
        at: where in the file the array begins, for messages.

    Raises:
        InputError: no NPY header of version 1 to 3, one beyond 64 KiB, or an array of Python objects.
    """
    head = read_at(0, 12)
    if head[:6] != MAGIC or len(head) < 12 or head[6] not in (1, 2, 3):
        raise InputError(f"expected an NPY array, version 1 to 3, found {head!r}", path=path, offset=at)
    start, length = (
        (10, int.from_bytes(head[8:10], "little")) if head[6] == 1 else (12, int.from_bytes(head[8:12], "little"))
    )
    text = read_at(start, length) if length <= MAX_HEADER else b""
    try:
        if len(text) < length or b"\\" in text:
            raise ValueError("it is cut short or too long")
        fields = ast.literal_eval(text.decode("utf-8" if head[6] == 3 else "latin1").strip())
        dtype = np.lib.format.descr_to_dtype(fields["descr"])
        shape, fortran = fields["shape"], fields["fortran_order"]
        if not isinstance(shape, tuple) or not all(type(n) is int and 0 <= n < 2**48 for n in shape):
            raise ValueError(f"its shape is {shape!r}")
        if type(fortran) is not bool:
            raise ValueError(f"its order is {fortran!r}")
    except Exception as e:  # whatever a damaged text makes of the two parsers
        raise InputError(f"the NPY header is damaged: {e}", path=path, offset=at + start) from e
    if dtype.hasobject:
        raise InputError(
            f"the array holds Python objects ({dtype}), which are never loaded; save plain integers",
            path=path,
            offset=at + start,
        )
    return NpyArray(dtype, shape, fortran, start + length, read_at, path)


def by_rows(array: NpyArray, columns: str | None) -> NpyArray:
    """The array with an event in each row: one of [columns, n] is turned."""
    width = len(column_names(columns)) if columns is not None else len(ORDER)
    if array.dtype.names is None and len(array.shape) == 2 and array.shape[0] == width != array.shape[1]:
        # Whole columns one after the other are what a Fortran array is.
        return replace(array, shape=array.shape[::-1], fortran=not array.fortran)
    return array


class RowTable:
    """One array of events: structured [n], or numbers [n, columns] or [columns, n].

    Args:
        array: where the rows come from.
        columns: what the columns of an unstructured array are, as the option says it; None guesses.
        rows: how many rows can be read; None for all.

    Attributes:
        t_name: name of the field of times, or empty.
        damage: what is raised after the last row.

    Raises:
        InputError: the array has another form.
    """

    def __init__(
        self,
        array: NpyArray,
        columns: str | None,
        *,
        rows: int | None = None,
        damage: InputError | None = None,
    ) -> None:
        array = by_rows(array, columns)
        if len(array.shape) != (1 if array.dtype.names else 2):
            raise InputError(
                f"the array is {array.dtype} {list(array.shape)}; expected one with fields t, x, y, p, "
                f"or [n, 4] numbers",
                path=array.path,
            )
        if not 0 < array.row_bytes <= MAX_ROW:
            raise InputError(f"a row of {array.row_bytes} bytes is no event; expected t, x, y and p", path=array.path)
        self.array = array
        self.damage = damage
        self._rows = len(array) if rows is None else rows
        sample = None if array.dtype.names else array.rows(0, min(self._rows, SAMPLE_ROWS))
        keys = row_columns(array.dtype, array.row_bytes // array.dtype.itemsize, columns, sample)
        if isinstance(keys, str):
            raise InputError(f"the array is {array.dtype} {list(array.shape)}: {keys}", path=array.path)
        self._keys: dict[str, Any] = keys
        self.t_name = str(keys["t"]) if array.dtype.names else ""
        for role, key in keys.items():
            if problem := dtype_problem(role, array.dtype[key] if array.dtype.names else array.dtype):
                raise InputError(problem, path=array.path)

    def __len__(self) -> int:
        return self._rows

    def read(self, start: int, stop: int) -> Columns:
        """Rows [start, stop) as columns."""
        rows = self.array.rows(start, stop)
        return {role: rows[key] for role, key in self._keys.items()}


class NpySource(TableSource):
    """NumPy's ``.npy``: a structured array with fields t, x, y, p, or numbers [n, 4] or [4, n], read in pieces."""

    name = "npy"

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        """By the magic number."""
        return head.startswith(MAGIC)

    @contextmanager
    def table(self) -> Iterator[tuple[Table, Said]]:
        """The array, of which what the file holds can be read."""
        with self.open() as file:

            def read_at(offset: int, count: int) -> bytes:
                file.seek(offset)
                return file.read(count)

            size = self.path.stat().st_size
            array = by_rows(open_array(read_at, self.path), self.config.columns)
            end = array.data + array.nbytes
            rows, damage = len(array), None
            if size < end:
                if array.fortran and len(array.shape) == 2:
                    raise self.fail(f"the last column ends early; expected {end} bytes", size)
                rows = max(0, size - array.data) // max(array.row_bytes, 1)
                damage = self.fail(f"truncated: the header promises {len(array)} events, {rows} are there", size)
            elif size > end:
                damage = self.fail(f"{size - end} bytes follow the {len(array)} events that the header promises", end)
            yield RowTable(array, self.config.columns, rows=rows, damage=damage), (None, None)
