"""From AEDAT4's 16-byte events to the 13 bytes of EVENT_DTYPE, in one compiled pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from stream_ottt.compiled import jit
from stream_ottt.events.packet import EventArray
from stream_ottt.sources.aedat4.flatbuffer import Buffer
from stream_ottt.sources.reach import Reach

_WORDS = np.dtype([("xy", "<u4"), ("t_low", "<u4"), ("t_high", "<u4"), ("p", "?")])
"""EVENT_DTYPE as the words that it is copied in."""


@jit(exact=True)
def _copy(words: Any, out: Any, reach: Any) -> None:
    right, bottom, times = reach
    for i in range(len(out)):
        event, w = out[i], 4 * i
        xy = np.int64(words[w + 2])
        event.t_low = words[w]
        event.t_high = words[w + 1]
        event.xy = xy
        event.p = words[w + 3] & 0xFF != 0
        right, bottom, times = max(right, xy & 0xFFFF), max(bottom, xy >> 16), times | np.int32(words[w + 1])
    reach[:] = right, bottom, times


def copy_events(records: Buffer, out: EventArray, reach: Reach) -> None:
    """Fill ``out`` [n], contiguous, from the ``n`` records that a buffer holds, and keep how far the events go."""
    _copy(np.frombuffer(memoryview(records).toreadonly(), "<u4"), out.view(_WORDS), reach.values)
