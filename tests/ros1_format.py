"""Bags of ROS 1 by their format alone, made and read without any package that knows it.

Format: http://wiki.ros.org/Bags/Format/2.0
"""

from __future__ import annotations

import bz2
import struct

import lz4.frame

U32 = struct.Struct("<I").pack
U64 = struct.Struct("<Q").pack
VERSION = b"#ROSBAG V2.0\n"
EVENTS_TYPE = b"event_camera_msgs/EventPacket"


def record(fields: dict[bytes, bytes], data: bytes, length: int | None = None) -> bytes:
    head = b"".join(struct.pack("<I", len(k) + 1 + len(v)) + k + b"=" + v for k, v in fields.items())
    size = len(data) if length is None else length
    return struct.pack("<I", len(head)) + head + struct.pack("<I", size) + data


def about_connection(number: int, topic: bytes, kind: bytes) -> bytes:
    """The record of a connection."""
    more = {b"type": kind, b"md5sum": b"0" * 32, b"message_definition": b""}
    return record({b"op": b"\x07", b"conn": U32(number), b"topic": topic}, record(more, b"")[4:-4])


Recorded = tuple[int, int, bytes]
"""Number of a connection, time of recording (ns) and content of a message."""


def ros1_by_hand(connections: dict[int, tuple[bytes, bytes]], chunks: list[list[Recorded]], *, indexed: bool) -> bytes:
    """A bag of ROS 1. Each chunk begins with all connections; an index ends the bag, or it was cut off."""
    infos, body = b"", b""
    at = len(
        VERSION + record({b"op": b"\x03", b"index_pos": U64(0), b"conn_count": U32(0), b"chunk_count": U32(0)}, b"")
    )
    known = b"".join(about_connection(number, *about) for number, about in connections.items())
    for messages in chunks:
        content, places = known, dict[int, bytes]()
        times = [divmod(t, 10**9) for _, t, _ in messages]
        for (number, _, data), time in zip(messages, times, strict=True):
            stamp = struct.pack("<II", *time)
            places[number] = places.get(number, b"") + stamp + U32(len(content))
            content += record({b"op": b"\x02", b"conn": U32(number), b"time": stamp}, data)
        ends = {b"start_time": struct.pack("<II", *min(times)), b"end_time": struct.pack("<II", *max(times))}
        info = {b"op": b"\x06", b"ver": U32(1), b"chunk_pos": U64(at + len(body)), **ends, b"count": U32(len(places))}
        infos += record(info, b"".join(U32(number) + U32(len(p) // 12) for number, p in places.items()))
        body += record({b"op": b"\x05", b"compression": b"none", b"size": U32(len(content))}, content)
        for number, p in places.items():
            about = {b"op": b"\x04", b"ver": U32(1), b"conn": U32(number), b"count": U32(len(p) // 12)}
            body += record(about, p)
    counts = {b"conn_count": U32(len(connections)), b"chunk_count": U32(len(chunks))}
    place = at + len(body) if indexed else 0
    head = record({b"op": b"\x03", b"index_pos": U64(place), **counts}, b"")
    return VERSION + head + body + (known + infos if indexed else b"")


def ros1_contents(data: bytes) -> list[bytes]:
    """The contents of all messages of a bag."""
    found = []
    todo = [data[len(VERSION) :]]
    while todo:
        rest = todo.pop()
        while rest:
            (head,) = struct.unpack_from("<I", rest)
            (size,) = struct.unpack_from("<I", rest, 4 + head)
            fields, content = rest[4 : 4 + head], rest[8 + head : 8 + head + size]
            rest = rest[8 + head + size :]
            if b"op=\x05" in fields:
                lz4_or_bz2 = bz2.decompress if b"=bz2" in fields else lz4.frame.decompress
                todo += [rest, content if b"=none" in fields else lz4_or_bz2(content)]
                break
            if b"op=\x02" in fields:
                found.append(content)
    return found
