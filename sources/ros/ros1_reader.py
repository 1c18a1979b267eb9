"""The package rosbags' reader of ROS 1, held to what the file can hold.

Records, connections and the index are rosbags' matter. Its messages() is not used: it refuses a bag that was cut off
or whose index is damaged, holds a place for every message in memory, and unpacks a chunk anew for each message where
chunks overlap in time. Here each chunk is unpacked once, in the order of the file, which is that of recording.
"""

from __future__ import annotations

import bz2
import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import lz4.frame
from rosbags.rosbag1 import Reader, ReaderError
from rosbags.rosbag1.reader import Header, IndexData, RecordType, decompressors, read_bytes, read_uint32

from stream_ottt.sources.decompress import bz2_stream, limit_of, lz4_frame
from stream_ottt.sources.ros.bag import MAX_CHUNK, Bag, Topic, WithinFile, plain_type

Unpack = Callable[..., bytes | bytearray]
BOUNDED: dict[Any, tuple[Unpack, Callable[[], Any] | None]] = {
    decompressors["none"]: (bytes, None),
    decompressors["bz2"]: (bz2_stream, bz2.BZ2Decompressor),
    decompressors["lz4"]: (lz4_frame, lz4.frame.LZ4FrameDecompressor),
}
"""What rosbags unpacks a chunk with → what unpacks a whole one up to a bound, and what unpacks the beginning of one."""


class BagFile:
    """What rosbags asks of a path; the file that it opens gives no more than it holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.exists = path.exists

    def open(self, _mode: str) -> WithinFile:
        return WithinFile(self.path)


class BagReader(Reader):
    """A reader of one bag of version 2.0.

    Attributes:
        indexed: whether the bag has a whole index.
        known: number of a connection → its topic, as far as they were found.
    """

    def __init__(self, bag: Bag) -> None:
        path: Any = BagFile(bag.path)
        super().__init__(path)
        self.indexed = True
        self.known: dict[int, Topic] = {}
        self._bag = bag

    def open(self) -> None:
        """Read the index. Raises InputError where the bag is encrypted, ReaderError where it does not begin as one."""
        with WithinFile(self._bag.path) as file:
            file.readline()
            if encryptor := Header.read(file, RecordType.BAGHEADER).get("encryptor"):
                raise self._bag.fail(f"its encryption by {encryptor[:40]!r} is not read; write it without", file.tell())
            read_bytes(file, read_uint32(file))
            self._first = file.tell()
        try:
            super().open()
        except Exception:  # it was cut off, or its index is damaged; the user says so after the messages
            self.indexed = False
            return
        assert self.bio is not None
        self.bio.close()
        self.known = {c.id: Topic(c.topic, plain_type(c.msgtype)) for c in self.connections}

    def records(self, start: int = 0) -> Iterator[tuple[Topic, bytes]]:
        """Topic and content of each message, with an index from the first chunk that has some of ``start`` (ns) on.

        Raises:
            Exception: of any kind, at the first damage.
        """
        at, size = self._first, self._bag.size
        if start and self.chunk_infos:
            at = min(i.pos for i in self.chunk_infos if i.end_time > start or i is self.chunk_infos[-1])
        while at < size:
            self._bag.at = at
            kind, behind = self._record_at(at)
            if kind == RecordType.CHUNK:
                try:
                    yield from self._in_chunk(at)
                except ReaderError:
                    if behind <= size:  # else its last record was cut off with it
                        raise
            elif kind == RecordType.CONNECTION and not self.chunk_infos:  # else the index has said them
                assert self.bio is not None
                self._connect(self.bio, at)
            if behind > size:
                raise EOFError(f"expected {behind - at} bytes, the file ends after {size - at}")
            at = behind

    def _record_at(self, at: int) -> tuple[int, int]:
        """Kind of the record at a byte offset, and where it ends."""
        assert self.bio is not None
        self.bio.seek(at)
        kind = Header.read(self.bio).get_uint8("op")
        size = read_uint32(self.bio)
        return kind, self.bio.tell() + size

    def _in_chunk(self, at: int) -> Iterator[tuple[Topic, bytes]]:
        """Topic and content of each message in the chunk at a byte offset, of one that was cut off up to there."""
        assert self.bio is not None
        self.bio.seek(at)
        chunk = self.read_chunk()
        if chunk.datasize > MAX_CHUNK:
            raise ReaderError(f"a chunk of {chunk.datasize} bytes; at most {MAX_CHUNK} are read")
        self.bio.seek(chunk.datapos)
        unpack, begin = BOUNDED[chunk.decompressor]
        left = self._bag.size - chunk.datapos
        data = read_bytes(self.bio, min(chunk.datasize, left))
        if left < chunk.datasize and begin is not None:
            unpack = partial(begin().decompress, max_length=limit_of(left))
        inner = io.BytesIO(unpack(data))
        size = len(inner.getbuffer())
        self._bag.unpacked(size)
        while (place := inner.tell()) < size:
            fields = Header.read(inner)
            kind = fields.get_uint8("op")
            data = read_bytes(inner, read_uint32(inner))
            if kind == RecordType.CONNECTION:
                if fields.get_uint32("conn") not in self.known:
                    self._connect(inner, place)
            elif kind == RecordType.MSGDATA:
                number = fields.get_uint32("conn")
                if number not in self.known:
                    raise ReaderError(f"a message of connection {number}, of which the bag says nothing")
                yield self.known[number], data

    def _connect(self, file: BinaryIO, at: int) -> None:
        """Take up the connection whose record is at ``at`` in the bag or in a chunk, which is left behind it."""
        outer, self.bio = self.bio, file
        file.seek(at)
        found = self.read_connection()
        self.known[found.id] = Topic(found.topic, plain_type(found.msgtype))
        self.bio = outer

    def read_index_data(self, pos: int, indexes: dict[int, list[IndexData]]) -> None:
        """Nothing: the messages are found in the chunks themselves."""
