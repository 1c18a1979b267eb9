"""The records of a ROS 1 bag, walked in the order of the file.

Not through the bag's index: so a bag whose recording was cut short is read as far as it goes, and no size in it
is believed before it was compared with what is there.
Format: http://wiki.ros.org/Bags/Format/2.0
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

from stream_ottt.errors import InputError

MAGIC = b"#ROSBAG V"
VERSION = b"#ROSBAG V2.0\n"

MESSAGE, BAG_HEADER, INDEX, CHUNK, CHUNK_INFO, CONNECTION = (
    b"\x02",
    b"\x03",
    b"\x04",
    b"\x05",
    b"\x06",
    b"\x07",
)
OPS = (MESSAGE, BAG_HEADER, INDEX, CHUNK, CHUNK_INFO, CONNECTION)

MAX_HEADER = 1 << 16
MAX_CONNECTION = 1 << 20
MAX_MESSAGE = 1 << 24
MAX_CHUNK = 1 << 28
"""Caps on sizes that a file states, in bytes; bags hold chunks of under 1 MiB, unless told otherwise."""

U32 = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Connection:
    """A topic as one publisher wrote it: its name and the type of its messages."""

    topic: str
    type: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        data: serialized content.
        offset: byte offset of its record in the file; of its chunk when that is compressed.
    """

    data: bytes
    offset: int


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its header's fields, and where its data stand in the stream that holds it."""

    op: bytes
    fields: dict[bytes, bytes]
    start: int
    size: int
    offset: int


class BagReader:
    """A bag of version 2.0.

    Args:
        file: the bag, seekable.
        fail: makes the error for a message and a byte offset.

    Raises:
        InputError: no bag, or one of another version.
    """

    def __init__(self, file: BinaryIO, fail: Callable[[str, int], InputError]) -> None:
        self._file = file
        self._fail = fail
        self._size = os.fstat(file.fileno()).st_size
        self._connections: dict[bytes, Connection] = {}
        magic = self._take(file, 0, min(len(VERSION), self._size), 0)
        if magic != VERSION:
            raise fail(f"expected {VERSION!r}, found {magic!r}; bring an older bag up to date with `rosbag fix`", 0)
        header = next(self._records(file, len(VERSION), self._size, None), None)
        if header is None or header.op != BAG_HEADER:
            raise fail("expected the bag's header record; copy the file again", len(VERSION))
        self._header = header
        if header.fields.get(b"encryptor"):
            raise fail("the bag is encrypted; decrypt it with `rosbag decrypt`", len(VERSION))

    def connections(self) -> list[Connection]:
        """The topics in the bag, as far as it is whole: from its index, else from its chunks."""
        found: list[Connection] = []
        for deep in (False, True):
            self._connections.clear()
            try:
                for record in self._records(self._file, len(VERSION), self._size, None):
                    if deep and record.op == CHUNK:
                        for _ in self._chunk(record, lambda _: False):
                            pass
            except InputError:
                pass  # what is wrong is told when the messages are read
            found = list(dict.fromkeys(self._connections.values()))
            if found:
                break
        return found

    def messages(self, wanted: Callable[[Connection], bool]) -> Iterator[Message]:
        """The messages of the wanted connections in the order of the file.

        Raises:
            InputError: at the first damage, with its byte offset.
        """
        self._connections.clear()
        seen = {CHUNK_INFO: 0, CONNECTION: 0}
        for record in self._records(self._file, len(VERSION), self._size, None):
            if record.op in seen:
                seen[record.op] += 1
            if record.op == CHUNK:
                yield from self._chunk(record, wanted)
        # A recorder that is stopped properly writes an index, and into the header what it holds.
        for op, name in ((CHUNK_INFO, b"chunk_count"), (CONNECTION, b"conn_count")):
            expected = self._number(self._header, name)
            if seen[op] < expected or self._header.fields.get(b"index_pos", bytes(8)) == bytes(8):
                raise self._fail(
                    f"expected an index of {expected} records at the end, found {seen[op]}; the recording was cut "
                    "off there; `rosbag reindex` mends the bag",
                    self._size,
                )

    def _chunk(self, chunk: Record, wanted: Callable[[Connection], bool]) -> Iterator[Message]:
        compression = chunk.fields.get(b"compression", b"").decode("latin-1")
        stored = min(chunk.size, self._size - chunk.start)
        if compression == "none":
            yield from self._messages(self._file, chunk.start, chunk.start + stored, None, wanted)
            if stored < chunk.size:
                raise self._fail(
                    f"expected a chunk of {chunk.size} bytes, found {stored}; the bag is cut off there",
                    self._size,
                )
            return
        size = self._number(chunk, b"size")
        if max(size, stored) > MAX_CHUNK:
            raise self._fail(
                f"expected a chunk of at most {MAX_CHUNK} bytes, found {max(size, stored)}; "
                "record it anew with a smaller --chunksize",
                chunk.offset,
            )
        packed = io.BytesIO(self._take(self._file, chunk.start, stored, chunk.offset))
        with self._decompressor(compression, packed, chunk.offset) as stream:
            yield from self._messages(stream, 0, size, chunk.offset, wanted)

    def _decompressor(self, compression: str, packed: BinaryIO, offset: int) -> BinaryIO:
        if compression == "bz2":
            import bz2

            return cast("BinaryIO", bz2.BZ2File(packed))
        if compression == "lz4":
            import lz4.frame

            return cast("BinaryIO", lz4.frame.LZ4FrameFile(packed))
        raise self._fail(f"expected compression none, bz2 or lz4, found {compression[:20]!r}", offset)

    def _messages(
        self, stream: BinaryIO, start: int, end: int, offset: int | None, wanted: Callable[[Connection], bool]
    ) -> Iterator[Message]:
        for record in self._records(stream, start, end, offset):
            if record.op != MESSAGE:
                continue
            connection = self._connections.get(record.fields.get(b"conn", b""))
            if connection is None:
                raise self._fail("expected the connection of a message before the message", record.offset)
            if wanted(connection):
                if record.size > MAX_MESSAGE:
                    raise self._fail(
                        f"expected a message of at most {MAX_MESSAGE} bytes, found {record.size}",
                        record.offset,
                    )
                yield Message(self._take(stream, record.start, record.size, record.offset), record.offset)

    def _records(self, stream: BinaryIO, position: int, end: int, chunk: int | None) -> Iterator[Record]:
        """Records from ``position`` to ``end``; for those of a compressed chunk, ``chunk`` is its offset."""
        while position < end:
            offset = position if chunk is None else chunk
            if end - position < U32.size:
                raise self._cut(U32.size, end - position, offset)
            (size,) = U32.unpack(self._take(stream, position, U32.size, offset))
            if size > MAX_HEADER:
                raise self._fail(f"expected a record header of at most {MAX_HEADER} bytes, found {size}", offset)
            start = position + U32.size + size + U32.size
            if start > end:
                raise self._cut(start - position, end - position, offset)
            head = self._take(stream, position + U32.size, size + U32.size, offset)
            fields = self._fields(head[:size], offset)
            (length,) = U32.unpack_from(head, size)
            record = Record(fields.get(b"op", b""), fields, start, length, offset)
            if record.op not in OPS:
                raise self._fail(f"expected a record of a known kind, found op {record.op[:8]!r}", offset)
            # A chunk that was cut off still holds whole messages.
            if start + length > end and (record.op != CHUNK or chunk is not None):
                raise self._cut(start + length - position, end - position, offset)
            if record.op == CONNECTION:
                self._connect(stream, record)
            yield record
            position = start + length

    def _connect(self, stream: BinaryIO, record: Record) -> None:
        if record.size > MAX_CONNECTION:
            raise self._fail(
                f"expected a connection of at most {MAX_CONNECTION} bytes, found {record.size}", record.offset
            )
        about = self._fields(self._take(stream, record.start, record.size, record.offset), record.offset)
        self._connections[record.fields.get(b"conn", b"")] = Connection(
            record.fields.get(b"topic", b"").decode("utf-8", "replace"),
            about.get(b"type", b"").decode("utf-8", "replace"),
        )

    def _fields(self, data: bytes, offset: int) -> dict[bytes, bytes]:
        fields: dict[bytes, bytes] = {}
        position = 0
        while position < len(data):
            (size,) = U32.unpack(data[position : position + 4].ljust(4, b"\xff"))
            name, equals, value = data[position + 4 : position + 4 + size].partition(b"=")
            position += 4 + size
            if position > len(data) or not equals:
                raise self._fail("expected fields name=value in a record header", offset)
            fields[name] = value
        return fields

    def _number(self, record: Record, name: bytes) -> int:
        value = record.fields.get(name, b"")
        if len(value) != U32.size:
            raise self._fail(f"expected the field {name.decode()!r} of 4 bytes, found {len(value)}", record.offset)
        return int(U32.unpack(value)[0])

    def _take(self, stream: BinaryIO, position: int, size: int, offset: int) -> bytes:
        """Exactly ``size`` bytes from ``position`` of a file or of a chunk being decompressed."""
        try:
            stream.seek(position)
            data = stream.read(size)
        except (OSError, EOFError, RuntimeError, ValueError) as e:
            raise self._fail(f"cannot be read: {' '.join(str(e).split())}; the chunk is damaged", offset) from e
        if len(data) != size:
            raise self._cut(size, len(data), offset)
        return data

    def _cut(self, expected: int, found: int, offset: int) -> InputError:
        return self._fail(f"expected {expected} bytes, the data end after {found}; the bag is cut off there", offset)
