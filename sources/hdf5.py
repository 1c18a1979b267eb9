"""HDF5 files: the layouts of DSEC and Prophesee, and any other with the columns t, x, y, p.

DSEC: the group ``events`` with the datasets ``t`` (µs), ``x``, ``y``, ``p``, and beside it the number ``t_offset`` that
is added to all times. Prophesee: one dataset ``CD/events`` of records, packed with their own codec ECF. Elsewhere the
columns are looked for in all groups; where several hold some (the cameras of M3ED and MVSEC), ``group=`` says which is
meant. Links to other files are not followed. In MATLAB's files of version 7.3, coordinates count from 1 where
polarities are 1 and 2.

Not read: frames, IMU samples and poses beside the events; datasets in other files; codecs that hdf5plugin does not
have.

Traps of other readers: DSEC's ``t`` is wrong without ``t_offset``; MVSEC's and e2vid's times are seconds in float64,
which tells times of today 0.24 µs apart; ``sensor_resolution`` has the height first.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from stream_ottt.errors import InputError
from stream_ottt.sources.columns import ORDER, TableConfig, column_names, dtype_problem, find_columns
from stream_ottt.sources.ecf import FILTER as ECF
from stream_ottt.sources.ecf import EcfRows
from stream_ottt.sources.guesses import PAIRS, SAMPLE_ROWS, said_pair
from stream_ottt.sources.hdf5_table import DAMAGE, Hdf5Table, Turned
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
SIDES = ("width", "height")
CUT_OFF = re.compile(r"truncated file: eof = (\d+), .*stored_eof = (\d+)")
TABLES = ("events", "data")
"""Names of datasets [n, 4] or [4, n] that are looked for in all groups."""


class Hdf5Config(TableConfig):
    """Options of HDF5 files.

    Attributes:
        group: path of the group (or dataset of records) that holds the columns, where it is not found by
            itself.
    """

    group: str | None = None


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
            if cut := CUT_OFF.search(str(e)):
                raise self.fail(f"the file was cut off: {cut[1]} of its {cut[2]} bytes are there; copy it again") from e
            raise self.fail(f"no HDF5 file, or a damaged one ({' '.join(str(e).split())}); copy it again") from e
        with file:
            try:
                table = self._table(h5py, file)
                said = self._said_size(h5py, file, table.place)
            except DAMAGE as e:
                raise self.fail(f"the HDF5 file is damaged: {e}") from e
            yield table, said

    def _table(self, h5py: Any, file: Any) -> Hdf5Table:
        """The columns in the group that the option names, at a known place, or in the only group that holds some."""
        group = self.config.group
        for place in PLACES if group is None else (group, *(f"{group}/{name}" for name in TABLES)):
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
            width = len(column_names(self.config.columns)) if self.config.columns else len(ORDER)
            rows = Turned.where_wide(found, width)
            self._check(h5py, rows)
            sample = None if found.dtype.names else rows[0 : min(len(rows), SAMPLE_ROWS)]
            width = rows.shape[1] if len(rows.shape) == 2 else 1
            keys = row_columns(found.dtype, width, self.config.columns, sample)
            if isinstance(keys, str):
                raise self.fail(f"{found.name}: {keys}")
            return {role: (rows, key) for role, key in keys.items()}
        columns: dict[str, tuple[Any, Any]] = {}
        for role, name in find_columns(found).items():
            child = self._at(h5py, found.file, f"{found.name}/{name}")
            if isinstance(child, h5py.Dataset):
                rows = Turned.where_wide(child, 1)  # [1, n], as MATLAB has it
                columns[role] = rows, (slice(None), 0) if rows.shape[1:] == (1,) else slice(None)
        return columns if len(columns) == len(ORDER) else {}

    def _groups(self, h5py: Any, file: Any) -> list[str]:
        """All groups that hold the four columns, and datasets of events."""
        found: list[str] = []
        looked_at = 0

        def look(name: str, node: Any) -> bool | None:
            nonlocal looked_at
            looked_at += 1
            if isinstance(node, h5py.Dataset):  # rows of events, as in MVSEC
                shape = node.shape or ()
                named = len(find_columns(node.dtype.names or ())) == len(ORDER)
                events = named or (
                    name.rpartition("/")[2] in TABLES
                    and bool(node.dtype.names or (len(shape) == 2 and len(ORDER) in shape))
                )
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
        rows = {d.name: EcfRows(d, self.fail) for d, _ in columns.values() if d.ndim == 1 and _codes(d) == [ECF]}
        columns = {role: (rows.get(d.name, d), key) for role, (d, key) in columns.items()}
        dataset, key = columns["t"]
        own = isinstance(key, slice) or dataset.shape[1:] == (1,)
        name = key if isinstance(key, str) else dataset.name.rpartition("/")[2] if own else ""
        offset = self._t_offset(file) if place == "events" else None
        known = offset is not None or place == "CD/events"  # these layouts count µs
        matlab = file.userblock_size > 0
        return Hdf5Table(columns, offset or 0, self.path, "t_us" if known else name, matlab=matlab)

    def _check_columns(self, columns: dict[str, tuple[Any, Any]]) -> None:
        lengths = {role: dataset.shape for role, (dataset, _) in columns.items()}
        if len({shape[:1] for shape in lengths.values()}) != 1 or () in lengths.values():
            raise self.fail(f"t, x, y and p must be equally long; found {lengths}")
        for role, (dataset, key) in columns.items():
            if isinstance(key, slice) and len(dataset.shape) != 1:
                raise self.fail(f"{dataset.name} has the shape {dataset.shape}; expected one dimension, or [n, 1]")
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

    def _said_size(self, h5py: Any, file: Any, place: str) -> Said:
        """The sensor's size as the file or the group of the events says it.

        As ``width`` and ``height``, attributes or numbers beside the events; or as one attribute ``geometry``
        (``"640x480"``, of Prophesee) or two numbers ``sensor_resolution`` (of RPG) or ``calib/resolution`` (of M3ED).
        """
        for node in (file, file[place or "/"]):
            said = [self._number(h5py, file, node, side) for side in SIDES]
            if match := re.fullmatch(r"(\d{1,5})x(\d{1,5})", str(node.attrs.get("geometry", ""))):
                said = [int(match[1]), int(match[2])]
            for name in (*PAIRS, *(f"calib/{name}" for name in PAIRS)):
                said = list(said_pair(self._number(h5py, file, node, name)) or said)
            sizes = [int(s) if isinstance(s, (int, np.integer)) and 1 <= s <= 2**15 else None for s in said]
            if sizes[0] and sizes[1]:
                return sizes[0], sizes[1]
        return None, None

    def _number(self, h5py: Any, file: Any, node: Any, name: str) -> Any:
        """One or two numbers, as an attribute of ``node`` or as a dataset in it; None where there are none."""
        if (value := node.attrs.get(name)) is not None:
            return value
        with suppress(InputError):  # of a link to another file
            found = self._at(h5py, file, f"{node.name}/{name}")
            if isinstance(found, h5py.Dataset) and found.shape in ((), (2,)):
                return found[()]
        return None


def _codes(dataset: Any) -> list[int]:
    """The filters that pack a dataset."""
    properties = dataset.id.get_create_plist()
    return [properties.get_filter(k)[0] for k in range(properties.get_nfilters())]
