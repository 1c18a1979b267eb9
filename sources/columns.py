"""Columns of events: their names, their units, their values as events. Shared by all table-like formats."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from stream_ottt.events.packet import EVENT_DTYPE, EventArray, make_events
from stream_ottt.pipeline.source import FileConfig

ORDER = ("t", "x", "y", "p")
"""The columns of an event: time, pixel column and row from the top-left corner, polarity."""

PLACES = (
    *("coordinate", "coordinates", "coord", "coords", "pos", "position", "positions"),
    *("pixel", "pixels", "addr", "address", "addresses"),
)
ALIASES = {
    "t": ("t", "ts", "time", "times", "timestamp", "timestamps", "time_stamp", "stamp"),
    "x": ("x", "xs", "col", "column", *(f"x_{w}" for w in PLACES), *(f"{w}_x" for w in PLACES), "xpos", "xaddr"),
    "y": ("y", "ys", "row", *(f"y_{w}" for w in PLACES), *(f"{w}_y" for w in PLACES), "ypos", "yaddr"),
    "p": ("p", "ps", "on", "pol", "pols", "polarity", "polarities", "sign"),
}
"""Names under which each column is recognised, whatever their case."""

PREFIX = re.compile(r"^(raw_|dvs_|cd_)?(events?)[_.]")
"""What may stand before such a name."""

PIXELS = re.compile(r"[_ ]*[\[(](px|pix|pixels?|[-+01/,;| ]+)[\])]$")
"""What may stand behind it."""

Unit = Literal["s", "ms", "us", "ns"]
EXPONENTS: dict[str, int] = {"s": 6, "ms": 3, "us": 0, "ns": -3}
"""Unit of time → the power of ten that makes µs of it."""

UNIT_NAMES = {
    "s": ("s", "sec", "secs", "second", "seconds"),
    "ms": ("ms", "msec", "msecs", "millisecond", "milliseconds"),
    "us": ("us", "µs", "usec", "usecs", "microsecond", "microseconds"),
    "ns": ("ns", "nsec", "nsecs", "nanosecond", "nanoseconds"),
}
"""How a column's name may end to say its unit: ``t_us``, ``time [s]``, ``timestamp(ns)``."""

SECONDS = re.compile(r"(.*?)(s|secs?|seconds?)")
PART = re.compile(r"(.*?)(n|nano|u|µ|micro|m|milli)(s|secs?|seconds?)")
"""Names of two columns that say a time together: whole seconds, and the part of a second beside them."""
PARTS: dict[str, Unit] = {"+ns": "ns", "+us": "us", "+ms": "ms"}
"""The role of such a part → its unit."""

FAR = 2**62
"""µs. What lies beyond is no time; it is kept there, and judged by the reader of the stream."""
EXACT_FLOAT = float(2**53)
"""Beyond it not every whole number is a float64."""

Columns = Mapping[str, npt.NDArray[Any]]
"""The columns of :data:`ORDER`, each [n]."""


class TableConfig(FileConfig):
    """Options of table-like recordings: CSV, NumPy, HDF5, MAT.

    Attributes:
        width: sensor width in pixels; None takes what the file says, else a guess from the largest x.
        height: sensor height in pixels; None takes what the file says, else a guess from the largest y.
        columns: what the columns are, in the file's order, such as ``t,x,y,p``, with ``_`` for one to skip; None
            believes their names, or the values where these leave one reading.
        time: unit of the times: ``s``, ``ms``, ``us`` or ``ns``, rounded to the nearest µs, halves up; None finds it
            from the column's name or the values where these leave one, and takes µs for whole numbers.
        pixels: ``floor`` cuts off fractions of coordinates; ``whole`` takes them for damage.
    """

    width: int | None = Field(default=None, ge=1, le=2**15)
    height: int | None = Field(default=None, ge=1, le=2**15)
    columns: str | None = None
    time: Unit | None = None
    pixels: Literal["whole", "floor"] = "whole"

    @field_validator("columns")
    @classmethod
    def _names_all(cls, value: str | None) -> str | None:
        if value is not None:
            column_names(value)
        return value


def column_names(option: str) -> list[str]:
    """Roles from an option: ``"txyp"``, one letter each, or ``"x,y,polarity,_,t"`` with ``_`` for one to skip, or
    ``"sec,nsec,x,y,p"``.

    Raises:
        ValueError: a column is missing, unknown or named twice.
    """
    names = [n.strip() for n in option.split(",")] if "," in option else list(option.strip())
    roles = roles_of(names)
    if any(n != "_" and role == "_" for n, role in zip(names, roles, strict=True)) or not names_all(roles):
        raise ValueError(f"{option!r} does not name each of t, x, y and p once; write 't,x,y,p' in the file's order")
    return roles


def roles_of(names: list[str]) -> list[str]:
    """The role of each name, ``_`` for those without one.

    Where two columns say the time, the seconds' role is ``t`` and the other's one of :data:`PARTS`.
    """
    found = find_columns(names)
    roles = {name: role for role, name in found.items()}
    if "t" not in found:
        roles |= _time_in_two(names)
    return [roles.get(n, "_") for n in names]


def names_all(roles: list[str]) -> bool:
    """Whether each of t, x, y and p is among some roles."""
    return set(ORDER) <= set(roles)


def _time_in_two(names: list[str]) -> dict[str, str]:
    """Name → role of the one pair of columns that are called ``sec`` and ``nsec``, or ``ts.secs`` and ``ts.nsecs``."""
    seconds = {m[1]: n for n in names if (m := SECONDS.fullmatch(n.strip().lower())) and not PART.fullmatch(m[0])}
    parts = [(n, m) for n in names if (m := PART.fullmatch(n.strip().lower())) and m[1] in seconds]
    if len(parts) != 1:
        return {}
    name, match = parts[0]
    return {seconds[match[1]]: "t", name: f"+{match[2].replace('µ', 'u')[0]}s"}


def find_columns(names: Iterable[str]) -> dict[str, str]:
    """Which of ``names`` is which column: role → name, only for the roles that exactly one name fits."""
    names = list(names)
    found: dict[str, str] = {}
    for role, aliases in ALIASES.items():
        fits = [n for n in names if _split_unit(n)[0] in aliases]
        if len(fits) == 1 and (role == "t" or unit_in(fits[0]) is None):
            found[role] = fits[0]
    return found


def unit_in(name: str) -> Unit | None:
    """The unit of time that a column's name says."""
    return _split_unit(name)[1]


def _split_unit(name: str) -> tuple[str, Unit | None]:
    """A name in lower case without prefix and unit; the unit."""
    plain = PIXELS.sub("", PREFIX.sub("", name.strip().strip("'\"").lower()))
    match = re.fullmatch(r"(.*?)[_ ]*[\[(]?([a-zµ]+)[\])]?", plain)
    for unit, words in UNIT_NAMES.items():
        # "ts" and "xs" are names of their own: a unit stands apart.
        if match and match[2] in words and match[1] and len(match[1] + match[2]) < len(plain):
            return match[1], unit  # type: ignore[return-value]
    if match and len(match[1] + match[2]) == len(plain):
        for unit, words in UNIT_NAMES.items():
            for stem in ("time", "timestamp"):
                if plain.startswith(stem) and plain.removeprefix(stem) in set(words) - {"s"}:
                    return stem, unit  # type: ignore[return-value]
    return plain, None


def dtype_problem(role: str, dtype: np.dtype[Any]) -> str | None:
    """Why a column of this dtype cannot be read, or None when it can."""
    if role == "t" and dtype.kind in "mM" and stored_unit(dtype) is not None:
        return None
    if dtype.kind in "iufb" and dtype.itemsize <= 8 and (role == "p" or dtype.kind != "b"):
        return None
    return f"column {role!r} is {dtype}; expected numbers"


def from_0(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Columns whose coordinates and polarities count from 1, as MATLAB has them, counting from 0."""
    return {**columns, **{role: columns[role] - np.array(1, columns[role].dtype) for role in "xyp"}}


def stored_unit(dtype: np.dtype[Any]) -> Unit | None:
    """The unit in which NumPy's datetime64 or timedelta64 counts; None for days and the like, and other types."""
    unit, count = np.datetime_data(dtype) if dtype.kind in "mM" else ("", 0)
    return unit if unit in EXPONENTS and count == 1 else None  # type: ignore[return-value]


def to_us(times: npt.NDArray[Any], unit: Unit) -> tuple[npt.NDArray[np.int64], int]:
    """Times in µs, rounded to the nearest, halves up; and how many there are before the first that is no number.

    Whole numbers are exact; what lies beyond ``FAR`` comes out as ``FAR``.
    """
    if times.dtype.kind == "f":
        with np.errstate(all="ignore"):
            values = times.astype(np.float64) * 10.0 ** EXPONENTS[unit]
            bad = ~np.isfinite(values)
            n = int(bad.argmax()) if bad.any() else len(values)
            rounded = np.floor(values[:n] + 0.5) if unit != "us" else np.rint(values[:n])
            return np.clip(rounded, -float(FAR), float(FAR)).astype(np.int64), n
    if times.dtype.kind in "mM":
        numbers = to_us(times.astype(np.int64), unit)[0]
        missing = np.isnat(times)
        return numbers, int(missing.argmax()) if missing.any() else len(times)
    if times.dtype == np.uint64:
        times = np.minimum(times, np.uint64(2**63 - 1000))
    t = times.astype(np.int64)
    if unit == "ns":
        t = (np.minimum(t, 2**63 - 1000) + 500) // 1000
    elif unit != "us":
        factor = 10 ** EXPONENTS[unit]
        t = np.clip(t, -(FAR // factor), FAR // factor) * factor
    return t, len(t)


def pack(columns: Columns, unit: Unit = "us", *, floor: bool = False) -> tuple[EventArray, str | None]:
    """Events [m ≤ n] up to the first row that is none, and what is wrong with that row (None when all are events).

    A row is no event when a value is NaN, a coordinate has a fraction (without ``floor``), a time in µs has one, or the
    polarity is none of -1, 0, 1, false, true. Wherever the pixel lies and whatever the time: that is for the reader
    of the stream to judge.
    """
    m, problem = len(columns["t"]), None
    whole: dict[str, npt.NDArray[Any]] = {}
    for role in ORDER:
        column = np.asarray(columns[role])
        if role == "t" and (unit != "us" or column.dtype.kind in "mM"):
            whole[role], n = to_us(column, unit)
            what = f"t is {column[n]}, which is no number; leave that event out" if n < len(column) else ""
        else:
            whole[role], n, what = _whole(role, column, floor=floor and role in "xy")
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
    t = to_us(whole["t"][:m], "us")[0]
    return make_events(whole["x"][:m], whole["y"][:m], t, p[:m]), problem


def _whole(role: str, column: npt.NDArray[Any], *, floor: bool = False) -> tuple[npt.NDArray[Any], int, str]:
    """The column as integers up to the first value that is none, how many these are, what is wrong there."""
    if column.dtype.kind != "f":
        return column, len(column), ""
    with np.errstate(all="ignore"):
        values = column.astype(np.float64)
        if floor:
            values = np.floor(values)
        bad = ~(np.abs(values) <= EXACT_FLOAT) | (values != np.trunc(values))
    n = int(bad.argmax()) if bad.any() else len(values)
    hint = {"t": "; say the unit with time=, such as time=s", "p": ""}.get(role, "; pixels=floor cuts fractions off")
    problem = f"{role} is {values[n]:g}, which is no whole number{hint}" if n < len(values) else ""
    if n < len(values) and not np.isfinite(values[n]):
        problem = f"{role} is {values[n]:g}, which is no number; leave that event out"
    return values[:n].astype(np.int64), n, problem
