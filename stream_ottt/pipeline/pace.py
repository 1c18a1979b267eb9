"""Playing a recording at the pace at which it was recorded, or a multiple of it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from stream_ottt.errors import UsageError
from stream_ottt.events.packet import EventPacket

PACE_US = 5_000
"""Longest span of a packet that is played at its own pace, µs."""
JUMP_US = 10_000_000
"""A step in time longer than this, forwards or backwards, is one of the clock and not waited for, µs."""


def parse_speed(text: str) -> float | None:
    """Stream seconds per wall second from ``"1x"`` or ``"2.5"``; None for ``"max"``.

    Raises:
        UsageError: anything else.
    """
    if text == "max":
        return None
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise UsageError(f"speed {text!r}: expected 'max' or a factor such as '1x'")
    return speed


class Pace:
    """When the packets of a stream are due at its own pace, or a multiple of it.

    Args:
        speed: stream seconds per wall second.
    """

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self._newest: int | None = None  # latest time played, µs
        self._due = 0.0  # when that was due

    def cut(self, packet: EventPacket) -> Iterable[EventPacket]:
        """Parts of a packet that span at most ``PACE_US`` each."""
        t = packet.events["t"]
        if not len(t):
            return [packet]
        edges = np.arange(int(t[0]), int(min(t[-1], int(t[0]) + 10**9)), PACE_US)[1:]
        cuts = np.unique(np.searchsorted(t, edges))
        ends = [0, *cuts.tolist(), len(t)]
        return [packet.part(start, end) for start, end in pairwise(ends) if end > start]

    def due(self, part: EventPacket) -> float:
        """``time.perf_counter()`` at which the last event of ``part`` is due.

        Time that jumps by more than ``JUMP_US`` is not waited for: the stream goes on from there at once.
        """
        now = time.perf_counter()
        if not len(part):
            return now
        t = int(part.events["t"][-1])
        if self._newest is None:
            self._newest, self._due = int(part.events["t"][0]), now
        step = t - self._newest
        if abs(step) > JUMP_US:
            self._newest, self._due = t, now
        elif step > 0:
            self._newest, self._due = t, self._due + step / 1e6 / self.speed
        return self._due
