"""NumPy .npz files: one recording, or a labelled collection of samples.

A recording holds the arrays ``t``, ``x``, ``y``, ``p``, or one array ``events`` as in an NPY file. A
collection holds besides ``offsets`` [n + 1], where each sample begins and the last ends, and ``labels`` [n];
optionally ``class_names``. ``width`` and ``height`` say the sensor's size; without them (and without the
options) the file is read once for the largest coordinates.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EventPacket
from stream_ottt.pipeline.source import FileSource
from stream_ottt.sources.columns import (
    ORDER,
    Columns,
    Table,
    column_names,
    dtype_problem,
    find_columns,
    sensor_size,
    table_packets,
)
from stream_ottt.sources.npy import ColumnsConfig, NpyArray, RowTable
from stream_ottt.sources.npz_archive import NpzArchive
from stream_ottt.sources.samples import LabelledStream, SampleConfig, SampleSource


class NpzConfig(SampleConfig, ColumnsConfig):
    """Options of NPZ files: those of arrays, and those of labelled collections."""


class ColumnTable:
    """Events of which every column is an array of its own.

    Raises:
        InputError: the columns differ in length, or one does not hold numbers.
    """

    def __init__(self, arrays: dict[str, NpyArray]) -> None:
        self._arrays = arrays
        lengths = {role: list(a.shape) for role, a in arrays.items()}
        first = arrays["t"]
        if any(a.shape != first.shape or len(a.shape) != 1 for a in arrays.values()):
            raise InputError(
                f"t, x, y and p must be equally long, one dimension each; found {lengths}", path=first.path
            )
        for role, array in arrays.items():
            if problem := dtype_problem(role, array.dtype):
                raise InputError(problem, path=first.path)

    def __len__(self) -> int:
        return len(self._arrays["t"])

    def read(self, start: int, stop: int) -> Columns:
        """Rows [start, stop)."""
        return {role: array.rows(start, stop) for role, array in self._arrays.items()}


class NpzSource(SampleSource, FileSource):
    """Events of one NPZ file, read in pieces; the samples of a collection as one labelled stream."""

    name = "npz"
    Config = NpzConfig
    config: NpzConfig

    def __init__(self, config: NpzConfig) -> None:
        super().__init__(config)
        self._size: tuple[int, int] | None = None
        self._archive: NpzArchive  # of the pass that was begun last
        self._table: Table
        self._offsets: list[int] = []

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        """A ZIP archive whose first member is an array."""
        name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
        return head.startswith(b"PK\x03\x04") and name.endswith(b".npy")

    def packets(self) -> Iterator[EventPacket]:
        """Decode from the beginning; each further pass over a shuffled collection has another order."""
        self.open().close()
        with NpzArchive(self.path) as archive:
            self._archive = archive
            used = self._open_table(archive)
            if self._size is None:
                self._size = self._sensor(archive)
            if "offsets" not in archive and "labels" not in archive:
                self.config.refuse("one recording, without the arrays 'offsets' and 'labels'")
                yield from table_packets(self._table, self, *self._size)
                return
            if self._stream is None:
                self._stream = self.open_stream()
            if self.config.shuffle:
                for name in used:
                    archive.members[name].spool()
            yield from self._stream.packets()

    def _open_table(self, archive: NpzArchive) -> list[str]:
        """Find the columns; the names of the arrays that hold them."""
        if "events" in archive:
            array = archive.array("events")
            self._table = RowTable(array, column_names(self.config.columns))
            if array.fortran:
                archive.members["events"].spool()  # its columns lie far apart
            return ["events"]
        found = find_columns(archive.members)
        if len(found) < len(ORDER):
            raise self.fail(
                f"no arrays t, x, y and p, and no array events; found {', '.join(archive.members) or 'none'}"
            )
        self._table = ColumnTable({role: archive.array(found[role]) for role in ORDER})
        return [found[role] for role in ORDER]

    def _sensor(self, archive: NpzArchive) -> tuple[int, int]:
        given = []
        for key, option in (("width", self.config.width), ("height", self.config.height)):
            if option is None and key in archive:
                value = archive.values(key, 8)
                if value.shape != (1,) or value.dtype.kind not in "iu" or not 1 <= value[0] <= 2**15:
                    raise self.fail(f"{key} is {value!r}; expected an integer from 1 to 32768")
                option = int(value[0])
            given.append(option)
        return sensor_size(table_packets(self._table, self, 1, 1), given[0], given[1])

    def open_stream(self) -> LabelledStream:
        archive = self._archive
        for name in ("offsets", "labels"):
            if name not in archive:
                raise self.fail(f"a labelled collection needs the arrays offsets and labels; {name} is missing")
        # A sample is hardly below 16 bytes: what promises more samples than that is made to fill the memory.
        most = 8 * (65536 + self.path.stat().st_size // 16)
        offsets, labels = archive.values("offsets", most), archive.values("labels", most)
        if offsets.dtype.kind not in "iu" or labels.dtype.kind not in "iu" or len(offsets) != len(labels) + 1:
            raise self.fail(
                f"offsets must be integers [n + 1] and labels integers [n]; found {offsets.dtype} "
                f"{list(offsets.shape)} and {labels.dtype} {list(labels.shape)}"
            )
        self._offsets = offsets.tolist()
        if self._offsets[0] != 0 or self._offsets[-1] != len(self._table) or np.any(offsets[1:] < offsets[:-1]):
            raise self.fail(f"offsets must ascend from 0 to the number of events, {len(self._table)}")
        if len(labels) and int(labels.min()) < 0:
            raise self.fail("labels must be 0 or above")
        if "class_names" in archive:
            names = archive.values("class_names", 1 << 20)
            if names.dtype.kind != "U":
                raise self.fail(f"class_names is {names.dtype}; expected text")
            self._names = dict(enumerate(names.tolist()))
        return LabelledStream(labels.tolist(), self._sample, self._fail_sample, self.config, self._size)

    def _sample(self, i: int) -> Iterator[EventPacket]:
        yield from table_packets(self._table, self, 1, 1, self._offsets[i], self._offsets[i + 1])

    def _fail_sample(self, i: int, message: str) -> InputError:
        return self.fail(f"sample {i}: {message}")
