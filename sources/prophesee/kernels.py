"""The inner loops of Prophesee's formats, compiled by numba: one pass from a file's words to packed events.

Each takes words, an array of events to fill (as :data:`~stream_ottt.sources.reach.WORDS`), the state that lasts from
call to call (int64) and the events' reach, and returns how many events it wrote, how many words it used, and how many
of these are of a type that the format does not have. It stops where there may be no room for the next word's events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from stream_ottt.compiled import jit

Kernel = Callable[[Any, Any, Any, Any], tuple[int, int, int]]

EVT2_WRAP = (1 << 28) * 15 // 16
EVT3_WRAP = (1 << 12) * 15 // 16
DAT_WRAP = (1 << 32) * 15 // 16
"""A time that falls by nearly its whole range has overflowed; one that falls by less is late."""


DE_BRUIJN = 0x077CB531
PLACE = np.argsort([(DE_BRUIJN << place & 0xFFFFFFFF) >> 27 for place in range(32)])
"""By the upper five bits of DE_BRUIJN times a single bit: the bit's place."""


@jit(exact=True)
def _time_high(high: Any, last: Any, wraps: Any) -> tuple[Any, Any, Any]:
    """A TIME_HIGH of EVT 2.0 and 2.1: it, overflows, and the time in µs with its low bits zero."""
    if last - high >= EVT2_WRAP:
        wraps += 1
    return high, wraps, (high + (wraps << 28)) << 6


@jit(exact=True)
def evt2(words: Any, out: Any, state: Any, reach: Any) -> tuple[int, int, int]:
    """EVT 2.0: uint32 words, an event each. state: time in µs with its low bits zero, TIME_HIGH, overflows."""
    time, last, wraps = state[0], state[1], state[2]
    right, bottom, times = reach
    times |= time
    events = used = unknown = 0
    for word in words:
        kind = word >> 28
        if kind <= 1:
            if events == len(out):
                break
            event = out[events]
            x, y = (word >> 11) & 0x7FF, word & 0x7FF
            right, bottom = max(right, x), max(bottom, y)
            event.xy = x | y << 16
            event.t = time | ((word >> 22) & 0x3F)
            event.p = kind == 1
            events += 1
        elif kind == 0x8:
            last, wraps, time = _time_high(word & 0xFFFFFFF, last, wraps)
            times |= time
        elif kind != 0xA and kind != 0xE and kind != 0xF:
            unknown += 1
        used += 1
    state[0], state[1], state[2] = time, last, wraps
    reach[:] = right, bottom, times
    return events, used, unknown


@jit(exact=True)
def evt21(words: Any, out: Any, state: Any, reach: Any) -> tuple[int, int, int]:
    """EVT 2.1: int64 words, up to 32 events each: a word as in EVT 2.0, and which of the 32 pixels from x on have one.

    state: time in µs with its low bits zero, TIME_HIGH, overflows, 1 where the pixels stand in a word's upper half.
    """
    time, last, wraps, swapped = state
    right, bottom, times = reach
    times |= time
    events = used = unknown = 0
    while used < len(words) and events + 32 <= len(out):
        head, pixels = (words[used] >> 32) & 0xFFFFFFFF, words[used] & 0xFFFFFFFF
        if swapped:
            head, pixels = pixels, head
        kind = head >> 28
        if kind <= 1:
            x, y = (head >> 11) & 0x7FF, head & 0x7FF
            bottom = max(bottom, y)
            while pixels:
                lowest = pixels & -pixels
                pixels ^= lowest
                place = x + PLACE[(lowest * DE_BRUIJN & 0xFFFFFFFF) >> 27]
                event = out[events]
                right = max(right, place)
                event.xy = place | y << 16
                event.t = time | ((head >> 22) & 0x3F)
                event.p = kind == 1
                events += 1
        elif kind == 0x8:
            last, wraps, time = _time_high(head & 0xFFFFFFF, last, wraps)
            times |= time
        elif kind != 0xA and kind != 0xE and kind != 0xF:
            unknown += 1
        used += 1
    state[:] = time, last, wraps, swapped
    reach[:] = right, bottom, times
    return events, used, unknown


@jit(exact=True)
def evt3(words: Any, out: Any, state: Any, reach: Any) -> tuple[int, int, int]:
    """EVT 3.0: uint16 words, up to 12 events each.

    state: time in µs, TIME_HIGH, overflows, upper part of the time in µs, y, a vector's next x, its polarity.
    """
    time, last, wraps, upper, y, base, polarity = state
    right, bottom, times = reach
    bottom, times = max(bottom, y), times | time
    events = used = unknown = 0
    while used < len(words) and events + 12 <= len(out):
        word = words[used]
        kind = word >> 12
        value = word & 0xFFF
        if kind == 0x2:
            event = out[events]
            x = value & 0x7FF
            right = max(right, x)
            event.xy = x | y << 16
            event.t = time
            event.p = value >> 11 == 1
            events += 1
        elif kind == 0x0:
            y = value & 0x7FF
            bottom = max(bottom, y)
        elif kind == 0x4 or kind == 0x5:
            n = 12 if kind == 0x4 else 8
            for i in range(n):
                if value >> i & 1:
                    event = out[events]
                    event.xy = (base + i if base + i < 0x8000 else 0xFFFF) | y << 16
                    event.t = time
                    event.p = polarity == 1
                    events += 1
            base += n
            right = max(right, base - 1)
        elif kind == 0x3:
            base = value & 0x7FF
            polarity = value >> 11
        elif kind == 0x6:
            if upper >= 0:
                time = upper | value
                times |= time
        elif kind == 0x8:
            if last - value >= EVT3_WRAP:
                wraps += 1
            last = value
            upper = (value + (wraps << 12)) << 12
            time = upper
            times |= time
        elif kind != 0x7 and kind != 0xA and kind != 0xE and kind != 0xF:
            unknown += 1
        used += 1
    state[:] = time, last, wraps, upper, y, base, polarity
    reach[:] = right, bottom, times
    return events, used, unknown


@jit(exact=True)
def _dat(words: Any, out: Any, state: Any, reach: Any, x_bits: int, y_bits: int, polarity: int) -> tuple[int, int, int]:
    """DAT with fields of constant widths; ``polarity`` is a mask for the bits above x and y."""
    last, wraps = state[0], state[1]
    right, bottom, times = reach
    n = min(len(words), len(out))
    for i in range(n):
        low = words[i] & 0xFFFFFFFF
        high = (words[i] >> 32) & 0xFFFFFFFF
        if last - low >= DAT_WRAP:
            wraps += 1
        last = low
        event = out[i]
        x, y = high & ((1 << x_bits) - 1), (high >> x_bits) & ((1 << y_bits) - 1)
        right, bottom = max(right, x), max(bottom, y)
        event.xy = x | y << 16
        event.t = low + (wraps << 32)
        event.p = high >> (x_bits + y_bits) & polarity != 0
    state[0], state[1] = last, wraps
    reach[:] = right, bottom, times
    return n, n, 0


@jit(exact=True)
def dat(words: Any, out: Any, state: Any, reach: Any) -> tuple[int, int, int]:
    """DAT: int64 words of time (32 bits), x (14), y (14) and polarity (4), an event each. state: time, overflows."""
    return _dat(words, out, state, reach, 14, 14, 0xF)


@jit(exact=True)
def dat_1(words: Any, out: Any, state: Any, reach: Any) -> tuple[int, int, int]:
    """DAT of version 1, with x of 9 bits, y of 8 and polarity of one; as :func:`dat`."""
    return _dat(words, out, state, reach, 9, 8, 1)
