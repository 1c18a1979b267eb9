"""Times of 32 bits that count µs begin again at 0 every 71.6 minutes, of 31 bits every 35.8; here they go on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from stream_ottt.events.packet import EventPacket

TURN = 1 << 32
HALF = 1 << 31
NEAR_HALF = 10_000_000
"""Times of 31 bits begin again from less than this (µs) below 2^31 to less than this above 0. A clock that was set to 0
will hardly have been so near."""


def nearly(turn: int) -> int:
    """A step of more than this from one event to the next is a turn; a step of a single wrong bit is less."""
    return turn // 16 * 15


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
    """The packets with 2^32 or 2^31 µs added for each turn. Times of more than 32 bits end it: they do not turn."""
    turns = before = turn = 0
    wide = False
    for packet in packets:
        t = packet.events["t"]
        if wide or not len(t):
            yield packet
            continue
        first, last = int(t[0]), int(t[-1])
        if turns or first < before or last < first:
            steps = np.diff(t, prepend=before)
            turn = turn or _turn(t, steps)
            wide = not turns and turn > 0 and bool(t.max() >= TURN or t.min() < -TURN // 2)  # signed ones turn, too
            if turn and not wide:
                added = np.full(len(t), turns * turn, np.int64)
                for at in np.flatnonzero(np.abs(steps) > nearly(turn)).tolist():
                    turns = turns + 1 if steps[at] < 0 else max(turns - 1, 0)
                    added[at:] = turns * turn
                packet.events["t"] += added
        before = last
        yield packet


def _turn(t: npt.NDArray[np.int64], steps: npt.NDArray[np.int64]) -> int:
    """After how many µs times [n] begin again, of their steps [n] from the time before each; 0 where they do not."""
    if (steps < -nearly(TURN)).any():
        return TURN
    near = t - steps > HALF - NEAR_HALF
    return HALF if t.max() < HALF and (near & (t >= 0) & (t < NEAR_HALF)).any() else 0
