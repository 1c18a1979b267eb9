"""Events, packets of events, and the count of what became of each.

An event is a pixel, a time in microseconds and a polarity (True: the pixel got brighter, ON).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_ottt.state import take

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
        well_formed: True when whoever made it knows that all its events lie on the sensor and at times in
            [0, ``LAST_US``); False says nothing.
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


LAST_US = 2**62
"""Times from here on (µs) are no times: sums of two of them would leave int64."""


@dataclass(slots=True)
class Ledger:
    """What became of events: ``read == binned + late + malformed + sum(dropped.values()) + in_hand``.

    An account has one writer. Where several threads count, each has an account of its own; :meth:`total` adds them up.

    Attributes:
        read: events that the source decoded.
        binned: events inside some timestep that the network saw.
        late: events older than the timestep that was open when they came.
        malformed: events outside the sensor, or outside the times 0 … ``LAST_US``.
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

    def state_dict(self) -> dict[str, Any]:
        """The counts, plain."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from counts that :meth:`state_dict` gave."""
        for name in asdict(self):
            value = take(state, name)
            setattr(self, name, dict(value) if isinstance(value, dict) else int(value))

    @property
    def in_hand(self) -> int:
        """Events that were read and still wait, in a queue or in the open window."""
        return self.read - self.accounted

    @classmethod
    def total(cls, accounts: Iterable[Ledger]) -> Ledger:
        """The sum of several accounts, while their owners go on writing.

        Args:
            accounts: those downstream first. An event is counted as read before anything else is counted of it, so that
                in this order :attr:`in_hand` is never negative.
        """
        whole = cls()
        for account in accounts:
            for reason, n in dict(account.dropped).items():
                whole.drop(reason, n)
            whole.malformed += account.malformed
            whole.late += account.late
            whole.binned += account.binned
            whole.read += account.read
        return whole


def split_well_formed(packet: EventPacket) -> tuple[EventArray, int]:
    """The events of a packet that lie on its sensor and at times in [0, ``LAST_US``), and how many did not.

    Returns:
        The well-formed events [m ≤ n] (the packet's own array when all are), and n - m.
    """
    e = packet.events
    if packet.well_formed or not len(e):
        return e, 0
    x, y, t = e["x"], e["y"], e["t"]
    # The extremes decide the common case without building a mask; negative numbers turn large as unsigned.
    if x.view("<u2").max() < packet.width and y.view("<u2").max() < packet.height and t.view("<u8").max() < LAST_US:
        return e, 0
    good = (x >= 0) & (x < packet.width) & (y >= 0) & (y < packet.height) & (t >= 0) & (t < LAST_US)
    return e[good], int(len(e) - np.count_nonzero(good))
