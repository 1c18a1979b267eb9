"""Flip: the mirrored picture. x becomes width − 1 − x, or y becomes height − 1 − y."""

from __future__ import annotations

from typing import Literal

from stream_ottt.events.packet import EventArray
from stream_ottt.filters.base import Filter, FilterConfig


class FlipConfig(FilterConfig):
    """Options of the flip.

    Attributes:
        axis: ``x``, left and right change places; ``y``, top and bottom do.
    """

    axis: Literal["x", "y"] = "x"


class FlipFilter(Filter):
    """Mirrors the events. None is left out."""

    name = "flip"
    Config = FlipConfig
    argument = "axis"
    config: FlipConfig

    def __call__(self, events: EventArray) -> EventArray:
        """All events, mirrored."""
        flipped = events.copy()
        axis = self.config.axis
        flipped[axis] = (self.width if axis == "x" else self.height) - 1 - events[axis]
        return flipped
