"""The messages of ROS that hold events, as ROS 1 serializes them and as ROS 2 does (CDR).

``event_camera_msgs/EventPacket``: events in one of several encodings (:mod:`stream_ottt.sources.ros.encodings`).
``dvs_msgs/EventArray``, ``prophesee_event_msgs/EventArray``: x and y (uint16), a time (s and ns, 32 bits each) and
a polarity for each event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from stream_ottt.events.packet import EventArray, make_events

PACKET_TYPES = ("event_camera_msgs/EventPacket", "event_array_msgs/EventArray")
ARRAY_TYPES = ("dvs_msgs/EventArray", "prophesee_event_msgs/EventArray")

SIZES = {"B": 1, "I": 4, "Q": 8}
ROS1_EVENT = [("x", "u2"), ("y", "u2"), ("s", "u4"), ("ns", "u4"), ("p", "u1")]
CDR_GAP = 14
"""Bytes from a CDR array's first event to its second: each begins at a multiple of 2."""
CDR_STRIDE = 16
"""From every later event to the next: its time stands at a multiple of 4."""


class Cursor:
    """Reads the fields of a serialized message, one after the other.

    Args:
        data: the message.
        cdr: whether it is serialized as ROS 2 does: numbers stand at multiples of their size, texts end with a NUL.

    Raises:
        ValueError: it is serialized in another way.
    """

    def __init__(self, data: bytes | memoryview, *, cdr: bool) -> None:
        self._data = memoryview(data)
        self._at = 0
        self.cdr = cdr
        self.order = "<"
        self.byte_order: Literal["little", "big"] = "little"
        if cdr:
            # Four bytes say how it is serialized; places count from after them.
            kind = bytes(self._data[:2])
            if kind not in (b"\0\0", b"\0\1"):
                raise ValueError(f"a serialization that begins with {kind!r}")
            self.order = "<" if kind == b"\0\1" else ">"
            self.byte_order = "little" if self.order == "<" else "big"
            self._data = self._data[4:]

    def number(self, code: str) -> int:
        """An unsigned integer; ``code`` as for the module struct. Raises ValueError at the message's end."""
        size = SIZES[code]
        if self.cdr:
            self._at += -self._at % size
        return int.from_bytes(self.take(size), self.byte_order)

    def take(self, size: int) -> memoryview:
        """The next ``size`` bytes. Raises ValueError when there are fewer."""
        start, self._at = self._at, self._at + size
        if self._at > len(self._data):
            raise ValueError(f"{size} bytes at {start} of {len(self._data)}")
        return self._data[start : self._at]

    def sized(self) -> memoryview:
        """The bytes whose number comes before them. Raises ValueError when there are fewer."""
        return self.take(self.number("I"))

    def text(self) -> str:
        """A text. Raises ValueError when it is cut."""
        return bytes(self.sized()).decode("latin-1").rstrip("\0")

    def stamp(self) -> int:
        """The time, ns, of a std_msgs/Header, which is passed over. Raises ValueError when it is cut."""
        if not self.cdr:
            self.number("I")  # of the message
        s, ns = self.number("I"), self.number("I")
        self.sized()
        return s * 1_000_000_000 + ns


@dataclass(frozen=True, slots=True)
class RosEventPacket:
    """The content of an event_camera_msgs/EventPacket.

    Attributes:
        width, height: sensor size in pixels.
        stamp: ns; when the message was sent.
        time_base: ns; what event times count from, in some encodings.
        encoding: how ``events`` are encoded.
        big_endian: byte order of the sending machine.
        events: the encoded events.
    """

    width: int
    height: int
    stamp: int
    time_base: int
    encoding: str
    big_endian: bool
    events: memoryview

    @classmethod
    def parse(cls, data: bytes, *, cdr: bool) -> RosEventPacket:
        """Read a serialized message. Raises ValueError when it is too short for what it says."""
        fields = Cursor(data, cdr=cdr)
        stamp = fields.stamp()
        height, width = fields.number("I"), fields.number("I")
        fields.number("Q")  # the number of the message
        time_base = fields.number("Q")
        encoding = fields.text()
        return cls(width, height, stamp, time_base, encoding, bool(fields.number("B")), fields.sized())


@dataclass(frozen=True, slots=True)
class RosEventArray:
    """The content of a dvs_msgs/EventArray or prophesee_event_msgs/EventArray.

    Attributes:
        width, height: sensor size in pixels.
        events: [n], their times since the epoch.
    """

    width: int
    height: int
    events: EventArray

    @classmethod
    def parse(cls, data: bytes, *, cdr: bool) -> RosEventArray:
        """Read a serialized message. Raises ValueError when it is too short for what it says."""
        fields = Cursor(data, cdr=cdr)
        fields.stamp()
        height, width, n = (fields.number("I") for _ in range(3))
        order = fields.order
        if not cdr:
            dtype = np.dtype([(name, order + code) for name, code in ROS1_EVENT])
            records = np.frombuffer(fields.take(n * dtype.itemsize), dtype)
        else:
            # As the later events stand: the first one's time has no gap before it, so it gets one.
            size = CDR_GAP + CDR_STRIDE * (n - 1) - 1 if n else 0
            raw = bytes(fields.take(size))
            raw = raw[:4] + b"\0\0" + raw[4:]
            offsets = [0, 2, 6, 10, 14]
            formats = [order + code for _, code in ROS1_EVENT]
            names = [name for name, _ in ROS1_EVENT]
            dtype = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": CDR_STRIDE})
            records = np.frombuffer(raw.ljust(CDR_STRIDE * n, b"\0"), dtype, n)
        t = records["s"].astype(np.int64) * 1_000_000 + records["ns"] // 1000
        return cls(width, height, make_events(records["x"], records["y"], t, records["p"] != 0))
