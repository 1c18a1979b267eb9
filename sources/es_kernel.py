"""Event Stream's bytes, one event or pause after the other, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from stream_ottt.compiled import jit

INT: Any = np.int64
"""Bytes must become integers with a sign: with one without, numba makes a float."""


@jit(exact=True)
def decode(data: Any, out: Any, t: int, height: int, reach: Any) -> tuple[int, int, int]:
    """Fill ``out``, which has room for all, with the whole events at the beginning of ``data`` (uint8 [n]).

    Args:
        t: time of the event before, pauses included, µs.
        height: rows, for turning y.

    Returns:
        How many events there were, the bytes they took, and the time reached, µs.
    """
    right, bottom, times = reach
    n = at = 0
    while at < len(data):
        head = INT(data[at])
        if head >= 0xFE:
            t += 127 * (head & 1)
            at += 1
            continue
        if at + 5 > len(data):
            break
        t += head >> 1
        x = INT(data[at + 1]) | INT(data[at + 2]) << 8
        y = height - 1 - (INT(data[at + 3]) | INT(data[at + 4]) << 8)
        if x >= 0x8000:
            x = 0xFFFF
        if not 0 <= y < 0x8000:
            y = 0xFFFF
        right, bottom, times = max(right, x), max(bottom, y), times | t
        event = out[n]
        event.xy = x | y << 16
        event.t = t
        event.p = head & 1 == 1
        n += 1
        at += 5
    reach[:] = right, bottom, times
    return n, at, t
