"""NumPy's ``.npz`` files: one recording, or a labelled collection of samples.

A recording is arrays ``t``, ``x``, ``y``, ``p`` under any usual names (``events_t``, ``timestamp``, …), with ``xy``
[n, 2] or [2, n] in place of x and y; or one array of events as in an NPY file. A collection holds besides ``offsets``
[n + 1], where each sample begins and the last ends, and ``labels`` [n]; optionally ``class_names``. ``width`` and
``height`` say the sensor's size.

Not read: arrays of Python objects, which are never loaded; frames; ``labels`` of single events.

Traps of other readers: arrays [4, n] and [n, 4] look alike where n is 4; whole numbers are µs unless ``?time=`` says
otherwise, though some data sets hold ms; coordinates may have fractions (``?pixels=floor``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EventPacket
from stream_ottt.sources.columns import ORDER, PREFIX, Columns, TableConfig, dtype_problem, find_columns
from stream_ottt.sources.guesses import PAIRS, said_pair, sensor_size
from stream_ottt.sources.npy import NpyArray, RowTable
from stream_ottt.sources.npz_archive import NpzArchive
from stream_ottt.sources.samples import LabelledStream, SampleConfig, SampleSource
from stream_ottt.sources.tables import Reading, Said, Table, TableSource

PIXELS = ("xy", "pos", "position", "positions", "coords", "coordinates", "pixels")
"""Names of an array [n, 2] of x and y."""


class NpzConfig(SampleConfig, TableConfig):
    """Options of NPZ files: those of tables and of labelled collections.

    Attributes:
        array: the name of the array that holds the events, where there are several.
    """

    array: str | None = None


class ColumnTable:
    """Events of which every column is an array of its own, or x and y one of two columns.

    Attributes:
        t_name: name of the column of times.

    Raises:
        InputError: the columns differ in length, or one does not hold numbers.
    """

    damage: InputError | None = None

    def __init__(self, arrays: dict[str, NpyArray], t_name: str) -> None:
        arrays = {role: _upright(array, 2 if role == "xy" else 1) for role, array in arrays.items()}
        self._arrays = arrays
        self.t_name = t_name
        first = arrays["t"]
        shapes = {role: list(a.shape) for role, a in arrays.items()}
        expected = {role: [*first.shape, 2] if role == "xy" else [*first.shape] for role in arrays}
        if shapes != expected or len(first.shape) != 1:
            raise InputError(f"t, x, y and p must be equally long, one dimension each; found {shapes}", path=first.path)
        for role, array in arrays.items():
            if problem := dtype_problem(role, array.dtype):
                raise InputError(problem, path=first.path)

    def __len__(self) -> int:
        return len(self._arrays["t"])

    def read(self, start: int, stop: int) -> Columns:
        """Rows [start, stop)."""
        columns = {role: array.rows(start, stop) for role, array in self._arrays.items()}
        if (xy := columns.pop("xy", None)) is not None:
            columns["x"], columns["y"] = xy[:, 0], xy[:, 1]
        return columns


def _upright(array: NpyArray, columns: int) -> NpyArray:
    """A column [n] of an array [n, 1] or [1, n], or two [n, 2] of one [2, n]."""
    if columns == 1 and len(array.shape) == 2 and 1 in array.shape:
        return replace(array, shape=(max(array.shape) if 0 not in array.shape else 0,), fortran=False)
    if len(array.shape) == 2 and array.shape[0] == columns != array.shape[1]:
        return replace(array, shape=array.shape[::-1], fortran=not array.fortran)
    return array


class NpzSource(SampleSource, TableSource):
    """NumPy's ``.npz``: one recording, read in pieces, or the samples of a collection as one labelled stream."""

    name = "npz"
    Config = NpzConfig
    config: NpzConfig

    def __init__(self, config: NpzConfig) -> None:
        super().__init__(config)
        self._size: tuple[int, int] | None = None
        self._archive: NpzArchive  # of the pass that was begun last
        self._reading: Reading
        self._offsets: list[int] = []
        self._labels_of_events = False

    def describe(self) -> dict[str, Any]:
        """How far apart times are told, and whether there are labels of single events, which are passed over."""
        return {**super().describe(), **({"labels_of_events": "passed over"} if self._labels_of_events else {})}

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        """A ZIP archive whose first member is an array."""
        name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
        return head.startswith(b"PK\x03\x04") and name.endswith(b".npy")

    def packets(self) -> Iterator[EventPacket]:
        """Decode from the beginning; each further pass over a shuffled collection has another order."""
        with self.table() as (table, said):
            archive = self._archive
            single = "labels" in archive and archive.array("labels").shape == (len(table),)
            if "offsets" not in archive and (single or "labels" not in archive):
                self._labels_of_events = single
                self.config.refuse("one recording, without the arrays 'offsets' and 'labels'")
                yield from self.recording(table, said)
                return
            self._reading = Reading(table, self)
            if self._size is None:
                self._size = sensor_size(self._reading.packets(1, 1), self, said)
            if self._stream is None:
                self._stream = self.open_stream()
            if self.config.shuffle:
                archive.spool(self._used)
            yield from self._stream.packets()

    def packets_from(self, start: int) -> Iterator[EventPacket]:
        """All of it: what is packed has to be unpacked from its beginning."""
        return self.packets()

    @contextmanager
    def table(self) -> Iterator[tuple[Table, Said]]:
        """The columns, of which nothing is unpacked yet."""
        self.open().close()
        with NpzArchive(self.path) as archive:
            self._archive = archive
            table = self._find(archive)
            yield table, self._said(archive)

    def _find(self, archive: NpzArchive) -> Table:
        """The events: the array that the option names, one called ``events``, columns by their names, or else the
        only array that can be a table."""
        names = list(archive.members)
        if self.config.array is not None and self.config.array not in archive:
            raise self.fail(f"no array {self.config.array!r}; found {', '.join(names) or 'none'}")
        found = find_columns(names)
        pixels = [n for n in names if PREFIX.sub("", n.lower()) in PIXELS]
        if self.config.array is None and "events" not in archive:
            if len(found) == len(ORDER):
                self._used = list(found.values())
                return ColumnTable({role: archive.array(found[role]) for role in ORDER}, found["t"])
            if {*found} == {"t", "p"} and len(pixels) == 1:
                found["xy"] = pixels[0]
                self._used = list(found.values())
                if archive.array(pixels[0]).shape[:1] == (2,):
                    archive.spool(pixels)  # its columns lie far apart
                return ColumnTable({role: archive.array(name) for role, name in found.items()}, found["t"])
        name = self.config.array or ("events" if "events" in archive else self._only_table(archive))
        array = archive.array(name)
        self._used = [name]
        if array.fortran or (len(array.shape) == 2 and array.shape[0] == len(ORDER) != array.shape[1]):
            archive.spool(self._used)  # its columns lie far apart
        return RowTable(array, self.config.columns)

    def _only_table(self, archive: NpzArchive) -> str:
        shapes: dict[str, str] = {}
        fits, flat = [], []
        for name in archive.members:
            shapes[name] = name
            with suppress(InputError):  # of an array that is not needed
                array = archive.array(name)
                shapes[name] = f"{name} {list(array.shape)}"
                if (array.dtype.names or len(array.shape) == 2) and len(array) > 1:
                    fits.append(name)
                if len(array.shape) == 1 and not array.dtype.names:
                    flat.append(name)
        if len(fits) == 1:
            return fits[0]
        found = ", ".join(list(shapes.values())[:8]) or "none"
        fix = "say which holds the events with array=" if fits or len(flat) < len(ORDER) else "name them t, x, y and p"
        raise self.fail(f"no arrays t, x, y and p, and no array events; found {found}; {fix}")

    def _said(self, archive: NpzArchive) -> Said:
        sizes: list[int | None] = []
        for key, option in (("width", self.config.width), ("height", self.config.height)):
            sizes.append(None)
            if option is None and key in archive:
                value: Any = archive.values(key, 8)
                if value.shape != (1,) or value.dtype.kind not in "iu" or not 1 <= value[0] <= 2**15:
                    raise self.fail(f"{key} is {value!r}; expected an integer from 1 to 32768")
                sizes[-1] = int(value[0])
        if sizes == [None, None]:
            for name in PAIRS:
                with suppress(InputError):  # of an array that is something else
                    if name in archive and (pair := said_pair(archive.values(name, 16))):
                        return pair
        return sizes[0], sizes[1]

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
        if self._offsets[0] != 0 or self._offsets[-1] != len(self._reading.table) or np.any(offsets[1:] < offsets[:-1]):
            raise self.fail(f"offsets must ascend from 0 to the number of events, {len(self._reading.table)}")
        if len(labels) and int(labels.min()) < 0:
            raise self.fail("labels must be 0 or above")
        if "class_names" in archive:
            names = archive.values("class_names", 1 << 20)
            if names.dtype.kind != "U":
                raise self.fail(f"class_names is {names.dtype}; expected text")
            self._names = dict(enumerate(names.tolist()))
        return LabelledStream(labels.tolist(), self._sample, self._fail_sample, self.config, self._size)

    def _sample(self, i: int) -> Iterator[EventPacket]:
        yield from self._reading.packets(1, 1, self._offsets[i], self._offsets[i + 1])

    def _fail_sample(self, i: int, message: str) -> InputError:
        return self.fail(f"sample {i}: {message}")
