"""The inner loop of the encoding ``libcaer_cmp``, compiled by numba.

A word's upper 4 bits say what its lower 12 are: the upper (0) or lower (1) 12 bits of the time; x (2); an event's y
and, in bit 11, its polarity (3); the y at which a column of pixels begins, with polarity (4); which of the next
8 pixels of that column have an event (5).
"""

from __future__ import annotations

from typing import Any

from stream_ottt.compiled import jit


@jit(exact=True)
def libcaer_cmp(words: Any, out: Any, state: Any, reach: Any) -> tuple[int, int, int]:
    """As the loops of :mod:`stream_ottt.sources.prophesee.kernels`.

    state: time base in µs, the time's upper part, its lower part, x, a column's next y, its polarity.
    """
    start, high, low, x, base, polarity = state
    right, bottom, times = reach
    right = max(right, x)
    events = used = unknown = 0
    while used < len(words) and events + 8 <= len(out):
        word = words[used]
        kind = word >> 12
        value = word & 0xFFF
        if kind == 0x3:
            event = out[events]
            y = value & 0x7FF
            bottom, times = max(bottom, y), times | (start + (high | low))
            event.xy = x | y << 16
            event.t = start + (high | low)
            event.p = value >> 11 == 1
            events += 1
        elif kind == 0x5:
            for i in range(8):
                if value >> i & 1:
                    event = out[events]
                    event.xy = x | (base + i if base + i < 0x8000 else 0xFFFF) << 16
                    event.t = start + (high | low)
                    event.p = polarity == 1
                    events += 1
            base += 8
            bottom, times = max(bottom, base - 1), times | (start + (high | low))
        elif kind == 0x2:
            x = value & 0x7FF
            right = max(right, x)
        elif kind == 0x4:
            base = value & 0x7FF
            polarity = value >> 11
        elif kind == 0x1:
            low = value
        elif kind == 0x0:
            high = value << 12
        else:
            unknown += 1
        used += 1
    state[:] = start, high, low, x, base, polarity
    reach[:] = right, bottom, times
    return events, used, unknown
