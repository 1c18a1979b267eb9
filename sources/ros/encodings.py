"""The encodings of events in an event_camera_msgs/EventPacket.

- ``evt3``: Prophesee's words of 16 bits, with the camera's own times.
- ``mono``: 64 bits each, with ns since the packet's time base (32), x (16), y (15) and polarity (1).
- ``libcaer``: libcaer's polarity events of 64 bits: validity, polarity, y (15), x (15), µs since the time base (31).
- ``libcaer_cmp``: words of 16 bits, one code of 4 bits each (:mod:`stream_ottt.sources.ros.kernel`).

Description: https://github.com/ros-event-camera/event_camera_msgs
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from stream_ottt.events.packet import PACKET_EVENTS, EventArray, make_events
from stream_ottt.sources.prophesee.words import Evt3Decoder, WordDecoder
from stream_ottt.sources.ros.messages import RosEventPacket

NS = 1000
"""Nanoseconds in a microsecond."""
WRAP = 1 << 31
"""libcaer's times begin again after so many µs."""


class Encoding(ABC):
    """Decodes the packets of one topic, in their order.

    Class attributes:
        word_bytes: size of a word; the events of a packet are whole words.
        alone: whether a packet can be decoded without those before it.

    Attributes:
        unknown: words of unknown types so far.
    """

    word_bytes: ClassVar[int]
    alone: ClassVar[bool] = True

    def __init__(self) -> None:
        self.unknown = 0

    @abstractmethod
    def decode(self, packet: RosEventPacket) -> Iterator[EventArray]:
        """Events [n ≤ 2 · PACKET_EVENTS] of the packet's whole words."""


class Words(Encoding):
    """Words of 16 bits, decoded by a compiled loop whose state lasts from packet to packet."""

    word_bytes = 2

    def __init__(self, decoder: WordDecoder) -> None:
        super().__init__()
        self._decoder = decoder

    def decode(self, packet: RosEventPacket) -> Iterator[EventArray]:
        words = np.frombuffer(packet.events, ">u2" if packet.big_endian else "<u2", len(packet.events) // 2)
        self._begin(packet)
        yield from self._decoder.decode(words.astype("<u2").view(np.uint8))
        self.unknown = self._decoder.unknown

    def _begin(self, packet: RosEventPacket) -> None:
        """What a packet's head changes."""


class Evt3(Words):
    """``evt3``; the packet's time base has no part in its times."""

    alone = False

    def __init__(self) -> None:
        super().__init__(Evt3Decoder())


class LibcaerCmpDecoder(WordDecoder):
    """Words of ``libcaer_cmp``."""

    word = np.dtype("<u2")
    events_per_word = 8
    initial = (0, 0, 0, 0, 0, 0)
    loops = "stream_ottt.sources.ros.kernel"
    loop = "libcaer_cmp"

    def begin(self, time_base: int) -> None:
        """A packet begins whose times count from ``time_base`` (µs)."""
        self._state[:3] = time_base, 0, 0


class LibcaerCmp(Words):
    """``libcaer_cmp``; times count from the packet's time base."""

    def __init__(self) -> None:
        self._words = LibcaerCmpDecoder()
        super().__init__(self._words)

    def _begin(self, packet: RosEventPacket) -> None:
        self._words.begin(packet.time_base // NS)


class Records(Encoding):
    """Words of 64 bits, an event each."""

    word_bytes = 8

    def decode(self, packet: RosEventPacket) -> Iterator[EventArray]:
        order = ">" if packet.big_endian else "<"
        events = self._events(np.frombuffer(packet.events, f"{order}u4", len(packet.events) // 8 * 2), packet)
        for start in range(0, len(events), PACKET_EVENTS):
            yield events[start : start + PACKET_EVENTS]

    @abstractmethod
    def _events(self, halves: np.ndarray, packet: RosEventPacket) -> EventArray:
        """The events of words given as their halves [2 n], in the order in which they stand."""


class Mono(Records):
    """``mono``."""

    def _events(self, halves: np.ndarray, packet: RosEventPacket) -> EventArray:
        time, place = (1, 0) if packet.big_endian else (0, 1)
        t = packet.time_base // NS + (packet.time_base % NS + halves[time::2].astype(np.int64)) // NS
        place_words = halves[place::2]
        return make_events(place_words & 0xFFFF, (place_words >> 16) & 0x7FFF, t, place_words >> 31 != 0)


class Libcaer(Records):
    """``libcaer``; times that fall within a packet have begun again.

    The driver's time base is the camera's start. Other writers put the packet's own time there, from which its events
    count; their base is the message's stamp.
    """

    def _events(self, halves: np.ndarray, packet: RosEventPacket) -> EventArray:
        data, low = halves[::2], (halves[1::2] & (WRAP - 1)).astype(np.int64)
        wraps = np.cumsum(np.diff(low, prepend=low[:1]) < 0)
        if packet.time_base == packet.stamp:
            low -= low[:1].copy()
        t = packet.time_base // NS + low + wraps * WRAP
        return make_events((data >> 17) & 0x7FFF, (data >> 2) & 0x7FFF, t, (data & 2) != 0)


ENCODINGS: dict[str, type[Encoding]] = {"evt3": Evt3, "mono": Mono, "libcaer": Libcaer, "libcaer_cmp": LibcaerCmp}
