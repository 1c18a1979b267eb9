"""Events that lie outside the sensor or outside the range of times, counted by what is wrong with them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import numpy as np
import numpy.typing as npt

from stream_ottt.events.clock import LIMIT_US
from stream_ottt.events.packet import LAST_US, EventArray, EventPacket, split_well_formed
from stream_ottt.state import State, take

LIKE_TIME = 64
"""Events in a row of which a coordinate never decreases, and pixels that it passes: then its column holds times."""


@dataclass(slots=True)
class Misfits:
    """What of a stream is outside, of the packets that :meth:`sift` was given.

    An event may be wrong in more than one way. ``largest``, ``like_time`` and ``earliest`` are of all events of those
    packets in which some are wrong.

    Attributes:
        off_sensor: events whose pixel the sensor does not have.
        no_pixel: those of them of which a coordinate is negative, or beyond int16.
        before_zero: events before time zero.
        too_late: events at ``LIMIT_US`` or later. The clock leaves out those before ``LAST_US``.
        earliest: the least time, µs.
        largest: the largest x and y.
        like_time: x, y, whose values go on like times.
    """

    off_sensor: int = 0
    no_pixel: int = 0
    before_zero: int = 0
    too_late: int = 0
    earliest: int = LAST_US
    largest: tuple[int, int] = (-1, -1)
    like_time: frozenset[str] = field(default_factory=frozenset)

    def sift(self, packet: EventPacket) -> tuple[EventArray, int]:
        """As :func:`split_well_formed`, and count."""
        good, wrong = split_well_formed(packet)
        t = packet.events["t"]
        if wrong:
            self._look(packet)
        if len(t) and (t[0] >= LIMIT_US or t[-1] >= LIMIT_US):  # a unit is wrong of all events, or of none
            self.too_late += int(np.count_nonzero(t >= LIMIT_US))
        return good, wrong

    def state_dict(self) -> State:
        """What was counted, as plain values."""
        return {**asdict(self), "largest": list(self.largest), "like_time": sorted(self.like_time)}

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` gave."""
        for name in ("off_sensor", "no_pixel", "before_zero", "too_late", "earliest"):
            setattr(self, name, int(take(state, name)))
        x, y = take(state, "largest")
        self.largest, self.like_time = (x, y), frozenset(take(state, "like_time"))

    def _look(self, packet: EventPacket) -> None:
        x, y, t = (packet.events[name] for name in ("x", "y", "t"))
        no_pixel = (x < 0) | (y < 0)
        self.no_pixel += int(np.count_nonzero(no_pixel))
        self.off_sensor += int(np.count_nonzero(no_pixel | (x >= packet.width) | (y >= packet.height)))
        self.before_zero += int(np.count_nonzero(t < 0))
        self.earliest = min(self.earliest, int(t.min()))
        self.largest = max(self.largest[0], int(x.max())), max(self.largest[1], int(y.max()))
        self.like_time |= like_time(packet.events)


def like_time(events: EventArray) -> frozenset[str]:
    """Which of x and y go on like times, as far as they fit into 16 bits."""
    return frozenset(name for name in ("x", "y") if _goes_on(events[name]))


def _goes_on(values: npt.NDArray[np.int16]) -> bool:
    fit = values[values >= 0].astype(np.int64)
    return len(fit) >= LIKE_TIME and bool((np.diff(fit) >= 0).all()) and int(fit[-1] - fit[0]) >= LIKE_TIME
