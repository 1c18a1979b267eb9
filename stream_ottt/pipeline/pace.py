"""Playing a recording at the pace at which it was recorded, or a multiple of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import numpy as np

from stream_ottt.errors import UsageError
from stream_ottt.events.packet import EventPacket

PACE_US = 5_000
"""Longest span of a packet that is played at its own pace, µs."""


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
    """Plays packets at the stream's own pace, or a multiple of it."""

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self._origin: tuple[float, int] | None = None

    def cut(self, packet: EventPacket) -> Iterable[EventPacket]:
        """Parts of a packet that span at most ``PACE_US`` each."""
        t = packet.events["t"]
        if not len(t):
            return [packet]
        edges = np.arange(int(t[0]), int(min(t[-1], int(t[0]) + 10**9)), PACE_US)[1:]
        cuts = np.unique(np.searchsorted(t, edges))
        return [EventPacket(part, packet.width, packet.height) for part in np.split(packet.events, cuts) if len(part)]

    async def wait_for(self, part: EventPacket) -> None:
        """Return when the last event of ``part`` is due."""
        if not len(part):
            return
        t = int(part.events["t"][-1])
        now = time.perf_counter()
        if self._origin is None:
            self._origin = (now, int(part.events["t"][0]))
        began, first = self._origin
        await asyncio.sleep(max(0.0, began + (t - first) / 1e6 / self.speed - now))
