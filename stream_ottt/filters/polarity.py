"""Polarity select: only events by which a pixel got brighter (ON), or only those by which it got darker (OFF)."""

from __future__ import annotations

from typing import Literal

from stream_ottt.events.packet import EventArray
from stream_ottt.filters.base import Filter, FilterConfig, select


class PolarityConfig(FilterConfig):
    """Options of the selection by polarity.

    Attributes:
        keep: the polarity that is kept.
    """

    keep: Literal["on", "off"]


class PolarityFilter(Filter):
    """Leaves out the events of one polarity."""

    name = "polarity"
    Config = PolarityConfig
    argument = "keep"
    config: PolarityConfig

    def __call__(self, events: EventArray) -> EventArray:
        """The events of the chosen polarity."""
        return select(events, events["p"] if self.config.keep == "on" else ~events["p"])
