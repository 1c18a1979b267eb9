"""Hot pixels: those that a defect makes fire all the time. The user lists them, or they are learned from the stream.

Learning counts the events c of each pixel over windows of ``learn`` µs, which follow one another from the first event
on. At a window's end, a pixel is hot from then on when

    c > rate · learn / 10⁶    and    c ≥ ratio · (the second largest c of the 8 pixels around it).

The first condition is that of tonic's ``identify_hot_pixel``. The second spares what is bright for a reason: along an
edge or in a lamp, two neighbours or more fire as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, Field, model_validator

from stream_ottt.compiled import jit
from stream_ottt.errors import ModelError, UsageError
from stream_ottt.events.packet import EventArray
from stream_ottt.filters.base import NEVER, Filter, FilterConfig, unsigned
from stream_ottt.settings import Duration

FEWEST = 10
"""Events by which a hot pixel must be known: with fewer, chance decides, and each window costs a look at the sensor."""

HOT = 2**32 - 1
"""Stands in the place of a window's number for a pixel that is hot."""


def _pixels(value: object) -> object:
    """``"3:7,12:0"`` as [[3, 7], [12, 0]]."""
    if not isinstance(value, str):
        return value
    pairs = [pair.split(":") for pair in value.split(",") if pair]
    if any(len(pair) != 2 or not all(number.strip().isdecimal() for number in pair) for pair in pairs):
        raise ValueError("expected pixels as X:Y,X:Y,…, such as 3:7,12:0")
    return pairs


class HotPixelConfig(FilterConfig):
    """Options of the hot-pixel filter.

    Attributes:
        pixels: those known to be hot, ``X:Y,X:Y,…`` or a list of [x, y].
        learn: length of a window of learning, µs; 0 to learn nothing.
        rate: events per second that a hot pixel exceeds.
        ratio: events of a hot pixel for each of its second most active neighbour; 0 to look at no neighbours.
    """

    pixels: Annotated[tuple[tuple[int, int], ...], BeforeValidator(_pixels)] = ()
    learn: Duration = Field(1_000_000, lt=NEVER)
    rate: float = Field(100.0, gt=0, le=1e6)
    ratio: float = Field(3.0, ge=0, le=1e6)

    @property
    def limit(self) -> int:
        """Events in a window that a hot pixel exceeds."""
        return int(self.rate * self.learn / 1e6)

    @model_validator(mode="after")
    def _window_holds_enough(self) -> Self:
        if self.learn and self.limit < FEWEST:
            raise ValueError(f"rate × learn must be at least {FEWEST} events; make learn longer")
        return self


class HotPixelFilter(Filter):
    """Leaves out the events of hot pixels."""

    name = "hot"
    argument = "pixels"
    Config = HotPixelConfig
    config: HotPixelConfig

    def __init__(self, config: HotPixelConfig, width: int, height: int) -> None:
        super().__init__(config, width, height)
        # Of each pixel: the number of the window in which it was counted last, or HOT, and the events in it. So nothing
        # has to be cleared when a window ends, however often a broken clock ends one.
        self._counted = np.zeros((height, width, 2), np.uint32)
        for x, y in config.pixels:
            if not (0 <= x < width and 0 <= y < height):
                raise UsageError(f"key 'filter:hot.pixels': {x}:{y} lies outside the {width}×{height} sensor")
            self._counted[y, x, 0] = HOT
        self._window = 1  # number of the open window
        self._start = NEVER  # of the open window, µs
        self._most = 0  # largest count in the open window

    @property
    def hot(self) -> npt.NDArray[np.bool_]:
        """The pixels [height, width] whose events are left out."""
        hot: npt.NDArray[np.bool_] = self._counted[:, :, 0] == HOT
        return hot

    def __call__(self, events: EventArray) -> EventArray:
        """The events of the other pixels."""
        kept = np.empty(len(events), events.dtype)
        n = at = 0
        while True:
            at, n, self._most = _sift(
                unsigned(events),
                unsigned(kept),
                at,
                n,
                self._counted,
                np.uint32(self._window),
                np.uint64(self._start),
                np.uint64(self.config.learn),
                self._most,
            )
            if at == len(events):
                return kept[:n]
            self._end_window(int(events["t"][at]))

    def _end_window(self, t: int) -> None:
        """An event at ``t`` (µs) lies in no window so far: learn from the one that ends, and begin that of ``t``."""
        if self._start <= t:  # else none has begun, or time has gone back, and what was counted is void
            if self._most > self.config.limit:
                self._counted[self._found(self._counts()), 0] = HOT
            t -= (t - self._start) % self.config.learn
        self._window += 1
        if self._window == HOT:  # all numbers are used up
            self._counted[~self.hot] = 0
            self._window = 1
        self._start, self._most = t, 0

    def _found(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """The pixels [height, width] that are hot by their counts [height, width]."""
        found = counts > self.config.limit
        y, x = np.nonzero(found)
        padded = np.pad(counts, 1)
        around = np.stack([padded[y + dy, x + dx] for dy in range(3) for dx in range(3) if (dy, dx) != (1, 1)])
        second = np.partition(around, -2, axis=0)[-2]
        found[y, x] = counts[y, x] >= self.config.ratio * second
        return found

    def _counts(self) -> npt.NDArray[np.int64]:
        """Events of each pixel in the open window, int64 [height, width]."""
        return np.where(self._counted[:, :, 0] == self._window, self._counted[:, :, 1], 0).astype(np.int64)

    def state_dict(self) -> dict[str, Any]:
        """The hot pixels, and the open window.

        Returns:
            ``hot``: bool [height, width]. ``counts``: int64 [height, width], events in the open window. ``start``: of
            the open window, µs; 2⁶³ before the first event.
        """
        return {"hot": self.hot, "counts": self._counts(), "start": self._start}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that :meth:`state_dict` gave."""
        super().load_state_dict(state)
        if not 0 <= state["start"] <= NEVER or ((state["counts"] < 0) | (state["counts"] > HOT)).any():
            raise ModelError(f"state of filter {self.name!r}: a count or a time is out of range")
        self._window = 1
        self._start = state["start"]
        self._counted[:, :, 0] = np.where(state["hot"], HOT, self._window)
        self._counted[:, :, 1] = state["counts"]
        self._most = int(state["counts"].max())

    def describe(self) -> dict[str, Any]:
        """``pixels``: [x, y] of each hot pixel, line by line."""
        return {"pixels": [[x, y] for y, x in np.argwhere(self.hot).tolist()]}


@jit
def _sift(
    events: Any, kept: Any, at: int, n: int, counted: Any, window: Any, start: Any, learn: Any, most: int
) -> tuple[int, int, int]:
    """Go on at event ``at`` up to the end, or to an event outside the window.

    Args:
        events, kept: what comes in, and room for as many.
        at, n: events passed and kept so far.
        counted: uint32 [height, width, 2], the pixels' windows and counts.
        window, start: number of the open window, and its start, µs.
        learn: length of a window, µs; 0 to count nothing.
        most: largest count in the window so far.

    Returns:
        ``at``, ``n`` and ``most``.
    """
    while at < len(events):
        event = events[at]
        x, y, t = np.intp(event.x), np.intp(event.y), event.t
        if learn > 0 and t - start >= learn:
            break
        seen = counted[y, x, 0]
        cold = seen != np.uint32(HOT)
        # Written in any case, and overwritten by the next one if it is not kept: a branch would take longer.
        kept[n] = event
        n += cold
        if learn > 0 and cold:
            count: Any = min(np.intp(counted[y, x, 1]) + 1, HOT) if seen == window else 1
            counted[y, x, 0] = window
            counted[y, x, 1] = count
            most = max(most, count)
        at += 1
    return at, n, most
