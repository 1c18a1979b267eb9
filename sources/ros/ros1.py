"""Bags of ROS 1, read from chunk to chunk, so that one that was cut off is read up to there.

A record: the size of its header (uint32), fields ``name=value`` with their sizes, the size of its data (uint32), data.
Messages and connections (what is recorded of a topic) lie in chunks, packed by bz2, LZ4 or not at all. A finished bag
ends with its connections again, and with the place and the times of each chunk; its first record says where.
Format: http://wiki.ros.org/Bags/Format/2.0
"""

from __future__ import annotations

import bz2
import io
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, BinaryIO

import lz4.frame

from stream_ottt.sources.decompress import bz2_stream, limit_of, lz4_frame
from stream_ottt.sources.ros.bag import MAX_CHUNK, Bag, Message, Topic, WithinFile, plain_type

MAGIC = b"#ROSBAG V"
VERSION = b"#ROSBAG V2.0\n"
MESSAGE, HEADER, CHUNK, CHUNK_INFO, CONNECTION = b"\x02", b"\x03", b"\x05", b"\x06", b"\x07"
UNPACK: dict[bytes, tuple[Callable[[bytes], bytes | bytearray], Any]] = {
    b"none": (bytes, None),
    b"bz2": (bz2_stream, bz2.BZ2Decompressor),
    b"lz4": (lz4_frame, lz4.frame.LZ4FrameDecompressor),
}
"""Packing → what unpacks a whole chunk, and what unpacks the beginning of one."""

Fields = dict[bytes, bytes]


@dataclass(slots=True)
class Index:
    """What stands at the end of a finished bag.

    Attributes:
        first: byte offset of the first record after the header.
        at: byte offset where it begins; 0 in one that was cut off.
        connections: number → topic.
        chunks: (first and last time of recording, ns, byte offset) of each.
    """

    first: int = 0
    at: int = 0
    connections: dict[int, Topic] = field(default_factory=dict)
    chunks: list[tuple[int, int, int]] = field(default_factory=list)


class Ros1Bag(Bag):
    """A bag of ROS 1, version 2.0."""

    def topics(self) -> list[Topic]:
        index = self._index
        with WithinFile(self.path) as file:
            found = dict.fromkeys(index.connections.values())
            if not index.at:
                with suppress(Exception):  # what is wrong is told when the messages are read
                    for topic, _ in self._read(file, index, 0):
                        found[topic] = None
        self._unpacked = 0
        return list(found)

    def span(self) -> tuple[int, int] | None:
        chunks = self._index.chunks
        return (min(c[0] for c in chunks), max(c[1] for c in chunks)) if chunks else None

    def messages(self, topic: Topic, start: int = 0) -> Iterator[Message]:
        index = self._index
        with self.damage(), WithinFile(self.path) as file:
            for own, message in self._read(file, index, start):
                if own == topic and message is not None:
                    yield message
            if not index.at:
                raise self.fail("the recording was cut off here, and has no index; all before it was read", file.end)

    @cached_property
    def _index(self) -> Index:
        """The index, without chunks where there is none."""
        self.at = 0
        with self.damage(), WithinFile(self.path) as file:
            magic = file.read(len(VERSION))
            if magic != VERSION:
                fix = "bring an older bag up to date with `rosbag fix`"
                raise self.fail(f"expected {VERSION!r}, found {magic!r}; {fix}", 0)
            self.at = file.tell()
            fields, _ = record(file)
            if fields.get(b"op") != HEADER:
                raise ValueError("the first record is no bag header")
            if encryptor := fields.get(b"encryptor"):
                raise self.fail(f"its encryption by {encryptor[:40]!r} is not read; write it without", self.at)
            index = Index(file.tell())
            with suppress(Exception):  # of one that was cut off; that is told when the reading comes to it
                index = self._index_at(file, index.first, fields)
        return index

    @staticmethod
    def _index_at(file: WithinFile, first: int, about: Fields) -> Index:
        """Raises EOFError, KeyError, struct.error or ValueError where it is none, or not whole."""
        index = Index(first, number(about, b"index_pos"))
        file.seek(index.at)
        chunks = 0
        while file.tell() < file.end:
            fields, data = record(file)
            if fields[b"op"] == CONNECTION:
                index.connections[number(fields, b"conn")] = connection(fields, data)
            elif fields[b"op"] == CHUNK_INFO:
                chunks += 1
                if number(fields, b"count"):
                    times = time(fields[b"start_time"]), time(fields[b"end_time"])
                    index.chunks.append((*times, number(fields, b"chunk_pos")))
        if (len(index.connections), chunks) != (number(about, b"conn_count"), number(about, b"chunk_count")):
            raise ValueError("some of it is missing")
        return index

    def _read(self, file: WithinFile, index: Index, start: int) -> Iterator[tuple[Topic, Message | None]]:
        """Each connection with None, and each message, from the first chunk that has some of ``start`` (ns) on."""
        connections = dict(index.connections)
        file.seek(index.first)
        if start and index.chunks:
            late = [place for _, last, place in index.chunks if last >= start]
            file.seek(min(late, default=index.at))
        while (at := file.tell()) < (index.at or file.end):
            self.at = at
            fields = header(file)
            (size,) = struct.unpack("<I", file.read(4))
            left = file.end - file.tell()
            if fields[b"op"] != CHUNK:
                file.seek(min(size, left), io.SEEK_CUR)
                continue
            if size > MAX_CHUNK:
                raise ValueError(f"a chunk of {size} bytes; at most {MAX_CHUNK} are read")
            inner = io.BytesIO(self._unpack(fields[b"compression"], file.read(min(size, left)), whole=size <= left))
            end = len(inner.getbuffer())
            while inner.tell() < end:
                fields, data = record(inner)
                if fields[b"op"] == CONNECTION:
                    topic = connections[number(fields, b"conn")] = connection(fields, data)
                    yield topic, None
                elif fields[b"op"] == MESSAGE:
                    yield connections[number(fields, b"conn")], Message(data, cdr=False)
            if size > left:
                raise EOFError(f"expected a chunk of {size} bytes, the file ends after {left}")

    def _unpack(self, compression: bytes, data: bytes, *, whole: bool) -> bytes:
        """A chunk as it was before it was packed; of one that was cut off, what there is."""
        if compression not in UNPACK:
            raise ValueError(f"a chunk packed as {compression[:20]!r}, expected none, bz2 or lz4")
        unpack, begin = UNPACK[compression]
        out = bytes(
            unpack(data) if whole or begin is None else begin().decompress(data, max_length=limit_of(len(data)))
        )
        self.unpacked(len(out))
        return out


def record(file: BinaryIO) -> tuple[Fields, bytes]:
    """The next record's fields and data. Raises EOFError, struct.error or ValueError where it is cut or damaged."""
    return header(file), sized(file)


def header(file: BinaryIO) -> Fields:
    """The next record's fields. Raises as :func:`record`."""
    head = sized(file)
    fields, at = {}, 0
    while at < len(head):
        (size,) = struct.unpack_from("<I", head, at)
        name, sep, value = head[at + 4 : at + 4 + size].partition(b"=")
        at += 4 + size
        if not sep or at > len(head):
            raise ValueError("a record's header is damaged")
        fields[name] = value
    return fields


def sized(file: BinaryIO) -> bytes:
    """The bytes whose number comes before them."""
    (size,) = struct.unpack("<I", file.read(4))
    if size > MAX_CHUNK:
        raise ValueError(f"a record of {size} bytes; at most {MAX_CHUNK} are read")
    data = file.read(size)
    if len(data) < size:
        raise EOFError(f"expected {size} bytes, found {len(data)}")
    return data


def number(fields: Fields, name: bytes) -> int:
    """An unsigned integer. Raises KeyError when it is missing."""
    return int.from_bytes(fields[name], "little")


def time(value: bytes) -> int:
    """A time (s and ns, uint32 each) in ns."""
    s, ns = struct.unpack("<II", value)
    return int(s) * 1_000_000_000 + int(ns)


def connection(fields: Fields, data: bytes) -> Topic:
    """The topic of a connection record: its name is the record's, its type stands among the fields in its data."""
    head = io.BytesIO(struct.pack("<I", len(data)) + data + bytes(4))
    about, _ = record(head)
    return Topic(fields[b"topic"].decode(), plain_type(about[b"type"].decode()))
