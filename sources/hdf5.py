"""HDF5 files: DSEC's layout, and any other with the columns t, x, y, p in a form that h5py can unpack.

DSEC: the group ``events`` with the datasets ``t`` (µs), ``x``, ``y``, ``p``, and beside it the number
    ``t_offset`` that is added
to all times (``ms_to_idx`` is an index and not needed). Prophesee: one dataset ``CD/events`` of records,
packed with their own codec ECF, which h5py only unpacks once their plugin is installed. DSEC's compression
needs the package ``hdf5plugin``.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EventPacket
from stream_ottt.pipeline.source import FileSource
from stream_ottt.sources.columns import (
    ORDER,
    Columns,
    column_names,
    dtype_problem,
    find_columns,
    sensor_size,
    table_packets,
)
from stream_ottt.sources.npy import MAX_ROW, ColumnsConfig

MAGIC = b"\x89HDF\r\n\x1a\n"
ECF = 0x8ECF
MAX_CHUNK = 8 << 20
"""Bytes. A chunk is unpacked as a whole, however little of it is wanted."""
MAX_RATIO = 4096
"""Bytes that one stored byte may stand for; events never pack like this."""
PLACES = ("events", "CD/events", "/")
"""Where the columns are looked for."""
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


class Hdf5Config(ColumnsConfig):
    """Options of HDF5 files.

    Attributes:
        group: path of the group (or dataset of records) that holds the columns, where it is not found by
            itself.
    """

    group: str | None = None


class Hdf5Table:
    """Columns in a dataset each, or all in one dataset of records or [n, columns].

    Args:
        columns: role → (dataset, index of the column in what is read from it).
        t_offset: µs to add to all times.
        path: for messages.
    """

    def __init__(self, columns: dict[str, tuple[Any, Any]], t_offset: int, path: Path) -> None:
        self._columns = columns
        self._t_offset = t_offset
        self._path = path
        self._length = len(columns["t"][0])

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
        if self._t_offset:
            t = out["t"]
            out["t"] = (t.astype(np.int64) if t.dtype.kind in "iu" else t) + self._t_offset
        return out


class Hdf5Source(FileSource):
    """Events of one HDF5 file, read in pieces."""

    name = "hdf5"
    Config = Hdf5Config
    config: Hdf5Config

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        """By the signature."""
        return head.startswith(MAGIC)

    def packets(self) -> Iterator[EventPacket]:
        """Decode from the beginning; see the base class."""
        self.open().close()
        try:
            h5py = importlib.import_module("h5py")
        except ImportError as e:
            raise self.fail("reading HDF5 needs the package h5py; install it with 'pip install h5py'") from e
        with suppress(ImportError):
            importlib.import_module("hdf5plugin")  # makes more codecs known to h5py
        try:
            file = h5py.File(self.path, "r", rdcc_nbytes=MAX_CHUNK)
        except DAMAGE as e:
            raise self.fail(f"no HDF5 file, or a damaged or truncated one: {e}") from e
        with file:
            try:
                table = self._table(h5py, file)
                width, height = self._said_size(file)
            except DAMAGE as e:
                raise self.fail(f"the HDF5 file is damaged: {e}") from e
            size = self.config.width or width, self.config.height or height
            width, height = sensor_size(table_packets(table, self, 1, 1), *size)
            yield from table_packets(table, self, width, height)

    def _table(self, h5py: Any, file: Any) -> Hdf5Table:
        places = (self.config.group,) if self.config.group else PLACES
        for place in places:
            found = file.get(place)
            if found is None:
                continue
            columns: dict[str, tuple[Any, Any]] = {}
            if isinstance(found, h5py.Dataset):
                names = column_names(self.config.columns)
                if found.dtype.names:
                    columns = {role: (found, name) for role, name in find_columns(found.dtype.names).items()}
                elif len(found.shape) == 2 and found.shape[1] == len(names):
                    columns = {role: (found, (slice(None), names.index(role))) for role in ORDER}
            else:
                columns = {
                    role: (found[name], slice(None))
                    for role, name in find_columns(found).items()
                    if isinstance(found[name], h5py.Dataset)
                }
            if len(columns) == len(ORDER):
                for dataset in {d.name: d for d, _ in columns.values()}.values():
                    self._check(h5py, dataset)
                self._check_columns(columns)
                return Hdf5Table(columns, self._t_offset(file) if place == "events" else 0, self.path)
        raise self.fail(
            f"no events with t, x, y and p in {' or '.join(places)}; "
            f"it holds {', '.join(list(file)[:8]) or 'nothing'}; say where they are with group="
        )

    def _check_columns(self, columns: dict[str, tuple[Any, Any]]) -> None:
        lengths = {role: dataset.shape for role, (dataset, _) in columns.items()}
        if len({shape[:1] for shape in lengths.values()}) != 1 or () in lengths.values():
            raise self.fail(f"t, x, y and p must be equally long; found {lengths}")
        for role, (dataset, key) in columns.items():
            if isinstance(key, slice) and len(dataset.shape) != 1:
                raise self.fail(f"{dataset.name} has the shape {dataset.shape}; expected one dimension")
            if problem := dtype_problem(role, dataset.dtype[key] if isinstance(key, str) else dataset.dtype):
                raise self.fail(problem)

    def _check(self, h5py: Any, dataset: Any) -> None:
        """That a dataset can be unpacked, in bounded memory, from this file alone."""
        properties = dataset.id.get_create_plist()
        for k in range(properties.get_nfilters()):
            code = properties.get_filter(k)[0]
            if code == ECF and not h5py.h5z.filter_avail(code):
                raise self.fail(
                    f"{dataset.name} is packed with Prophesee's codec ECF, which is not read; "
                    "convert it with 'metavision_file_to_dat' or install Prophesee's plugin hdf5_ecf"
                )
            if not h5py.h5z.filter_avail(code):
                raise self.fail(
                    f"{dataset.name} is packed with HDF5 filter {code}, which h5py does not know; "
                    "install more codecs with 'pip install hdf5plugin'"
                )
        if dataset.is_virtual or dataset.external:
            raise self.fail(f"{dataset.name} lies in other files; copy it into one with 'h5repack'")
        row = dataset.dtype.itemsize * int(np.prod(dataset.shape[1:], dtype=object))
        stored = dataset.id.get_storage_size()
        if row > MAX_ROW or dataset.dtype.hasobject or len(dataset.shape) not in (1, 2):
            raise self.fail(f"{dataset.name} is {dataset.dtype} {list(dataset.shape)}; expected columns of integers")
        if row * dataset.shape[0] > MAX_RATIO * stored:
            raise self.fail(f"{dataset.name} promises {row * dataset.shape[0]} bytes, but {stored} are stored")
        if dataset.chunks and dataset.dtype.itemsize * int(np.prod(dataset.chunks, dtype=object)) > MAX_CHUNK:
            raise self.fail(
                f"{dataset.name} is packed in chunks of {dataset.chunks} of {dataset.dtype}, which is more than "
                f"{MAX_CHUNK >> 20} MiB; repack it with 'h5repack -l CHUNK=65536'"
            )

    def _t_offset(self, file: Any) -> int:
        dataset = file.get("t_offset")
        if dataset is None:
            return 0
        if dataset.dtype.kind not in "iu" or dataset.size != 1:
            raise self.fail(f"t_offset is {dataset.dtype} {list(dataset.shape)}; expected one integer, in µs")
        offset = int(dataset[()] if dataset.shape == () else dataset[:].item())
        if abs(offset) >= 2**62:
            raise self.fail(f"t_offset is {offset} µs; the file is damaged")
        return offset

    def _said_size(self, file: Any) -> tuple[int | None, int | None]:
        """The sensor's size from attributes ``width`` and ``height``, or Prophesee's ``geometry`` (``"640x480"``)."""
        said = [file.attrs.get("width"), file.attrs.get("height")]
        if match := re.fullmatch(r"(\d{1,5})x(\d{1,5})", str(file.attrs.get("geometry", ""))):
            said = [int(match[1]), int(match[2])]
        sizes = [int(s) if isinstance(s, (int, np.integer)) and 1 <= s <= 2**15 else None for s in said]
        return sizes[0], sizes[1]
