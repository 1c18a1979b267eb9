"""Rotate: the picture turned clockwise by quarter turns.

By 90°, (x, y) becomes (height − 1 − y, x); by 180°, (width − 1 − x, height − 1 − y); by 270°, (y, width − 1 − x).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator

from stream_ottt.events.packet import EventArray
from stream_ottt.filters.base import Filter, FilterConfig


def _number(value: object) -> object:
    """A string of digits as a number: a literal takes no string."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


class RotateConfig(FilterConfig):
    """Options of the rotation.

    Attributes:
        degrees: how far to turn clockwise: 90, 180 or 270.
    """

    degrees: Annotated[Literal[90, 180, 270], BeforeValidator(_number)]


class RotateFilter(Filter):
    """Turns the events. None is left out."""

    name = "rotate"
    Config = RotateConfig
    argument = "degrees"
    config: RotateConfig

    def __init__(self, config: RotateConfig, width: int, height: int) -> None:
        on_its_side = config.degrees != 180
        super().__init__(config, height if on_its_side else width, width if on_its_side else height)

    def __call__(self, events: EventArray) -> EventArray:
        """All events, turned."""
        turned = events.copy()
        x, y = events["x"], events["y"]
        right, bottom = self.width - 1, self.height - 1  # after the turn
        match self.config.degrees:
            case 90:
                turned["x"], turned["y"] = right - y, x
            case 180:
                turned["x"], turned["y"] = right - x, bottom - y
            case 270:
                turned["x"], turned["y"] = y, bottom - x
        return turned
