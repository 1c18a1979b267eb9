"""Region of interest: a rectangle of the sensor, which becomes the sensor.

(x, y) is kept when left ≤ x < left + width and top ≤ y < top + height, and becomes (x − left, y − top).
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from stream_ottt.errors import UsageError
from stream_ottt.events.packet import EventArray
from stream_ottt.filters.base import Filter, FilterConfig, select


class RegionConfig(FilterConfig):
    """Options of the region of interest.

    Attributes:
        left: first column, pixels from the left.
        top: first row, pixels from the top.
        width: columns.
        height: rows.
    """

    left: int = Field(0, ge=0)
    top: int = Field(0, ge=0)
    width: int = Field(ge=1, le=2**15)
    height: int = Field(ge=1, le=2**15)


class RegionFilter(Filter):
    """Leaves out events outside a rectangle."""

    name = "roi"
    Config = RegionConfig
    config: RegionConfig

    def __init__(self, config: RegionConfig, width: int, height: int) -> None:
        super().__init__(config, config.width, config.height)
        if config.left + config.width > width or config.top + config.height > height:
            raise UsageError(
                f"filter 'roi': columns {config.left} … {config.left + config.width - 1} and rows {config.top} … "
                f"{config.top + config.height - 1} do not lie on the {width}×{height} sensor"
            )

    def __call__(self, events: EventArray) -> EventArray:
        """The events inside, with coordinates from the rectangle's corner."""
        # What lies before the corner turns large as unsigned.
        x = (events["x"] - np.int16(self.config.left)).view(np.uint16)
        y = (events["y"] - np.int16(self.config.top)).view(np.uint16)
        inside = (x < self.width) & (y < self.height)
        kept = select(events, inside)
        kept["x"], kept["y"] = x[inside], y[inside]
        return kept
