"""ROS 1 bags with messages of the type event_camera_msgs/EventPacket.

Format of the messages: https://github.com/ros-event-camera/event_camera_msgs
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import PACKET_EVENTS, EventArray, EventPacket, join_events, make_events
from stream_ottt.pipeline.source import FileConfig, FileSource
from stream_ottt.registry import near_miss
from stream_ottt.sources.prophesee.words import Evt3Decoder, ReservedWordError
from stream_ottt.sources.rosbag_records import MAGIC, BagReader, Connection, Message

MESSAGE_TYPE = "event_camera_msgs/EventPacket"
MAX_SIDE = 1 << 15

STAMP = struct.Struct("<III")
LENGTH = struct.Struct("<I")
GEOMETRY = struct.Struct("<IIQQ")


@dataclass(frozen=True, slots=True)
class RosEventPacket:
    """The content of an event_camera_msgs/EventPacket.

    Attributes:
        width, height: sensor size in pixels.
        time_base: ns; what event times count from, in some encodings.
        encoding: how ``events`` are encoded.
        big_endian: byte order of the sending machine.
        events: the encoded events.
    """

    width: int
    height: int
    time_base: int
    encoding: str
    big_endian: bool
    events: bytes

    @classmethod
    def parse(cls, data: bytes) -> RosEventPacket:
        """Read a serialized message. Raises struct.error when it is too short for what it says."""
        _, position = _sized(data, STAMP.size)
        height, width, _, time_base = GEOMETRY.unpack_from(data, position)
        encoding, position = _sized(data, position + GEOMETRY.size)
        (big_endian,) = struct.unpack_from("<B", data, position)
        events, _ = _sized(data, position + 1)
        return cls(width, height, time_base, encoding.decode("latin-1"), bool(big_endian), events)


def _sized(data: bytes, position: int) -> tuple[bytes, int]:
    """The bytes after the length at ``position``, and where they end."""
    (size,) = LENGTH.unpack_from(data, position)
    start = position + LENGTH.size
    if start + size > len(data):
        raise struct.error(f"{size} bytes at {start} of {len(data)}")
    return data[start : start + size], start + size


def decode_mono(packet: RosEventPacket) -> EventArray:
    """Events [n] of the encoding ``mono``: 64 bits each, with dt (ns, 32), x (16), y (15), polarity (1)."""
    words = np.frombuffer(packet.events, ">u8" if packet.big_endian else "<u8", len(packet.events) // 8)
    t = (np.uint64(packet.time_base) + (words & np.uint64(0xFFFF_FFFF))) // np.uint64(1000)
    x, y = (words >> 32) & np.uint64(0xFFFF), (words >> 48) & np.uint64(0x7FFF)
    return make_events(x.astype(np.int64), y.astype(np.int64), t.astype(np.int64), words >> 63)


class RosbagConfig(FileConfig):
    """Options of :class:`RosbagSource`.

    Attributes:
        topic: the topic to read; None when only one holds events.
    """

    topic: str | None = None


class RosbagSource(FileSource):
    """Events of one topic of a ROS 1 bag, in the order in which its messages were recorded."""

    name = "rosbag"
    Config = RosbagConfig
    config: RosbagConfig

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        return head.startswith(MAGIC)

    def describe(self) -> dict[str, Any]:
        with self.open() as file:
            return {"topics": {c.topic: c.type for c in BagReader(file, self.fail).connections()}}

    def packets(self) -> Iterator[EventPacket]:
        with self.open() as file:
            bag = BagReader(file, self.fail)
            wanted = self._choose(bag.connections())
            pending: list[EventPacket] = []
            damage: InputError | None = None
            decoded = self._decode(bag.messages(lambda connection: connection == wanted))
            while True:
                try:
                    packet = next(decoded, None)
                except InputError as e:
                    packet, damage = None, e
                if pending and (
                    packet is None
                    or (packet.width, packet.height) != (pending[0].width, pending[0].height)
                    or sum(map(len, pending)) >= PACKET_EVENTS
                ):
                    yield EventPacket(join_events([p.events for p in pending]), pending[0].width, pending[0].height)
                    pending.clear()
                if packet is None:
                    break
                pending.append(packet)
            if damage is not None:
                raise damage

    def _choose(self, connections: list[Connection]) -> Connection:
        """The connection to read. Raises UsageError or InputError naming the topics there are."""
        events = [c for c in connections if c.type == MESSAGE_TYPE]
        if not events:
            found = ", ".join(f"{c.topic} ({c.type})" for c in connections[:8]) or "none"
            raise self.fail(f"expected a topic of type {MESSAGE_TYPE}; the bag's topics: {found}")
        names = [c.topic for c in events]
        if self.config.topic is None:
            if len(events) > 1:
                raise UsageError(
                    f"{self.path}: several topics hold events; choose one: ?topic={names[0]} … ({', '.join(names)})"
                )
            return events[0]
        if self.config.topic not in names:
            raise UsageError(
                f"{self.path}: no events on topic {self.config.topic!r}{near_miss(self.config.topic, names)}"
            )
        return events[names.index(self.config.topic)]

    def _decode(self, messages: Iterator[Message]) -> Iterator[EventPacket]:
        evt3 = Evt3Decoder()
        for message in messages:
            try:
                packet = RosEventPacket.parse(message.data)
            except struct.error as e:
                raise self.fail(f"expected a whole {MESSAGE_TYPE}, found {e}", message.offset) from e
            size = (packet.width, packet.height)
            if not all(1 <= side <= MAX_SIDE for side in size):
                raise self.fail(
                    f"expected a sensor size from 1x1 to {MAX_SIDE}x{MAX_SIDE}, found {size[0]}x{size[1]}",
                    message.offset,
                )
            if packet.encoding == "evt3":
                # Its times are the camera's own: time_base has no part in them.
                data = np.frombuffer(packet.events, np.uint8, len(packet.events) // 2 * 2).copy()
                try:
                    for events in evt3.decode(data):
                        yield EventPacket(events, *size)
                except ReservedWordError as e:
                    raise self.fail(
                        f"expected a word of EVT3, found type {e.kind:#x}; damaged from there on", message.offset
                    ) from None
            elif packet.encoding == "mono":
                yield EventPacket(decode_mono(packet), *size)
            else:
                holds = "triggers" if packet.encoding == "trigger" else "another encoding"
                raise self.fail(
                    f"expected events in the encoding evt3 or mono, found {packet.encoding[:20]!r} ({holds}); "
                    "choose another topic with ?topic=…",
                    message.offset,
                )
            word = 2 if packet.encoding == "evt3" else 8
            if len(packet.events) % word:
                raise self.fail(
                    f"expected words of {word} bytes, found {len(packet.events)} bytes of events",
                    message.offset,
                )
