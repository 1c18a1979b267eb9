"""Events, packets of events, and the count of what became of each.

An event is a pixel, a time in microseconds and a polarity (True: the pixel got brighter, ON).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

EVENT_DTYPE = np.dtype([("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "?")])
"""tonic's ``events_struct``: x, y in pixels from the top-left corner, t in µs, p True for ON. 13 bytes, packed."""

EventArray = npt.NDArray[np.void]
"""A one-dimensional array of :data:`EVENT_DTYPE`."""

PACKET_EVENTS = 1 << 16
"""Events per packet that sources aim for: large enough for numpy to be fast, about 0.8 MiB."""


@dataclass(frozen=True, slots=True, eq=False)
class EventPacket:
    """Some consecutive events of one sensor. Where a stream is cut into packets means nothing.

    Attributes:
        events: [n] of :data:`EVENT_DTYPE`, in the order of the stream.
        width: sensor width in pixels; x is expected in [0, width).
        height: sensor height in pixels; y is expected in [0, height).
        well_formed: True when whoever made it knows that all its events lie on the sensor and at t ≥ 0; False says
            nothing.
    """

    events: EventArray
    width: int
    height: int
    well_formed: bool = False

    def __len__(self) -> int:
        return len(self.events)


def make_events(x: npt.ArrayLike, y: npt.ArrayLike, t: npt.ArrayLike, p: npt.ArrayLike) -> EventArray:
    """Pack four columns of equal length into one event array.

    Coordinates beyond int16 become -1, which validation counts as malformed, rather than wrapping into the sensor.
    """
    t = np.asarray(t)
    events = np.empty(len(t), EVENT_DTYPE)
    for name, column in (("x", np.asarray(x)), ("y", np.asarray(y))):
        if column.dtype.itemsize > 2 or column.dtype == np.uint16:
            # Not by np.where: -1 does not fit beside what an unsigned column holds.
            with np.errstate(invalid="ignore"):
                narrow = column.astype(np.int16)
            narrow[~((column >= 0) & (column < 2**15))] = -1
            column = narrow
        events[name] = column
    events["t"] = t
    events["p"] = p
    return events


def join_events(pieces: Sequence[EventArray]) -> EventArray:
    """Contiguous arrays of events, one behind the other, in one: whole events are copied, which ``np.concatenate`` of
    records does field by field in twenty times as long."""
    whole = np.dtype(f"V{EVENT_DTYPE.itemsize}")
    return np.concatenate([piece.view(whole) for piece in pieces]).view(EVENT_DTYPE)


@dataclass(slots=True)
class Ledger:
    """What became of every event: ``read == binned + late + malformed + sum(dropped.values())``.

    Attributes:
        read: events that the source decoded.
        binned: events inside some timestep.
        late: events older than the timestep that was open when they came.
        malformed: events outside the sensor, or before time zero.
        dropped: events given up on purpose, by reason (``"overflow"``, ``"stopped"``, ``"cropped"``, …).
    """

    read: int = 0
    binned: int = 0
    late: int = 0
    malformed: int = 0
    dropped: dict[str, int] = field(default_factory=dict)

    def drop(self, reason: str, n: int) -> None:
        """Count ``n`` events given up for ``reason``."""
        if n:
            self.dropped[reason] = self.dropped.get(reason, 0) + n

    @property
    def accounted(self) -> int:
        """Events whose fate is known; equals ``read`` once the stream has ended."""
        return self.binned + self.late + self.malformed + sum(self.dropped.values())


def split_well_formed(packet: EventPacket) -> tuple[EventArray, int]:
    """The events of a packet that lie on its sensor and at t ≥ 0, and how many did not.

    Returns:
        The well-formed events [m ≤ n] (the packet's own array when all are), and n - m.
    """
    e = packet.events
    if packet.well_formed or not len(e):
        return e, 0
    x, y, t = e["x"], e["y"], e["t"]
    # The extremes decide the common case without building a mask; negative coordinates turn large as unsigned.
    if x.view("<u2").max() < packet.width and y.view("<u2").max() < packet.height and t.min() >= 0:
        return e, 0
    good = (x >= 0) & (x < packet.width) & (y >= 0) & (y < packet.height) & (t >= 0)
    return e[good], int(len(e) - np.count_nonzero(good))
