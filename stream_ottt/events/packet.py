"""Events, packets of events, and the count of what became of each.

An event is a pixel, a time in microseconds and a polarity (True: the pixel got brighter, ON).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

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
        of: uint8 [n], the number of the source that each event is of, where the stream is several; None for one source.
    """

    events: EventArray
    width: int
    height: int
    well_formed: bool = False
    of: npt.NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.events)

    def part(self, start: int, stop: int | None = None) -> EventPacket:
        """The events from ``start`` to before ``stop``, in the same memory."""
        of = None if self.of is None else self.of[start:stop]
        return EventPacket(self.events[start:stop], self.width, self.height, self.well_formed, of)

    @property
    def shares(self) -> Shares:
        """How many events are of which of several sources."""
        return shares(self.of)


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


Shares = Counter[int]
"""How many of some events are of which of several sources, by their numbers; empty where there is one source."""

NOBODY: Mapping[int, int] = {}
"""No shares: there is one source."""

MOST_SOURCES = 256
"""Sources that one stream can be made of."""


def shares(of: npt.NDArray[np.uint8] | None) -> Shares:
    """The shares of events whose sources are ``of`` [n]."""
    if of is None or not len(of):
        return Counter()
    return Counter({source: n for source, n in enumerate(np.bincount(of).tolist()) if n})


LAST_US = 2**62
"""Times from here on (µs) are no times: sums of two of them would leave int64."""


Fate = Literal["read", "binned", "late", "malformed"]
FATES: tuple[Fate, ...] = ("read", "binned", "late", "malformed")


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
        sources: the same of each of several sources, by its number; empty for one.
    """

    read: int = 0
    binned: int = 0
    late: int = 0
    malformed: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    sources: dict[int, Ledger] = field(default_factory=dict)

    def count(self, fate: Fate, n: int, of: Mapping[int, int] = NOBODY) -> None:
        """Count ``n`` events, and their shares."""
        setattr(self, fate, getattr(self, fate) + n)
        for source, share in of.items():
            self._of(source).count(fate, share)

    def drop(self, reason: str, n: int, of: Mapping[int, int] = NOBODY) -> None:
        """Count ``n`` events given up for ``reason``, and their shares."""
        if n:
            self.dropped[reason] = self.dropped.get(reason, 0) + n
        for source, share in of.items():
            self._of(source).drop(reason, share)

    def _of(self, source: int) -> Ledger:
        return self.sources.setdefault(source, Ledger())

    def share(self, source: int) -> Ledger:
        """The account of one of several sources, to be read."""
        return self.sources.get(source) or Ledger()

    @property
    def accounted(self) -> int:
        """Events whose fate is known; equals ``read`` once the stream has ended."""
        return self.binned + self.late + self.malformed + sum(self.dropped.values())

    def facts(self) -> dict[str, Any]:
        """JSON-ready: the counts of all, with ``in_hand``."""
        counts = {"read": self.read, "binned": self.binned, "late": self.late, "malformed": self.malformed}
        return {**counts, "dropped": dict(self.dropped), "in_hand": self.in_hand}

    def state_dict(self) -> dict[str, Any]:
        """The counts, plain."""
        sources = {str(source): ledger.state_dict() for source, ledger in self.sources.items()}
        return {**{name: getattr(self, name) for name in FATES}, "dropped": dict(self.dropped), "sources": sources}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from counts that :meth:`state_dict` gave."""
        for name in FATES:
            setattr(self, name, int(take(state, name)))
        self.dropped = dict(take(state, "dropped"))
        self.sources.clear()
        for source, counts in take(state, "sources").items():
            self._of(int(source)).load_state_dict(counts)

    @property
    def in_hand(self) -> int:
        """Events that were read and still wait, in a queue or in the open window."""
        return self.read - self.accounted

    @classmethod
    def total(cls, accounts: Iterable[Ledger]) -> Ledger:
        """The sum of several accounts, while their owners go on writing; without shares.

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
