"""Times of 32 bits that count µs begin again at 0 every 71.6 minutes; here they go on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from stream_ottt.events.packet import EventPacket

TURN = 1 << 32
NEARLY = TURN // 16 * 15
"""A step of more than this from one event to the next is a turn; a step of a single wrong bit is less."""


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
