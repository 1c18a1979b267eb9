"""HDF5 files: the layouts of DSEC and Prophesee, and any other with the columns t, x, y, p.

DSEC: the group ``events`` with the datasets ``t`` (µs), ``x``, ``y``, ``p``, and beside it the number ``t_offset`` that
is added to all times. Prophesee: one dataset ``CD/events`` of records, packed with their own codec ECF. Elsewhere the
columns are looked for in all groups; where several hold some (the cameras of M3ED and MVSEC), ``group=`` says which is
meant. Links to other files are not followed.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from stream_ottt.errors import InputError
from stream_ottt.sources.columns import ORDER, Columns, TableConfig, dtype_problem, find_columns
from stream_ottt.sources.ecf import FILTER as ECF
from stream_ottt.sources.ecf import EcfRows
from stream_ottt.sources.guesses import SAMPLE_ROWS
from stream_ottt.sources.npy import MAX_ROW
from stream_ottt.sources.tables import Said, Table, TableSource, row_columns

MAGIC = b"\x89HDF\r\n\x1a\n"
MAX_CHUNK = 8 << 20
"""Bytes. A chunk is unpacked as a whole, however little of it is wanted."""
MAX_RATIO = 4096
"""Bytes that one stored byte may stand for; events never pack like this."""
PLACES = ("events", "CD/events", "/")
"""Where the columns are looked for first."""
MAX_OBJECTS = 10_000
"""Objects that are looked at for columns."""
MAX_LINKS = 16
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


class Hdf5Config(TableConfig):
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
        path: of the file.
        t_name: of the column of times.

    Raises:
        InputError: from :meth:`read`, what is damaged, or a file that has become shorter since it was opened: HDF5
            makes zeros of what is missing.
    """

    damage: InputError | None = None

    def __init__(self, columns: dict[str, tuple[Any, Any]], t_offset: int, path: Path, t_name: str) -> None:
        self._columns = columns
        self._t_offset = t_offset
        self._path = path
        self.t_name = t_name
        self._length = len(columns["t"][0])
        self._size = path.stat().st_size

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
        return out


class Hdf5Source(TableSource):
    """HDF5 with the columns t, x, y, p: DSEC, Prophesee, M3ED, MVSEC, v2e and others, read in pieces."""

    name = "hdf5"
    Config = Hdf5Config
    config: Hdf5Config

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        """By the signature, which stands behind MATLAB's header in a MAT file of version 7.3."""
        return head.startswith(MAGIC) or head[512 : 512 + len(MAGIC)] == MAGIC

    @contextmanager
    def table(self) -> Iterator[tuple[Table, Said]]:
        """The columns while the file is open."""
        self.open().close()
        try:
            h5py = importlib.import_module("h5py")
            importlib.import_module("hdf5plugin")  # makes more codecs known to h5py
        except ImportError as e:
            raise self.fail(f"reading HDF5 needs the package {e.name}; install it with 'pip install {e.name}'") from e
        try:
            file = h5py.File(self.path, "r", rdcc_nbytes=MAX_CHUNK)
        except DAMAGE as e:
            raise self.fail(f"no HDF5 file, or a damaged or truncated one: {e}") from e
        with file:
            try:
                table = self._table(h5py, file)
                said = self._said_size(file)
            except DAMAGE as e:
                raise self.fail(f"the HDF5 file is damaged: {e}") from e
            yield table, said

    def _table(self, h5py: Any, file: Any) -> Hdf5Table:
        """The columns in the group that the option names, at a known place, or in the only group that holds some."""
        for place in (self.config.group,) if self.config.group is not None else PLACES:
            if (found := self._at(h5py, file, place)) is not None and (columns := self._columns(h5py, found)):
                return self._checked(h5py, file, place, columns)
        others = self._groups(h5py, file)
        if self.config.group is None and len(others) == 1:
            place = others[0]
            return self._checked(h5py, file, place, self._columns(h5py, file[place]))
        if others:
            raise self.fail(f"events lie in {', '.join(others[:8])}; say which with group=, such as group={others[0]}")
        where = self.config.group or " or ".join(PLACES)
        raise self.fail(
            f"no events with t, x, y and p in {where}; it holds {', '.join(list(file)[:8]) or 'nothing'}; "
            "say where they are with group="
        )

    def _at(self, h5py: Any, file: Any, place: str, links: int = 0) -> Any:
        """The object at a place in this file, or None. Raises InputError where a link leads to another file."""
        node, here = file, ""
        for part in place.strip("/").split("/") if place.strip("/") else []:
            if not isinstance(node, h5py.Group) or part not in node.keys():  # noqa: SIM118 - "in" would follow links
                return None
            link = node.get(part, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise self.fail(
                    f"{here}/{part} is a link to the file {link.filename!r}, which is not followed; give that file"
                )
            if isinstance(link, h5py.SoftLink):
                if links == MAX_LINKS:
                    raise self.fail(f"{here}/{part} is a link that leads nowhere")
                target = link.path if link.path.startswith("/") else f"{here}/{link.path}"
                node = self._at(h5py, file, target, links + 1)
            else:
                node = node[part]
            here += f"/{part}"
        return node

    def _columns(self, h5py: Any, found: Any) -> dict[str, tuple[Any, Any]]:
        """Role → (dataset, index), complete or empty."""
        if isinstance(found, h5py.Dataset):
            if not found.dtype.names and len(found.shape) != 2:
                return {}
            self._check(h5py, found)
            sample = None if found.dtype.names else found[: min(len(found), SAMPLE_ROWS)]
            width = found.shape[1] if len(found.shape) == 2 else 1
            keys = row_columns(found.dtype, width, self.config.columns, sample)
            if isinstance(keys, str):
                raise self.fail(f"{found.name}: {keys}")
            return {role: (found, key) for role, key in keys.items()}
        columns: dict[str, tuple[Any, Any]] = {}
        for role, name in find_columns(found).items():
            child = self._at(h5py, found.file, f"{found.name}/{name}")
            if isinstance(child, h5py.Dataset):
                columns[role] = (child, slice(None))
        return columns if len(columns) == len(ORDER) else {}

    def _groups(self, h5py: Any, file: Any) -> list[str]:
        """All groups that hold the four columns, and datasets of events."""
        found: list[str] = []
        looked_at = 0

        def look(name: str, node: Any) -> bool | None:
            nonlocal looked_at
            looked_at += 1
            if isinstance(node, h5py.Dataset):  # rows of events, as in MVSEC
                events = name.rpartition("/")[2] in PLACES and (node.dtype.names or node.shape[1:] == (len(ORDER),))
            else:
                events = len(find_columns(node)) == len(ORDER)
            if events and self._columns(h5py, node):
                found.append(name)
            return True if looked_at == MAX_OBJECTS else None

        file.visititems(look)
        return sorted(found)

    def _checked(self, h5py: Any, file: Any, place: str, columns: dict[str, tuple[Any, Any]]) -> Hdf5Table:
        for dataset in {d.name: d for d, _ in columns.values()}.values():
            self._check(h5py, dataset)
        self._check_columns(columns)
        rows = {d.name: EcfRows(d, self.fail) for d, _ in columns.values() if _codes(d) == [ECF]}
        columns = {role: (rows.get(d.name, d), key) for role, (d, key) in columns.items()}
        dataset, key = columns["t"]
        name = key if isinstance(key, str) else dataset.name.rpartition("/")[2] if isinstance(key, slice) else ""
        offset = self._t_offset(file) if place == "events" else None
        known = offset is not None or place == "CD/events"  # these layouts count µs
        return Hdf5Table(columns, offset or 0, self.path, "t_us" if known else name)

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
        codes = _codes(dataset)
        for code in codes if codes != [ECF] else []:
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

    def _t_offset(self, file: Any) -> int | None:
        dataset = file.get("t_offset")
        if dataset is None:
            return None
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


def _codes(dataset: Any) -> list[int]:
    """The filters that pack a dataset."""
    properties = dataset.id.get_create_plist()
    return [properties.get_filter(k)[0] for k in range(properties.get_nfilters())]
