"""NumPy .npy files: a structured array with fields t, x, y, p, or a table [n, 4] of integers."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EventPacket
from stream_ottt.pipeline.source import FileConfig, FileSource
from stream_ottt.sources.columns import (
    ORDER,
    Columns,
    column_names,
    dtype_problem,
    find_columns,
    sensor_size,
    table_packets,
)

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


class RowTable:
    """One array of events: structured [n], or [n, columns] of numbers in a given order.

    Args:
        array: where the rows come from.
        columns: names of the columns of an unstructured array, ``_`` for one to skip.

    Raises:
        InputError: the array has another form.
    """

    def __init__(self, array: NpyArray, columns: list[str]) -> None:
        self.array = array
        fields = find_columns(array.dtype.names or ())
        if len(fields) == len(ORDER) and len(array.shape) == 1:
            self._keys: dict[str, Any] = dict(fields)
            problems = [dtype_problem(role, array.dtype[name]) for role, name in fields.items()]
        elif array.dtype.names is None and len(array.shape) == 2 and array.shape[1] == len(columns):
            self._keys = {role: (slice(None), columns.index(role)) for role in ORDER}
            problems = [dtype_problem("t", array.dtype)]
        else:
            raise InputError(
                f"the array is {array.dtype} {list(array.shape)}; expected one with fields t, x, y, p, "
                f"or [n, {len(columns)}] numbers in the order {','.join(columns)} (change it with columns=)",
                path=array.path,
            )
        for problem in filter(None, problems):
            raise InputError(problem, path=array.path)
        if not 0 < array.row_bytes <= MAX_ROW:
            raise InputError(f"a row of {array.row_bytes} bytes is no event", path=array.path)

    def __len__(self) -> int:
        return len(self.array)

    def read(self, start: int, stop: int) -> Columns:
        """Rows [start, stop) as columns."""
        rows = self.array.rows(start, stop)
        return {role: rows[key] for role, key in self._keys.items()}


class ColumnsConfig(FileConfig):
    """Options of arrays that may not say everything themselves.

    Attributes:
        width: sensor width in pixels; None reads the file once for the largest x.
        height: sensor height in pixels; None reads the file once for the largest y.
        columns: what the columns of an unstructured array are, in its order.
    """

    width: int | None = Field(default=None, ge=1, le=2**15)
    height: int | None = Field(default=None, ge=1, le=2**15)
    columns: str = "txyp"

    @field_validator("columns")
    @classmethod
    def _names_all(cls, value: str) -> str:
        column_names(value)
        return value


class NpySource(FileSource):
    """Events from one NPY file, read in pieces."""

    name = "npy"
    Config = ColumnsConfig
    config: ColumnsConfig

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        """By the magic number."""
        return head.startswith(MAGIC)

    def packets(self) -> Iterator[EventPacket]:
        """Decode from the beginning; see the base class."""
        config = self.config
        with self.open() as file:

            def read_at(offset: int, count: int) -> bytes:
                file.seek(offset)
                return file.read(count)

            size = self.path.stat().st_size
            array = open_array(read_at, self.path)
            table = RowTable(array, column_names(config.columns))
            stop = len(table)
            end = array.data + array.nbytes
            if size < end:
                if array.fortran and len(array.shape) == 2:
                    raise self.fail(f"the last column ends early; expected {end} bytes", size)
                stop = max(0, size - array.data) // array.row_bytes
            pieces = table_packets(table, self, 1, 1, 0, stop)
            width, height = sensor_size(pieces, config.width, config.height)
            yield from table_packets(table, self, width, height, 0, stop)
            if size < end:
                raise self.fail(f"truncated: the header promises {len(table)} events, {stop} are there", size)
            if size > end:
                raise self.fail(f"{size - end} bytes follow the {len(table)} events that the header promises", end)
