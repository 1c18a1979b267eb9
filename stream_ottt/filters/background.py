"""Background activity: an event that nothing around it supports is noise.

The nearest-neighbour filter of Delbruck, "Frame-free dynamic digital vision", 2008. An event (x, y, t) is kept when at
least ``neighbours`` of the 8 pixels around (x, y) had an event in [t − time, t]. The pixel itself does not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field

from stream_ottt.compiled import jit
from stream_ottt.events.packet import EventArray
from stream_ottt.filters.base import NEVER, Filter, FilterConfig, unsigned
from stream_ottt.settings import Duration


class BackgroundConfig(FilterConfig):
    """Options of the background-activity filter.

    Attributes:
        time: how old a neighbour's latest event may be, µs.
        neighbours: pixels of the 8 around it that must support an event.
    """

    time: Duration = Field(5_000, ge=0, lt=NEVER)
    neighbours: int = Field(1, ge=1, le=8)


class BackgroundFilter(Filter):
    """Leaves out events that too few neighbours support."""

    name = "background"
    argument = "time"
    Config = BackgroundConfig
    config: BackgroundConfig

    def __init__(self, config: BackgroundConfig, width: int, height: int) -> None:
        super().__init__(config, width, height)
        # With a border of one pixel, which never has an event: the loop need not look for the sensor's edges.
        self._last = np.full((height + 2, width + 2), NEVER, np.uint64)

    def __call__(self, events: EventArray) -> EventArray:
        """The events that enough neighbours support."""
        kept = np.empty(len(events), events.dtype)
        n = _sift(
            unsigned(events),
            unsigned(kept),
            self._last,
            np.uint64(self.config.time),
            self.config.neighbours,
        )
        return kept[:n]

    def state_dict(self) -> dict[str, Any]:
        """``last``: uint64 [height, width], time of each pixel's latest event, µs; 2⁶³ for none yet."""
        return {"last": self._last[1:-1, 1:-1].copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that :meth:`state_dict` gave."""
        super().load_state_dict(state)
        self._last[1:-1, 1:-1] = state["last"]


@jit
def _sift(events: Any, kept: Any, last: Any, time: Any, neighbours: int) -> int:
    n = 0
    for i in range(len(events)):
        event = events[i]
        x, y, t = np.intp(event.x), np.intp(event.y), event.t
        support = 0
        support += t - last[y, x] <= time
        support += t - last[y, x + 1] <= time
        support += t - last[y, x + 2] <= time
        support += t - last[y + 1, x] <= time
        support += t - last[y + 1, x + 2] <= time
        support += t - last[y + 2, x] <= time
        support += t - last[y + 2, x + 1] <= time
        support += t - last[y + 2, x + 2] <= time
        last[y + 1, x + 1] = t
        # Written in any case, and overwritten by the next one if it is not kept: a branch would take longer.
        kept[n] = event
        n += support >= neighbours
    return n
