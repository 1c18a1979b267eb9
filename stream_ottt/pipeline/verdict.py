"""Why events cannot be used, in one line with the likeliest cause and its cure; what is said of a guessed size."""

from __future__ import annotations

from typing import Any

from stream_ottt.events.misfits import Misfits
from stream_ottt.pipeline.source import Source

WRONG_SHARE = 0.02
"""A recording of which more cannot be used was probably read in a wrong way."""
MAX_PIXEL = 4096
"""No event camera has more pixels along a side."""
CURE_OF_TIMES = "tolerance=, such as tolerance=1s, puts those in their place that come late by less"
"""What to do about a few events whose times run in no order."""


def unusable(
    source: Source, read: int, outside: int, wrong_times: int, size: tuple[int, int], misfits: Misfits
) -> str | None:
    """Why so many events of a recording cannot be used, or None while they are few.

    Args:
        source: where they come from.
        read: events of the recording.
        outside: those outside the sensor, or before time zero.
        wrong_times: those whose times run in no order (:attr:`stream_ottt.events.clock.Clock.left_out`).
        size: width and height of the sensor.
        misfits: what is wrong with those outside, as far as it was looked at: not with several sources.
    """
    if outside - source.untimed + wrong_times <= WRONG_SHARE * read:
        return None
    share = "no event is usable" if outside + wrong_times == read else f"{outside + wrong_times:,} of {read:,} events"
    before_zero = misfits.before_zero - source.untimed
    if 2 * misfits.too_late > outside + wrong_times:
        return f"{share}: {_too_late(source)}"
    if wrong_times > outside:
        return (
            f"{share}: their times run in no order; put a file in order with sort=true, "
            "or jitter between packets with tolerance=, such as tolerance=10ms"
        )
    if before_zero <= 0 and not misfits.off_sensor:  # of several sources
        return f"{share}: they lie outside their sensor or before time zero; `stream-ottt info` says why of a recording"
    if before_zero > misfits.off_sensor:
        return f"{share}: {_before_zero(source, misfits)}"
    return f"{share}: {_off_sensor(source, size, misfits)}"


def _too_late(source: Source) -> str:
    cure = "say their unit with time=, such as time=ns" if _takes(source, "time") else "the recording is damaged"
    if unit := getattr(source.options, "time", None):
        cure = f"time={unit} is not their unit, or another column holds them"
    return f"their times are more than 285 years; {cure}"


def _before_zero(source: Source, misfits: Misfits) -> str:
    why = f"they lie before time zero, the first at {misfits.earliest:,} µs"
    shift: Any = getattr(source.options, "shift", None)
    if isinstance(shift, int) and shift < 0 and misfits.earliest - shift >= 0:
        return f"{why}, where shift={shift} puts them; shift=auto moves the first event to time zero"
    cure = "shift=auto moves the first event to time zero" if _takes(source, "shift") else "send times from 0 on"
    return f"{why}; {cure}"


def _off_sensor(source: Source, size: tuple[int, int], misfits: Misfits) -> str:
    width, height = size
    why = f"they lie outside the {width}×{height} sensor"
    if source.fits:
        return f"{why}; they fit with {source.fits}"
    x, y = misfits.largest
    columns = _takes(source, "columns") and not source.named
    if misfits.like_time and columns:
        name = min(misfits.like_time)
        return f"{why}, since {name} goes on like a time; say the order of the columns with columns=, such as x,y,t,p"
    if 2 * misfits.no_pixel > misfits.off_sensor or max(x, y) >= MAX_PIXEL:
        found = f"a coordinate of {max(x, y)}" if max(x, y) >= MAX_PIXEL else "coordinates below 0 or from 2^15 on"
        if columns:
            return f"{why}, with {found}; say the order of the columns with columns="
        option = next((f", to be said with {one}" for one in ("chip=", "width=&height=") if _takes(source, one)), "")
        return f"{why}, with {found}; it is damaged, or of a larger sensor{option}"
    why = f"{why}; the largest x is {x}, the largest y {y}"
    if width != height and 0 <= x < height and 0 <= y < width:
        named = ["x and y in columns="] if getattr(source.options, "columns", None) else []
        sized = ["width= and height="] if source.size_from == "option" and _takes(source, "width") else []
        if exchanged := sized + named:
            return f"{why}: exchange {', or '.join(exchanged)}"
    return f"{why}; {_other_sensor(source, x, y, width, height)}"


def _other_sensor(source: Source, x: int, y: int, w: int, h: int) -> str:
    """What to do where the sensor must be larger than w × h, by the largest x and y."""
    if _takes(source, "chip"):
        return "say another sensor with chip="
    if _takes(source, "width") and 0 <= max(x, y) < MAX_PIXEL:
        return f"say the size with width= and height=, at least width={max(x + 1, w)}&height={max(y + 1, h)}"
    return "the recording is damaged, or its size is wrong where it was written"


def _takes(source: Source, option: str) -> bool:
    return option.partition("=")[0] in type(source.options).model_fields


def size_note(source: Source, size: tuple[int, int]) -> str | None:
    """One line about a sensor's size that is a guess, None for one that is known."""
    if source.size_from != "guess":
        return None
    guess = f"{size[0]}×{size[1]}"
    return f"the sensor's size is a guess, {guess}: nothing in the recording says it; say width= and height="
