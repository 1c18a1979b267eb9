"""Whether the labels of a file meet the stream at all, and by how much to shift them where they do not."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from stream_ottt.errors import UsageError
from stream_ottt.settings import UNITS_US

LONGEST = 366 * 24 * UNITS_US["h"]
"""No stream goes on for longer, µs: labels that begin later are those of another clock."""

Span = tuple[int, int]
"""Start (inclusive) and end (exclusive), µs."""
DATED = 10**15
"""Times from here on are µs since 1970, of 2001 and later."""
DAY = 24 * UNITS_US["h"]
MISTAKEN = {"ms": Fraction(1000), "s": Fraction(1_000_000), "ns": Fraction(1, 1000)}
"""What labels may have been written in, µs."""


def misfit(labels: Span | None, stream: tuple[int, int | None], *, name: str) -> str | None:
    """One line where no label can meet the stream, with both spans and the cure; None where some can.

    Args:
        labels: start of the first label and end of the last, µs; None without any.
        stream: time of the first event, and of the last if the stream has ended, µs.
        name: where the labels came from.
    """
    first, last = stream
    if labels is None or (labels[1] > first and labels[0] < (first + LONGEST if last is None else last)):
        return None
    return unmet(labels, stream, name=name)


def unmet(labels: Span, stream: tuple[int, int | None], *, name: str) -> str:
    """The line of :func:`misfit`, where it is known that no label meets the stream."""
    first, last = stream
    covers = f"begins at {first} µs" if last is None else f"covers {first} … {last} µs"
    if unit := mistaken_unit(labels, stream):
        cure = f"their times look like {unit}; write them in µs"
    elif labels[1] <= first:
        cure = 'with labels.shift = "auto" they count from its first event'
    elif labels[0] >= (first if last is None else last):
        cure = f'labels.shift = "-{labels[0] - first}us" moves the first label to its first event'
    else:
        cure = "they lie between its timesteps; labels.shift moves them"
    return f"{name}: no label meets the stream: labels cover {labels[0]} … {labels[1]} µs, the stream {covers}; {cure}"


def mistaken_unit(labels: Span, stream: tuple[int, int | None]) -> str | None:
    """The unit, ``ms``, ``s`` or ``ns``, in which labels would cover at least half of the stream, where in µs they are
    a thousandth of it, or a thousand times as long; None where they are in µs, or where the stream has not ended and
    its times are no dates."""
    first, last = stream
    for unit, factor in MISTAKEN.items():
        start, end = (t * factor for t in labels)
        if last is None:
            if first >= DATED and first - DAY <= start <= first + DAY:
                return unit
        elif start < last and first + last < 2 * end <= 2 * last + (last - first):
            return unit
    return None


def shift_of(shift: int | Literal["auto"], labels: Span, first: int, *, name: str) -> int:
    """What is to be added to the times of labels, µs.

    Args:
        shift: the setting. ``auto`` moves labels that all end before the first event so that they count from it.
        labels: start of the first label and end of the last, µs.
        first: time of the first event, µs.
        name: where the labels came from.

    Raises:
        UsageError: ``auto``, and the labels are those of another clock.
    """
    if shift != "auto":
        return shift
    if labels[0] >= first + LONGEST:
        raise UsageError(f'{misfit(labels, (first, None), name=name)}; labels.shift = "auto" cannot know that')
    return first if labels[1] <= first else 0
