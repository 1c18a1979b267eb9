"""Transpose: rows become columns. (x, y) becomes (y, x)."""

from __future__ import annotations

from stream_ottt.events.packet import EventArray
from stream_ottt.filters.base import Filter, FilterConfig


class TransposeFilter(Filter):
    """Mirrors the events at the diagonal from the top left. None is left out."""

    name = "transpose"

    def __init__(self, config: FilterConfig, width: int, height: int) -> None:
        super().__init__(config, height, width)

    def __call__(self, events: EventArray) -> EventArray:
        """All events, with x and y changed."""
        transposed = events.copy()
        transposed["x"], transposed["y"] = events["y"], events["x"]
        return transposed
