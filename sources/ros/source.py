"""Recordings of ROS: the events of one topic of a bag, of ROS 1 (``.bag``) or 2 (``.db3``, ``.mcap``, a folder).

Types of messages: event_camera_msgs/EventPacket in the encodings evt3, mono, libcaer and libcaer_cmp,
dvs_msgs/EventArray and prophesee_event_msgs/EventArray. ``from=`` skips by the times of recording, except in evt3: its
times have 24 bits, and their turns are counted from the first message on.

Not read: messages of other types, such as frames; packed files (``.db3.zstd``) in a folder, which must be unpacked
first.

Bags of ROS 1 are read over the package rosbags, those in MCAP over mcap. rosbags refuses a bag that was cut off or that
has no whole index (``.bag.active``); such a one is read from chunk to chunk up to there, and it is said where that is.

Traps of other readers: times of evt3 are the camera's, not the host's; those of libcaer count from the driver's start
or from the packet; a folder without metadata.yaml comes from a recorder that was ended early.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from pydantic import Field

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import PACKET_EVENTS, EventPacket
from stream_ottt.pipeline.excerpt import first_time, from_its_first
from stream_ottt.pipeline.source import FileConfig, FileSource
from stream_ottt.registry import near_miss
from stream_ottt.sources.gather import gathered
from stream_ottt.sources.natural_order import natural_order
from stream_ottt.sources.ros import db3, mcap, ros1
from stream_ottt.sources.ros.bag import Bag, Message, Topic
from stream_ottt.sources.ros.encodings import ENCODINGS, Encoding
from stream_ottt.sources.ros.messages import ARRAY_TYPES, PACKET_TYPES, RosEventArray, RosEventPacket

MAX_SIDE = 1 << 15
METADATA = "metadata.yaml"
PIECE = re.compile(r"(.+)_\d+\.(?:db3|mcap)")
KINDS: dict[bytes, type[Bag]] = {ros1.MAGIC: ros1.Ros1Bag, db3.MAGIC: db3.Sqlite3Bag, mcap.MAGIC: mcap.McapBag}
PROBES = 16
"""Places at which a bag is looked at, whether its events' times ascend."""
NEAR_NS = 1_000_000_000
"""Messages that were recorded within this before a time may hold later events."""


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

    A bag that was cut off is read up to there. Packed files (``.db3.zstd``) in a folder must be unpacked first.
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
            return (path / METADATA).is_file() or _is_unfinished(path)
        tables = b"topics" in head and b"messages" in head
        return head.startswith((ros1.MAGIC, mcap.MAGIC)) or (head.startswith(db3.MAGIC) and tables)

    def describe(self) -> dict[str, Any]:
        """The topics with their types, and how many words of the last pass were of a type that is not known."""
        topics = {t.name: t.type for bag in self._bags() for t in bag.topics()}
        return {"topics": topics, **({"unknown_words": self._unknown} if self._unknown else {})}

    def packets(self) -> Iterator[EventPacket]:
        yield from gathered(self._decoded(None))

    def packets_from(self, start: int) -> Iterator[EventPacket]:
        """From the messages of ``start`` (µs), where each of them says the whole time."""
        yield from gathered(self._decoded(start))

    def origin(self) -> int:
        """Time of the first event, µs, of which no more messages are decoded than it takes."""
        with closing(self._decoded(None)) as packets:  # type: ignore[type-var]  # _decoded() is a generator
            return from_its_first(packets, self.config.tolerance)[0]

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
            try:
                with file.open("rb") as opened:
                    head = opened.read(16)
            except OSError as e:
                raise self.fail(f"{file.name} cannot be read: {e.strerror}; check the path") from e
            kind = next((kind for magic, kind in KINDS.items() if head.startswith(magic)), None)
            if kind is None:
                raise self.fail(f"{file.name} is no bag of ROS 1 (.bag) or ROS 2 (.db3, .mcap); choose another file")
            bags.append(kind(file, self.fail))
        return bags

    def _decoded(self, start: int | None) -> Iterator[EventPacket]:
        """The events of each message of the topic; of ``start`` (µs) on, where that can be found."""
        bags = every = self._bags()
        topics = [t for bag in bags for t in bag.topics()]
        for bag in bags if not any(t.type in PACKET_TYPES + ARRAY_TYPES for t in topics) else []:
            list(bag.messages(Topic("", "")))  # says what is wrong with one that was cut off
        topic = self._choose(topics)
        recorded = 0
        if start is not None:
            firsts = [self._first_time(bag, topic) for bag in bags]
            if _ascend(firsts):
                bags = bags[max(sum(t < start for t in firsts if t is not None) - 1, 0) :]
                recorded = self._recorded_at(bags[0], topic, start)
        encodings: dict[str, Encoding] = {}
        size = sum(bag.size for bag in every)
        for bag in bags:
            before = sum(b.size for b in every[: every.index(bag)])
            for number, message in enumerate(bag.messages(topic, recorded if bag is bags[0] else 0), start=1):
                self.rows_read((before + bag.share * bag.size) / size)
                try:
                    if topic.type in ARRAY_TYPES:
                        yield from self._array(message)
                    else:
                        yield from self._packet(message, encodings)
                except ValueError as e:
                    where = f"message {number} of {topic.name}"
                    raise self.fail(f"{where}: expected a whole {topic.type}, found {e}; the bag is damaged") from e

    def _recorded_at(self, bag: Bag, topic: Topic, start: int) -> int:
        """When (ns) the messages with events of ``start`` (µs) were recorded or some time before; 0 where unknown."""
        if (span := bag.span()) is None or self._first_time(bag, topic) is None:
            return 0
        low, high = span
        step = max((high - low) // PROBES, 1)
        if not _ascend([self._first_time(bag, topic, at) for at in range(low, high, step)]):
            return 0
        while high - low > NEAR_NS:
            middle = (low + high) // 2
            t = self._first_time(bag, topic, middle)
            low, high = (middle, high) if t is not None and t < start else (low, middle)
        return max(low - NEAR_NS, 0)

    def _first_time(self, bag: Bag, topic: Topic, recorded: int = 0) -> int | None:
        """Time (µs) of the first event recorded at ``recorded`` (ns) or later; None where a message does not say it."""
        encodings: dict[str, Encoding] = {}
        with suppress(InputError, UsageError, ValueError):
            for message in bag.messages(topic, recorded):
                for packet in self._array(message) if topic.type in ARRAY_TYPES else self._packet(message, encodings):
                    if not all(e.alone for e in encodings.values()):
                        return None
                    if (t := first_time(packet)) is not None:
                        return t
        return None

    def _choose(self, topics: list[Topic]) -> Topic:
        """The topic to read. Raises UsageError or InputError naming the topics there are."""
        events = {t.name: t for t in topics if t.type in PACKET_TYPES + ARRAY_TYPES}
        if not events:
            found = " ".join(", ".join(f"{t.name} ({t.type})" for t in topics[:8]).split()) or "none"
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


def _ascend(times: list[int | None]) -> bool:
    """Whether all times are known and none is before another: else a sensor's clock has jumped."""
    known = [t for t in times if t is not None]
    return len(known) == len(times) and known == sorted(known)


def _is_unfinished(folder: Path) -> bool:
    """Whether a folder holds only the bags ``NAME_0``, ``NAME_1``, … of one recording, of which the recorder was ended
    before it wrote what they are."""
    with suppress(OSError):
        parts = [PIECE.fullmatch(f.name) for f in folder.iterdir() if not f.name.startswith(".")]
        return bool(parts) and None not in parts and len({part[1] for part in parts if part}) == 1
    return False
