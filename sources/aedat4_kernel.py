"""The compiled way from AEDAT4's 16-byte events to EVENT_DTYPE: 1 ns per event instead of 5, once numba is loaded."""

from __future__ import annotations

from typing import Any

import numpy as np

from stream_ottt.events import EventArray
from stream_ottt.sources.compiled import compiled
from stream_ottt.sources.flatbuffer import Buffer

_WORDS = np.dtype([("xy", "<u4"), ("t_low", "<u4"), ("t_high", "<u4"), ("p", "?")])
"""EVENT_DTYPE as the words that it is copied in."""


@compiled
def _copy(words: Any, out: Any) -> None:
    for i in range(len(out)):
        event, w = out[i], 4 * i
        event.t_low = words[w]
        event.t_high = words[w + 1]
        event.xy = words[w + 2]
        event.p = words[w + 3] & 0xFF != 0


def copy_events(records: Buffer, out: EventArray) -> None:
    """As :class:`~stream_ottt.sources.aedat4_events.EventCopier`."""
    _copy(np.frombuffer(memoryview(records).toreadonly(), "<u4"), out.view(_WORDS))
