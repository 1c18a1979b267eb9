"""Refractory period: a pixel that had an event is not heard for a while.

An event of a pixel is kept when t − t' > ``period``, where t' is the time of the pixel's latest event that was kept
(``since = kept``, as in a neuron), or of its latest event, kept or not (``since = any``, as in tonic's
``RefractoryPeriod``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field

from stream_ottt.compiled import jit
from stream_ottt.events.packet import EventArray
from stream_ottt.filters.base import NEVER, Filter, FilterConfig, unsigned
from stream_ottt.settings import Duration


class RefractoryConfig(FilterConfig):
    """Options of the refractory period.

    Attributes:
        period: how long a pixel is not heard, µs.
        since: the period begins at an event that was kept, or at any.
    """

    period: Duration = Field(1_000, ge=0, lt=NEVER)
    since: Literal["kept", "any"] = "kept"


class RefractoryFilter(Filter):
    """Leaves out events that follow too soon on one of the same pixel."""

    name = "refractory"
    Config = RefractoryConfig
    argument = "period"
    config: RefractoryConfig

    def __init__(self, config: RefractoryConfig, width: int, height: int) -> None:
        super().__init__(config, width, height)
        self._last = np.full((height, width), NEVER, np.uint64)

    def __call__(self, events: EventArray) -> EventArray:
        """The events that come later than the period after the one before."""
        kept = np.empty(len(events), events.dtype)
        n = _sift(
            unsigned(events),
            unsigned(kept),
            self._last,
            np.uint64(self.config.period),
            self.config.since == "any",
        )
        return kept[:n]

    def state_dict(self) -> dict[str, Any]:
        """``last``: uint64 [height, width], when each pixel's period began, µs; 2⁶³ for never."""
        return {"last": self._last.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that :meth:`state_dict` gave."""
        super().load_state_dict(state)
        self._last[:] = state["last"]


@jit
def _sift(events: Any, kept: Any, last: Any, period: Any, since_any: bool) -> int:
    n = 0
    for i in range(len(events)):
        event = events[i]
        x, y, t = np.intp(event.x), np.intp(event.y), event.t
        heard = t - last[y, x] > period
        last[y, x] = t if heard or since_any else last[y, x]
        # Written in any case, and overwritten by the next one if it is not kept: a branch would take longer.
        kept[n] = event
        n += heard
    return n
