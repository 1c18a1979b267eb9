"""Event Stream's bytes, one event or pause after the other, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from stream_ottt.compiled import jit

INT: Any = np.int64
"""Bytes must become integers with a sign: with one without, numba makes a float."""


@jit(exact=True)
def decode(data: Any, out: Any, t: int, height: int, reach: Any, atis: bool) -> tuple[int, int, int]:
    """Fill ``out``, which has room for all, with the whole events at the beginning of ``data`` (uint8 [n]).

    Args:
        t: time of the event before, pauses included, µs.
        height: rows, for turning y.
        atis: whether they are those of an ATIS, of which only the change-detection events are kept.

    Returns:
        How many events there were, the bytes they took, and the time reached, µs.
    """
    right, bottom, times = reach
    n = at = 0
    flags, pause = (2, 63) if atis else (1, 127)  # bits below the time, and the longest time that fits beside them
    first = 0xFC if atis else 0xFE
    while at < len(data):
        head = INT(data[at])
        if head >= first:
            t += pause * (head - first)
            at += 1
            continue
        if at + 5 > len(data):
            break
        t += head >> flags
        x = INT(data[at + 1]) | INT(data[at + 2]) << 8
        y = height - 1 - (INT(data[at + 3]) | INT(data[at + 4]) << 8)
        at += 5
        if atis and head & 1:
            continue
        if x >= 0x8000:
            x = 0xFFFF
        if not 0 <= y < 0x8000:
            y = 0xFFFF
        right, bottom, times = max(right, x), max(bottom, y), times | t
        event = out[n]
        event.xy = x | y << 16
        event.t = t
        event.p = head >> (flags - 1) & 1 == 1
        n += 1
    reach[:] = right, bottom, times
    return n, at, t
