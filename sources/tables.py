"""What recordings that hold events as columns of numbers have in common: NumPy, HDF5 and MAT files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from stream_ottt.errors import InputError
from stream_ottt.events.packet import PACKET_EVENTS, EventPacket
from stream_ottt.pipeline.source import FileSource
from stream_ottt.sources.columns import (
    EXPONENTS,
    ORDER,
    Columns,
    TableConfig,
    Unit,
    column_names,
    find_columns,
    pack,
    stored_unit,
    to_us,
)
from stream_ottt.sources.guesses import SAMPLE_ROWS, checked_rate, guess_columns, guess_unit, sensor_size
from stream_ottt.sources.unwrap import unwrapped
from stream_ottt.sources.zero_tail import written_rows

ASK_COLUMNS = "which column is t, x, y and p cannot be told from the values; say it with columns=, such as x,y,t,p"
COARSEST_US = 10_000
"""Times that are told apart only so far or farther cannot be used."""
PROBE = 32
"""Rows on each side of a place that tell its time together, so that a single wrong time does not."""
PROBES = 64
"""Places at which a table is looked at, whether its times ascend."""

Said = tuple[int | None, int | None]
"""Width and height of the sensor, where the file says them."""


class Table(Protocol):
    """Rows of events that can be read in pieces.

    Attributes:
        t_name: name of the column of times, empty where it has none.
        damage: what is raised after the last row: a file that was cut off.
    """

    t_name: str
    damage: InputError | None

    def __len__(self) -> int:
        """How many rows can be read."""

    def read(self, start: int, stop: int) -> Columns:
        """Rows [start, stop). Raises InputError where they are damaged."""


class Reading:
    """A table, and how its times are read.

    Attributes:
        unit: of the times.
        coarse: what times of few bits cannot tell apart; empty for all others.
        step_us: how far apart they are told, µs.
        certain: False for whole numbers that are taken for µs because nothing says their unit.

    Raises:
        InputError: times with fractions that may be of seconds or of milliseconds, or that tell no windows apart.
    """

    def __init__(self, table: Table, source: FileSource) -> None:
        self.table = table
        self._source = source
        config: Any = source.config
        self._floor = config.pixels == "floor"
        sample = self._sample(table)
        self._narrow = sample.dtype.itemsize < 8 and sample.dtype.kind in "iu"
        unit, self.certain = (
            (config.time, True)
            if config.time and stored_unit(sample.dtype) is None
            else guess_unit(sample, table.t_name)
        )
        if unit is None:
            raise source.fail(
                f"times have fractions, such as {sample[sample != np.trunc(sample)][0]}; "
                "say their unit with time=, such as time=s or time=ms"
            )
        self.unit: Unit = unit
        self.coarse, self.step_us = "", 0.0
        if len(sample) and sample.dtype.kind == "f" and sample.dtype.itemsize < 8:
            step = float(np.spacing(np.abs(sample).max()))
            largest = f"{float(sample.max()):.0f}"
            self.coarse = f"{sample.dtype} tells times such as {largest} only {step:g} apart; save them as float64"
            self.step_us = step * 10.0 ** EXPONENTS[unit]
            if self.certain and self.step_us >= COARSEST_US:
                raise source.fail(self.coarse)

    @staticmethod
    def _sample(table: Table) -> npt.NDArray[Any]:
        """The first times; fewer where damage is near. The damage itself is raised when the stream comes to it."""
        for rows in (SAMPLE_ROWS, PROBE, 1):
            with suppress(InputError):
                if len(table):
                    return np.asarray(table.read(0, min(len(table), rows))["t"])
        return np.empty(0, np.int64)

    def packets(self, width: int, height: int, start: int = 0, stop: int | None = None) -> Iterator[EventPacket]:
        """The rows [start, stop) as packets.

        Raises:
            InputError: naming the row, at the first one that is no event, after the packets before it.
        """
        whole = stop is None
        stop = len(self.table) if stop is None else stop
        unit: Unit = self.unit if self.certain else "us"
        for at in range(start, stop, PACKET_EVENTS):
            self._source.rows_read(at / stop)
            columns = self.table.read(at, min(at + PACKET_EVENTS, stop))
            if self.certain and unit == "us" and columns["t"].dtype.kind == "f":
                columns = {**columns, "t": np.rint(columns["t"])}
            events, problem = pack(columns, unit, floor=self._floor)
            if len(events):
                yield EventPacket(events, width, height)
            if problem:
                raise self._source.fail(f"event {at + len(events)}: {problem}")
        if whole and self.table.damage is not None:
            raise self.table.damage

    def place_of(self, t: int) -> int:
        """A row before which no event is of the time ``t`` (µs) or later; 0 where rows are in no order."""
        low, high = 0, len(self.table)
        if self._narrow or high <= PACKET_EVENTS:
            return 0  # narrow times may begin again at 0
        try:
            if np.any(np.diff([self._time_around(row) for row in np.linspace(low, high - 1, PROBES, dtype=int)]) < 0):
                return 0
            while high - low > PACKET_EVENTS:
                middle = (low + high) // 2
                low, high = (middle, high) if self._time_around(middle) < t else (low, middle)
        except InputError:
            return 0  # the damage is raised when the stream comes to it
        return max(0, low - PACKET_EVENTS)

    def _time_around(self, row: int) -> float:
        around = np.asarray(self.table.read(max(row - PROBE, 0), min(row + PROBE + 1, len(self.table)))["t"])
        return float(np.median(to_us(around, self.unit)[0]))


class TableSource(FileSource):
    """A source of one table of events."""

    Config = TableConfig
    config: TableConfig

    @abstractmethod
    def table(self) -> AbstractContextManager[tuple[Table, Said]]:
        """The table while it is open, and the sensor's size as the file says it."""

    _step_us = 0.0

    def describe(self) -> dict[str, Any]:
        """How far apart times are told that have too few bits for µs."""
        return {"time_step_us": round(self._step_us, 3)} if self._step_us >= 1 else {}

    def packets(self) -> Iterator[EventPacket]:
        """Decode from the beginning; see the base class."""
        yield from self._from(None)

    def packets_from(self, start: int) -> Iterator[EventPacket]:
        """Decode from the rows of ``start`` (µs), which are found by their times; see the base class."""
        yield from self._from(start)

    def _from(self, start: int | None) -> Iterator[EventPacket]:
        with self.table() as (table, said):
            yield from self.recording(table, said, start)

    def recording(self, table: Table, said: Said, start: int | None = None) -> Iterator[EventPacket]:
        """The packets of a table that is one recording."""
        self.named = bool(table.t_name)
        if self.config.columns is not None and self.named:
            raise self.fail("its columns have names, so that columns= has no use; leave it out")
        reading = Reading(table, self)
        self._step_us = reading.step_us
        width, height = sensor_size(reading.packets(1, 1), self, said)
        packets = reading.packets(width, height, 0 if start is None else reading.place_of(start))
        packets = written_rows(packets, self.fail)
        if self.config.time is None and (reading.unit == "us" or not reading.certain):
            packets = unwrapped(packets)
        yield from packets if reading.certain else checked_rate(packets, self, reading.coarse)


def row_columns(
    dtype: np.dtype[Any], columns: int, option: str | None, sample: npt.NDArray[Any] | None
) -> dict[str, Any] | str:
    """Where in a row of an array each column stands: role → field name, or index expression; or what is wrong.

    Args:
        dtype: of an element: with fields, or a number.
        columns: elements of a row.
        option: what the user says of the columns.
        sample: the first rows [m, columns] of an array without names.
    """
    if dtype.names:
        found = find_columns(dtype.names)
        if len(found) == len(ORDER):
            return dict(found)
        return f"the fields {', '.join(dtype.names)[:80]} do not name each of t, x, y and p once"
    names = column_names(option) if option is not None else None
    if names is None:
        if columns != len(ORDER):
            return f"rows of {columns} columns; expected t, x, y and p; say which with columns=, such as t,x,y,p,_"
        if dtype.kind not in "iufb":
            return f"the array is {dtype}; expected numbers"
        usual = sample is None or not len(sample)
        names = list(ORDER) if usual else guess_columns(np.asarray(sample, np.float64))
        if names is None:
            return ASK_COLUMNS
    if not set(names) <= {*ORDER, "_"}:
        return "times in two columns are read from text only; join them into one, in µs"
    if len(names) != columns:
        return f"rows of {columns} columns, but columns= names {len(names)}"
    return {role: (slice(None), names.index(role)) for role in ORDER}
