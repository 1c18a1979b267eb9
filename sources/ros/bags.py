"""Bags of ROS 1 (over the package rosbags), and of ROS 2 as db3 (sqlite3) and MCAP (over the package mcap).

What these packages would believe of a file is checked first: no more is read than the file holds, and no more unpacked
than :data:`UNPACKED_RATIO` times that.
"""

from __future__ import annotations

import io
import re
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import quote

from stream_ottt.errors import InputError
from stream_ottt.sources.decompress import DecompressError, ZstdFrames, bz2_stream, lz4_frame

ROS1_MAGIC = b"#ROSBAG V"
ROS1_VERSION = b"#ROSBAG V2.0\n"
SQLITE_MAGIC = b"SQLite format 3\0"
MCAP_MAGIC = b"\x89MCAP0\r\n"
LZ4_MAGIC = b"\x04\x22\x4d\x18"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
METADATA = "metadata.yaml"

MAX_CHUNK = 1 << 28
"""Bytes of a chunk or message; recorders write chunks of about 1 MiB."""
UNPACKED_RATIO = 32
UNPACKED_AT_LEAST = 1 << 25
"""A bag may unpack to so many bytes, or to so many times its size. Events pack to a half or a fifth."""
READ_RATIO = 8
"""So many times a whole bag may be read: once for its index, and once for its messages, if they are in order."""
SQLITE_STEPS = 1_000_000
"""After so many steps of SQLite's machine it is looked whether a damaged file keeps it going for ever."""

Fail = Callable[[str], InputError]


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic: its name and the type of its messages, as ROS 1 writes it."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        data: serialized content.
        cdr: whether it is serialized as ROS 2 does.
    """

    data: bytes
    cdr: bool


class Bag(ABC):
    """One bag file.

    Args:
        path: the file.
        fail: makes an error about it.
    """

    def __init__(self, path: Path, fail: Fail) -> None:
        self.path = path
        self.fail = fail
        self.size = path.stat().st_size
        self._unpacked = 0

    @abstractmethod
    def topics(self) -> list[Topic]:
        """The topics in it. Raises InputError when the file is damaged."""

    @abstractmethod
    def messages(self, topic: Topic) -> Iterator[Message]:
        """The messages of a topic in the order of their recording.

        Raises:
            InputError: at the first damage, after what comes before it.
        """

    def unpacked(self, size: int) -> None:
        """Count bytes that were unpacked. Raises InputError when they are too many for the file."""
        self._unpacked += size
        if self._unpacked > max(UNPACKED_AT_LEAST, UNPACKED_RATIO * self.size):
            raise self.fail(
                f"it unpacks to more than {UNPACKED_RATIO} times its size, as no recording does; it is damaged, or was "
                "made to fill the memory"
            )

    @contextmanager
    def damage(self) -> Iterator[None]:
        """What the packages stumble over in a damaged file, as an InputError."""
        try:
            yield
        except InputError:
            raise
        except Exception as e:
            reason = " ".join(str(e).split()) or type(e).__name__
            raise self.fail(f"cannot be read on: {reason[:200]}; the bag is cut off or damaged") from e


class WithinFile(io.BufferedReader):
    """A file of which no more can be asked than it holds, so that no memory is taken for sizes that are not true."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._end = self.seek(0, io.SEEK_END)
        self.seek(0)
        self._may_read = READ_RATIO * self._end

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file. Raises EOFError when more is asked for than there is, or the same again and again."""
        left = max(self._end - self.tell(), 0)
        size = left if size is None or size < 0 else size
        self._may_read -= size
        if size > left or self._may_read < 0:
            raise EOFError(f"expected {size} bytes, the file ends after {left}")
        return super().read(size)


class _Opener:
    """Stands for a path where rosbags opens it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        return True

    def open(self, mode: str) -> BinaryIO:
        return WithinFile(self.path)


class Ros1Bag(Bag):
    """A bag of ROS 1, through its index: one that was cut off has none, and is not read."""

    def topics(self) -> list[Topic]:
        with self._reader() as reader:
            return [Topic(c.topic, plain_type(c.msgtype)) for c in reader.connections]

    def messages(self, topic: Topic) -> Iterator[Message]:
        with self._reader() as reader:
            wanted = [c for c in reader.connections if Topic(c.topic, plain_type(c.msgtype)) == topic]
            with self.damage():
                for _, _, data in reader.messages(wanted):
                    yield Message(data, cdr=False)

    @contextmanager
    def _reader(self) -> Iterator[Any]:
        from rosbags.rosbag1 import Reader

        with self.path.open("rb") as file:
            magic = file.read(len(ROS1_VERSION))
        if magic != ROS1_VERSION:
            raise self.fail(f"expected {ROS1_VERSION!r}, found {magic!r}; bring an older bag up to date: `rosbag fix`")
        reader = Reader(cast("Any", _Opener(self.path)))
        try:
            with self.damage():
                try:
                    reader.open()
                except Exception as e:
                    if "not indexed" in str(e):
                        raise self.fail("has no index: its recording was cut off; `rosbag reindex` mends it") from e
                    raise
                for at, chunk in reader.chunks.items():
                    if chunk.datasize > MAX_CHUNK:
                        raise self.fail(f"a chunk of {chunk.datasize} bytes at byte {at}; at most {MAX_CHUNK} are read")
                    reader.chunks[at] = chunk._replace(decompressor=self._unpack)
            yield reader
        finally:
            if reader.bio is not None:
                reader.close()

    def _unpack(self, data: bytes) -> bytes:
        """A chunk as it was before it was packed."""
        unpack = bz2_stream if data.startswith(b"BZh") else lz4_frame if data.startswith(LZ4_MAGIC) else bytes
        out = bytes(unpack(data))
        self.unpacked(len(out))
        return out


class Sqlite3Bag(Bag):
    """A bag of ROS 2 in a database of SQLite."""

    def topics(self) -> list[Topic]:
        with self._database() as database:
            rows = database.execute("SELECT name, type FROM topics ORDER BY id")
            return [Topic(str(name), plain_type(str(kind))) for name, kind in rows]

    def messages(self, topic: Topic) -> Iterator[Message]:
        zstd = ZstdFrames()
        with self._database() as database:
            query = (
                "SELECT data FROM messages WHERE topic_id IN (SELECT id FROM topics WHERE name = ? AND "
                "replace(type, '/msg/', '/') = ?) ORDER BY id"
            )
            with self.damage():
                for (data,) in database.execute(query, (topic.name, topic.type)):
                    if data.startswith(ZSTD_MAGIC):  # the recorder's compression of single messages
                        data = bytes(zstd(data))
                    self.unpacked(len(data))
                    yield Message(data, cdr=True)

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        for suffix in ("-wal", "-journal"):
            beside = self.path.with_name(self.path.name + suffix)
            if beside.exists() and beside.stat().st_size:
                raise self.fail(f"its recording was cut off: {beside.name} is left; mend it with `ros2 bag reindex`")
        with self.path.open("rb") as file:
            head = file.read(100)
        page, pages = int.from_bytes(head[16:18], "big"), int.from_bytes(head[28:32], "big")
        # SQLite takes what a file lacks for zeros.
        if self.size < (page if page > 1 else 1 << 16) * pages:
            raise self.fail(f"a database of {pages} pages, cut off at byte {self.size}; copy the file again")
        uri = f"file:{quote(str(self.path.absolute()))}?mode=ro&immutable=1"
        with self.damage():
            database = sqlite3.connect(uri, uri=True, check_same_thread=False)
        try:
            looks = max(16, self.size * 10 // SQLITE_STEPS)

            def still_reading() -> bool:
                nonlocal looks
                looks -= 1
                return looks < 0

            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_CHUNK)
            database.set_progress_handler(still_reading, SQLITE_STEPS)
            with self.damage():
                database.execute("PRAGMA trusted_schema = OFF")
                tables = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('messages', 'topics')"
                if database.execute(tables).fetchone() != (2,):
                    raise self.fail("holds no tables 'topics' and 'messages'; expected a bag of ROS 2")
                yield database
        finally:
            database.close()


class McapBag(Bag):
    """A bag in MCAP, read from its beginning, so that one that was cut off is read up to there."""

    def topics(self) -> list[Topic]:
        from mcap.reader import SeekingReader

        with self.damage(), WithinFile(self.path) as file:
            try:
                summary = SeekingReader(file, record_size_limit=MAX_CHUNK).get_summary()
            except Exception:  # it was cut off: what there is of it is looked through
                summary = None
            if summary is not None and summary.channels:
                schemas = {s.id: s.name for s in summary.schemas.values()}
                return [Topic(c.topic, plain_type(schemas.get(c.schema_id, ""))) for c in summary.channels.values()]
        return self._found()

    def _found(self) -> list[Topic]:
        """The topics of the channels in the file itself."""
        found: dict[Topic, None] = {}
        try:
            for topic, _ in self._records():
                found[topic] = None
        except InputError:
            pass  # what is wrong is told when the messages are read
        self._unpacked = 0
        return list(found)

    def messages(self, topic: Topic) -> Iterator[Message]:
        for own, message in self._records():
            if own == topic and message is not None:
                yield message

    def _records(self) -> Iterator[tuple[Topic, Message | None]]:
        """Each channel with None, and each message."""
        from mcap.records import Channel, Chunk, Schema
        from mcap.records import Message as Record
        from mcap.stream_reader import StreamReader, breakup_chunk

        zstd = ZstdFrames()
        schemas: dict[int, str] = {}
        channels: dict[int, tuple[Topic, bool]] = {}
        with self.damage(), WithinFile(self.path) as file:
            for outer in StreamReader(file, emit_chunks=True, record_size_limit=MAX_CHUNK).records:
                inner = [outer]
                if isinstance(outer, Chunk):
                    inner = breakup_chunk(self._whole(outer, zstd))
                for record in inner:
                    if isinstance(record, Schema):
                        schemas[record.id] = record.name
                    elif isinstance(record, Channel):
                        topic = Topic(record.topic, plain_type(schemas.get(record.schema_id, "")))
                        channels[record.id] = topic, record.message_encoding != "ros1"
                        yield topic, None
                    elif isinstance(record, Record) and record.channel_id in channels:
                        topic, cdr = channels[record.channel_id]
                        yield topic, Message(record.data, cdr)

    def _whole(self, chunk: Any, zstd: ZstdFrames) -> Any:
        """A chunk of mcap's, unpacked. Raises ValueError when it is damaged."""
        kinds: dict[str, Callable[[bytes], bytes | bytearray]] = {"": bytes, "lz4": lz4_frame, "zstd": zstd}
        unpack = kinds.get(chunk.compression)
        if unpack is None:
            raise DecompressError(f"a chunk packed as {chunk.compression[:20]!r}, expected lz4 or zstd")
        chunk.data = bytes(unpack(chunk.data))
        if len(chunk.data) != chunk.uncompressed_size:
            raise DecompressError(f"a chunk of {len(chunk.data)} bytes, where {chunk.uncompressed_size} were announced")
        chunk.compression = ""
        self.unpacked(len(chunk.data))
        return chunk


def plain_type(name: str) -> str:
    """A message type as ROS 1 writes it: ``package/Name``."""
    return name.replace("/msg/", "/")


def kind_of(path: Path) -> type[Bag] | None:
    """The kind of bag that a file is, by its beginning."""
    with path.open("rb") as file:
        head = file.read(16)
    kinds = {ROS1_MAGIC: Ros1Bag, SQLITE_MAGIC: Sqlite3Bag, MCAP_MAGIC: McapBag}
    return next((kind for magic, kind in kinds.items() if head.startswith(magic)), None)


def natural_order(path: Path) -> list[Any]:
    """Sorts ``bag_10`` behind ``bag_9``."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]
