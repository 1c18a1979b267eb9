"""Recordings of ROS: the events of one topic of a bag, of ROS 1 (``.bag``) or 2 (``.db3``, ``.mcap``, a folder).

Types of messages: event_camera_msgs/EventPacket, dvs_msgs/EventArray and prophesee_event_msgs/EventArray.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import PACKET_EVENTS, EventPacket, join_events
from stream_ottt.pipeline.source import FileConfig, FileSource
from stream_ottt.registry import near_miss
from stream_ottt.sources.ros.bags import (
    MCAP_MAGIC,
    METADATA,
    ROS1_MAGIC,
    SQLITE_MAGIC,
    Bag,
    Message,
    Topic,
    kind_of,
    natural_order,
)
from stream_ottt.sources.ros.encodings import ENCODINGS, Encoding
from stream_ottt.sources.ros.messages import ARRAY_TYPES, PACKET_TYPES, RosEventArray, RosEventPacket

MAX_SIDE = 1 << 15


class RosbagConfig(FileConfig):
    """Options of :class:`RosbagSource`.

    Attributes:
        topic: the topic to read; None when only one holds events.
        width: sensor width in pixels; None for what the messages say.
        height: sensor height in pixels; None for what the messages say.
    """

    topic: str | None = None
    width: int | None = Field(None, ge=1, le=MAX_SIDE)
    height: int | None = Field(None, ge=1, le=MAX_SIDE)


class RosbagSource(FileSource):
    """Events of one topic of a bag, in the order in which its messages were recorded.

    A ROS 1 bag that was cut off must be mended first (``rosbag reindex``); MCAP is read up to the cut. What was packed
    as a whole (``.db3.zstd``) must be unpacked first.
    """

    name = "rosbag"
    Config = RosbagConfig
    config: RosbagConfig

    def __init__(self, config: RosbagConfig) -> None:
        super().__init__(config)
        self._unknown = 0

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        if path.is_dir():
            return (path / METADATA).is_file()
        tables = b"topics" in head and b"messages" in head
        return head.startswith((ROS1_MAGIC, MCAP_MAGIC)) or (head.startswith(SQLITE_MAGIC) and tables)

    def describe(self) -> dict[str, Any]:
        """The topics with their types, and how many words of the last pass were of a type that is not known."""
        topics = {t.name: t.type for bag in self._bags() for t in bag.topics()}
        return {"topics": topics, **({"unknown_words": self._unknown} if self._unknown else {})}

    def packets(self) -> Iterator[EventPacket]:
        pending: list[EventPacket] = []
        held = 0
        damage: InputError | None = None
        decoded = self._decoded()
        while True:
            try:
                packet = next(decoded, None)
            except InputError as e:
                packet, damage = None, e
            if pending and (
                packet is None
                or (packet.width, packet.height) != (pending[0].width, pending[0].height)
                or held >= PACKET_EVENTS
            ):
                yield EventPacket(join_events([p.events for p in pending]), pending[0].width, pending[0].height)
                pending.clear()
                held = 0
            if packet is None:
                break
            if len(packet):
                pending.append(packet)
                held += len(packet)
        if damage is not None:
            raise damage

    def _bags(self) -> list[Bag]:
        """The file, or those of a folder in the order of their numbers. Raises InputError when there is none."""
        files = [self.path]
        if self.path.is_dir():
            files = sorted((f for f in self.path.iterdir() if f.suffix in (".db3", ".mcap")), key=natural_order)
            if not files:
                packed = next((f for f in self.path.iterdir() if f.suffix == ".zstd"), None)
                fix = f"unpack it first: `unzstd {packed.name}`" if packed else "expected a bag of ROS 2"
                raise self.fail(f"no .db3 or .mcap file in this folder; {fix}")
        bags = []
        for file in files:
            self.open_for_reading(file)
            kind = kind_of(file)
            if kind is None:
                raise self.fail(f"{file.name} is no bag of ROS 1 (.bag) or ROS 2 (.db3, .mcap); choose another file")
            bags.append(kind(file, self.fail))
        return bags

    def open_for_reading(self, file: Path) -> None:
        """Raises InputError when a file cannot be read."""
        try:
            file.open("rb").close()
        except OSError as e:
            raise self.fail(f"{file.name} cannot be read: {e.strerror}; check the path") from e

    def _decoded(self) -> Iterator[EventPacket]:
        """The events of each message of the topic."""
        bags = self._bags()
        topic = self._choose([t for bag in bags for t in bag.topics()])
        encodings: dict[str, Encoding] = {}
        for bag in bags:
            for number, message in enumerate(bag.messages(topic), start=1):
                try:
                    if topic.type in ARRAY_TYPES:
                        yield from self._array(message)
                    else:
                        yield from self._packet(message, encodings)
                except ValueError as e:
                    where = f"message {number} of {topic.name}"
                    raise self.fail(f"{where}: expected a whole {topic.type}, found {e}; the bag is damaged") from e

    def _choose(self, topics: list[Topic]) -> Topic:
        """The topic to read. Raises UsageError or InputError naming the topics there are."""
        events = {t.name: t for t in topics if t.type in PACKET_TYPES + ARRAY_TYPES}
        if not events:
            found = ", ".join(f"{t.name} ({t.type})" for t in topics[:8]) or "none"
            types = ", ".join(PACKET_TYPES[:1] + ARRAY_TYPES)
            raise self.fail(f"no topic holds events ({types}); its topics: {found}")
        if self.config.topic is None:
            if len(events) > 1:
                raise UsageError(
                    f"{self.path}: several topics hold events; choose one: ?topic={next(iter(events))} … "
                    f"({', '.join(events)})"
                )
            return next(iter(events.values()))
        if self.config.topic not in events:
            raise UsageError(
                f"{self.path}: no events on topic {self.config.topic!r}{near_miss(self.config.topic, events)}"
            )
        return events[self.config.topic]

    def _array(self, message: Message) -> Iterator[EventPacket]:
        found = RosEventArray.parse(message.data, cdr=message.cdr)
        width, height = self._size(found.width, found.height)
        for start in range(0, len(found.events), PACKET_EVENTS):
            yield EventPacket(found.events[start : start + PACKET_EVENTS], width, height)

    def _packet(self, message: Message, encodings: dict[str, Encoding]) -> Iterator[EventPacket]:
        found = RosEventPacket.parse(message.data, cdr=message.cdr)
        size = self._size(found.width, found.height)
        if found.encoding not in ENCODINGS:
            holds = " (triggers)" if found.encoding == "trigger" else ""
            raise self.fail(
                f"expected events in the encoding {', '.join(ENCODINGS)}, found {found.encoding[:20]!r}{holds}; "
                "choose another topic with ?topic=…"
            )
        if found.encoding not in encodings:
            encodings[found.encoding] = ENCODINGS[found.encoding]()
        encoding = encodings[found.encoding]
        for events in encoding.decode(found):
            yield EventPacket(events, *size)
        if encoding.unknown:
            self._unknown = sum(e.unknown for e in encodings.values())
        if len(found.events) % encoding.word_bytes:
            raise ValueError(f"{len(found.events)} bytes of events in words of {encoding.word_bytes}")

    def _size(self, width: int, height: int) -> tuple[int, int]:
        """The sensor's size where the messages say ``width`` and ``height``. Raises InputError when that is none."""
        if self.config.width is not None and self.config.height is not None:
            self.size_from = "option"
        size = self.config.width or width, self.config.height or height
        if not all(1 <= side <= MAX_SIDE for side in size):
            raise self.fail(
                f"expected a sensor size from 1x1 to {MAX_SIDE}x{MAX_SIDE}, found {size[0]}x{size[1]}; "
                "say it with ?width=…&height=…"
            )
        return size
