"""What the compiled loops that write events share: how they see an event, and how far the events go."""

from __future__ import annotations

import numpy as np

from stream_ottt.events.packet import LAST_US

WORDS = np.dtype([("xy", "<u4"), ("t", "<i8"), ("p", "?")])
"""EVENT_DTYPE with x and y (in the upper half) in one word: fewer stores per event."""


class Reach:
    """How far the events go that a loop has written: kept along the way, it makes a check of each event needless.

    Attributes:
        values: int64 [3]: largest x, largest y (each 32768 or more for one that is negative), and all times joined
            by OR, which is negative when one of them is.
    """

    def __init__(self) -> None:
        self.values = np.zeros(3, np.int64)

    def clear(self) -> None:
        """Forget the events so far."""
        self.values[:] = 0

    def within(self, width: int, height: int) -> bool:
        """Whether all events lie on a sensor of this size, at times that are some."""
        x, y, t = self.values.tolist()
        return bool(x < width and y < height and 0 <= t < LAST_US)
