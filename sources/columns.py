"""Tables of event columns: their names, their values, their packets. Shared by NPZ, NPY, CSV and HDF5."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EVENT_DTYPE, PACKET_EVENTS, EventArray, EventPacket, make_events
from stream_ottt.pipeline.source import FileSource

ORDER = ("t", "x", "y", "p")
"""The columns of an event: time in µs, pixel column and row from the top-left corner, polarity."""

ALIASES = {
    "t": ("t", "ts", "time", "timestamp", "timestamps", "t_us", "time_us", "timestamp_us"),
    "x": ("x", "xs"),
    "y": ("y", "ys"),
    "p": ("p", "ps", "on", "pol", "polarity", "polarities"),
}
"""Names under which each column is recognised, whatever their case."""

EXACT_FLOAT = float(2**53)
"""Beyond it not every whole number is a float64."""

Columns = Mapping[str, npt.NDArray[Any]]
"""The columns of :data:`ORDER`, each [n]."""


class Table(Protocol):
    """Rows of events that can be read in pieces."""

    def __len__(self) -> int:
        """How many rows can be read."""

    def read(self, start: int, stop: int) -> Columns:
        """Rows [start, stop). Raises InputError where they are damaged."""


def column_names(option: str) -> list[str]:
    """Column names from an option: ``"txyp"``, one letter each, or ``"x,y,polarity,_,t"`` with ``_`` for one
    to skip.

    Raises:
        ValueError: a column is missing, unknown or named twice.
    """
    names = [n.strip() for n in option.split(",")] if "," in option else list(option.strip())
    found = find_columns(names)
    if any(n != "_" and n not in found.values() for n in names) or len(found) < len(ORDER):
        raise ValueError(f"{option!r} does not name each of t, x, y and p once; write 't,x,y,p' in the file's order")
    roles = {name: role for role, name in found.items()}
    return [roles.get(n, "_") for n in names]


def find_columns(names: Iterable[str]) -> dict[str, str]:
    """Which of ``names`` is which column: role → name, only for the roles that exactly one name fits."""
    names = list(names)
    found: dict[str, str] = {}
    for role, aliases in ALIASES.items():
        fits = [n for n in names if n.strip().lower() in aliases]
        if len(fits) == 1:
            found[role] = fits[0]
    return found


def dtype_problem(role: str, dtype: np.dtype[Any]) -> str | None:
    """Why a column of this dtype cannot be read, or None when it can."""
    if dtype.kind in "iufb" and dtype.itemsize <= 8 and (role == "p" or dtype.kind != "b"):
        return None
    return f"column {role!r} is {dtype}; expected integers"


def _whole(role: str, column: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], int, str]:
    """The column as integers up to the first value that is none, how many these are, what is wrong there."""
    if column.dtype.kind != "f":
        return column, len(column), ""
    with np.errstate(all="ignore"):
        values = column.astype(np.float64)
        bad = ~(np.abs(values) <= EXACT_FLOAT) | (values != np.trunc(values))
    n = int(bad.argmax()) if bad.any() else len(values)
    hint = "; times are whole µs, so convert seconds first" if role == "t" else ""
    problem = f"{role} is {values[n]:g}, which is no whole number{hint}" if n < len(values) else ""
    return values[:n].astype(np.int64), n, problem


def pack(columns: Columns) -> tuple[EventArray, str | None]:
    """Events [m ≤ n] up to the first row that is none, and what is wrong with that row (None when all are
    events).

    A row is no event when a value is NaN or a fraction, or its polarity none of -1, 0, 1, false, true.
    Wherever the pixel lies and whatever the time: that is for the reader of the stream to judge.
    """
    whole: dict[str, npt.NDArray[Any]] = {}
    m, problem = len(columns["t"]), None
    for role in ORDER:
        whole[role], n, what = _whole(role, np.asarray(columns[role]))
        if n < m:
            m, problem = n, what
    p = whole["p"][:m]
    if p.dtype.kind != "b" and m:
        bad = (p > 1) | (p < -1)
        if bad.any():
            m = int(bad.argmax())
            problem = f"polarity is {p[m]}; expected 0 or 1, -1 or 1, or a boolean"
        p = p > 0
    if m == 0:
        return np.empty(0, EVENT_DTYPE), problem
    return make_events(whole["x"][:m], whole["y"][:m], whole["t"][:m].astype(np.int64), p[:m]), problem


def table_packets(
    table: Table, source: FileSource, width: int, height: int, start: int = 0, stop: int | None = None
) -> Iterator[EventPacket]:
    """The rows [start, stop) of a table as packets.

    Raises:
        InputError: naming the row, at the first one that is no event, after the packets before it.
    """
    stop = len(table) if stop is None else stop
    for at in range(start, stop, PACKET_EVENTS):
        events, problem = pack(table.read(at, min(at + PACKET_EVENTS, stop)))
        if len(events):
            yield EventPacket(events, width, height)
        if problem:
            raise source.fail(f"event {at + len(events)}: {problem}")


def sensor_size(packets: Iterable[EventPacket], width: int | None, height: int | None) -> tuple[int, int]:
    """(width, height): what is given, else 1 + the largest coordinate in ``packets``, read only if needed."""
    if width is not None and height is not None:
        return width, height
    x = y = 0
    with suppress(InputError):  # the damage is raised when the stream comes to it
        for packet in packets:
            x = max(x, int(packet.events["x"].max()))
            y = max(y, int(packet.events["y"].max()))
    return width or x + 1, height or y + 1
