"""Times of 32 bits that count µs begin again at 0 every 71.6 minutes; here they go on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from stream_ottt.events.packet import EventPacket

TURN = 1 << 32
NEARLY = TURN // 16 * 15
"""A step of more than this from one event to the next is a turn; a step of a single wrong bit is less."""


class Clock32:
    """Continues 32-bit timestamps beyond their wrap; one step never exceeds half their range."""

    def __init__(self) -> None:
        self.last: int | None = None

    def __call__(self, t: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
        """Times [n] in µs, in int64, from timestamps [n] that follow those of the call before."""
        now = t.astype(np.int64)
        if not len(now):
            return now
        if self.last is None:
            self.last = int(now[0])
        now += (self.last >> 32) << 32
        low, high = int(now.min()), int(now.max())
        half = 1 << 31
        if low <= self.last - half or high >= self.last + half or high - low >= half:
            steps = np.diff(now, prepend=self.last)
            now = self.last + np.cumsum((steps + half) % (1 << 32) - half)
        self.last = int(now[-1])
        return now


def unwrapped(packets: Iterable[EventPacket]) -> Iterator[EventPacket]:
    """The packets with 2^32 µs added for each turn. Times that need more than 32 bits end it: they do not turn."""
    turns, before = 0, 0
    wide = False
    for packet in packets:
        t = packet.events["t"]
        if wide or not len(t):
            yield packet
            continue
        first, last = int(t[0]), int(t[-1])
        if turns or abs(first - before) > NEARLY or abs(last - first) > NEARLY:
            wide = not turns and bool(t.max() >= TURN or t.min() < 0)
            if not wide:
                added = np.empty(len(t), np.int64)
                steps = np.diff(t, prepend=before)
                added[:] = turns * TURN
                for at in np.flatnonzero(np.abs(steps) > NEARLY).tolist():
                    turns = turns + 1 if steps[at] < 0 else max(turns - 1, 0)
                    added[at:] = turns * TURN
                packet.events["t"] += added
        before = last
        yield packet
