"""What a table of events says of itself where it has no names: its columns, its unit of time, its sensor.

A guess is made only where the values leave one reading; else the user is asked for the option.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_ottt.errors import InputError
from stream_ottt.events.misfits import like_time
from stream_ottt.events.packet import EventPacket
from stream_ottt.pipeline.source import FileSource
from stream_ottt.pipeline.verdict import MAX_PIXEL, WRONG_SHARE
from stream_ottt.sources.columns import ORDER, Unit, stored_unit, unit_in

SAMPLE_ROWS = 4096
"""Rows at the beginning that are looked at."""
ENOUGH_ROWS = 8
"""With fewer, only the usual order t, x, y, p is taken."""
NS_FROM = 10**17
"""Whole times from here on are ns since 1970: as µs they would be 3,000 years."""
FRACTIONS = 0.5
"""Share of times with fractions from which on these are meant: a few are damage, which is named in its place."""
FASTEST = 20
"""Events per µs, on average, that no recording reaches: then the unit is not µs."""
MS_SINCE_1970 = (10**12, 4 * 10**12)
"""Times between these are ms of the years 2001 to 2096, or µs of a clock that has run for 11 to 46 days."""
FASTEST_THERE = 1
"""Events per µs, on average, from which on they are taken for the former."""
RATED_EVENTS = 1000
"""With fewer events a rate says nothing."""

SENSORS = ((34, 34), (128, 128), (240, 180), (304, 240), (320, 320), (346, 260), (640, 480), (1280, 720), (1280, 800))
"""Sensors (width, height) that are guessed, the smallest first: N-MNIST's, DVS128, DAVIS240, ATIS, GenX320, DAVIS346,
VGA, HD, CeleX."""

PAIRS = ("sensor_resolution", "sensor_size", "resolution")
"""What two numbers are called that say the sensor's size."""


def said_pair(value: Any) -> tuple[int, int] | None:
    """(width, height), the larger first, where ``value`` is two numbers of pixels; else None."""
    sides = np.asarray(value).reshape(-1)
    if sides.shape != (2,) or sides.dtype.kind not in "iuf":
        return None
    if not all(1 <= side <= 2**15 and side == int(side) for side in sides):
        return None
    return int(sides.max()), int(sides.min())


def guess_columns(sample: npt.NDArray[np.float64]) -> list[str] | None:
    """The order of four columns without names, or None where the values leave several readings or none.

    Args:
        sample: the first rows, [n, 4].

    In each reading x stands before y, times do not decrease, polarities are 0 and 1 or -1 and 1, and pixels lie on
    a sensor. Where no column is in order, the time is one that cannot be a pixel.
    """
    if sample.shape[1] != len(ORDER):
        return None
    finite = np.isfinite(sample).all(axis=1)
    sample = sample if finite.all() else sample[: int(finite.argmin())]  # what is none is named in its place
    if not len(sample):
        return list(ORDER)
    orders = [o for o in permutations(range(4)) if o[1] < o[2]]
    fits = [o for o in orders if _can_be(sample, o)]
    in_order = [o for o in fits if bool((np.diff(sample[:, o[0]]) >= 0).all())]
    usual = (0, 1, 2, 3)
    found = in_order or [o for o in fits if _no_pixel(sample[:, o[0]])]
    if usual in found:
        found = [usual]
    if len(found) != 1 or (found[0] != usual and len(sample) < ENOUGH_ROWS):
        return None
    names = [""] * len(ORDER)
    for role, at in zip(ORDER, found[0], strict=True):
        names[at] = role
    return names


def _can_be(sample: npt.NDArray[np.float64], order: tuple[int, ...]) -> bool:
    _, x, y, p = (sample[:, k] for k in order)
    pixels = all(bool(((c >= 0) & (c < 2 * MAX_PIXEL)).all()) for c in (x, y))
    polarity = set(np.unique(p).tolist())
    return pixels and (polarity <= {0.0, 1.0} or polarity <= {-1.0, 1.0})


def _no_pixel(column: npt.NDArray[np.float64]) -> bool:
    return bool((column >= 2 * MAX_PIXEL).any() or (column != np.trunc(column)).any())


def guess_unit(sample: npt.NDArray[Any], name: str = "") -> tuple[Unit | None, bool]:
    """The unit of some times, and whether that is certain: said by the column's name, or the only one possible.

    Args:
        sample: the first times, [n].
        name: the column's name.

    Returns:
        None when times have fractions that may be of seconds or of milliseconds. µs for whole numbers, uncertain.
    """
    if said := stored_unit(sample.dtype) or unit_in(name):
        return said, True
    if sample.dtype.kind == "f":
        exact = sample[np.isfinite(sample)]
        values = exact.astype(np.float64)
        if len(values) and np.mean(values != np.trunc(values)) >= FRACTIONS:
            thousandths = values * 1000
            error = np.spacing(np.abs(exact)).astype(np.float64) * 2000  # of its own type, which may be float32
            coarse = np.abs(thousandths - np.rint(thousandths)) <= np.maximum(1e-6, error)
            # A part of a thousandth of a ms would be less than a µs.
            return (None, False) if coarse.all() else ("s", True)
    if len(sample) and sample.min() >= NS_FROM and sample.max() < 2**63:
        return "ns", True
    return "us", False


def sensor_size(
    packets: Iterable[EventPacket], source: FileSource, said: tuple[int | None, int | None]
) -> tuple[int, int]:
    """(width, height), and notes in ``source.size_from`` where it comes from: the options, the file, or a guess.

    Args:
        packets: all events; read only where something is missing.
        source: whose options ``width`` and ``height`` come first.
        said: what the file says.

    Raises:
        InputError: no sensor has so many pixels, so that the columns must be others.
    """
    config: Any = source.config
    width, height = config.width or said[0], config.height or said[1]
    if width is not None and height is not None:
        source.size_from = "option" if config.width or config.height else "file"
        return width, height
    largest, beyond, count = np.zeros(2, np.int64), 0, 0
    farthest, times = 0, frozenset[str]()
    with suppress(InputError):  # the damage is raised when the stream comes to it
        for packet in packets:
            sides = np.stack([packet.events["x"], packet.events["y"]])
            inside = ((sides >= 0) & (sides < MAX_PIXEL)).all(axis=0)
            count += len(packet)
            beyond += len(packet) - int(np.count_nonzero(inside))
            farthest = max(farthest, int(sides.max()))
            times |= frozenset() if inside.all() else like_time(packet.events)
            if inside.any():
                largest = np.maximum(largest, sides[:, inside].max(axis=1))
    source.size_from = "guess"
    if beyond > WRONG_SHARE * count:
        where = "a negative coordinate" if farthest < MAX_PIXEL else f"a coordinate of {farthest}"
        why = f", since {min(times)} goes on like a time" if times else f", such as {where}"
        cure = "; say the order of the columns with columns=, such as x,y,t,p"
        if source.named:
            cure = "; save it in whole pixels and with the right names"
        if not times:
            cure += ", or with width= and height= the size of a sensor that most of them lie on"
        raise source.fail(f"{beyond:,} of {count:,} events lie outside of any sensor{why}{cure}")
    guessed = guess_sensor(int(largest[0]) + 1, int(largest[1]) + 1)
    return width or guessed[0], height or guessed[1]


def guess_sensor(width: int, height: int) -> tuple[int, int]:
    """The smallest known sensor that holds so many pixels and of which they reach over half of each side; else the
    pixels themselves."""
    for w, h in SENSORS:
        if w / 2 < width <= w and h / 2 < height <= h:
            return w, h
    return width, height


def checked_rate(packets: Iterable[EventPacket], source: FileSource, coarse: str = "") -> Iterator[EventPacket]:
    """The packets; then an InputError where so many events in so little time mean that the times are not µs.

    Args:
        coarse: why times that lie close together may be the same, where the recording's numbers say it.
    """
    count, first, last = 0, 2**63, -(2**63)
    for packet in packets:
        yield packet
        if len(packet):
            t = packet.events["t"]
            count += len(packet)
            first, last = min(first, int(t.min())), max(last, int(t.max()))
    fastest = FASTEST_THERE if MS_SINCE_1970[0] <= first < MS_SINCE_1970[1] else FASTEST
    if count >= RATED_EVENTS and first == last:
        why = coarse or "they were written with too few digits, or another column holds them"
        raise source.fail(f"all {count:,} events have the same time, {first} µs; {why}")
    if count >= RATED_EVENTS and count > fastest * (last - first):
        raise source.fail(
            f"{count:,} events in {last - first} µs is more than a camera gives; "
            "say the unit of the times with ?time=ms (or s, us, ns)"
        )
