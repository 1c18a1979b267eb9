"""Bags of ROS as the package rosbags, mcap and sqlite3 write them, with messages that rosbags serializes."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Ros2Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from stream_ottt.events.packet import EventArray

PACKET = "event_camera_msgs/msg/EventPacket"
ARRAY = "dvs_msgs/msg/EventArray"
HEADER = "std_msgs/Header header\nuint32 height\nuint32 width\n"
EVENT = "uint16 x\nuint16 y\n{time} ts\nbool polarity\n"
PACKET_FIELDS = "uint64 seq\nuint64 time_base\nstring encoding\nbool is_bigendian\nuint8[] events\n"
Message = tuple[str, str, bytes]
"""Topic, type and serialized content."""


def _types(store: Stores, time: str) -> Any:
    types = get_typestore(store)
    types.register(get_types_from_msg(HEADER + PACKET_FIELDS, PACKET))
    for package in ("dvs_msgs", "prophesee_event_msgs"):
        types.register(get_types_from_msg(EVENT.format(time=time), f"{package}/msg/Event"))
        types.register(get_types_from_msg(f"{HEADER}{package}/Event[] events\n", f"{package}/msg/EventArray"))
    return types


ROS1 = _types(Stores.ROS1_NOETIC, "time")
ROS2 = _types(Stores.ROS2_HUMBLE, "builtin_interfaces/Time")


def _header(types: Any, stamp: int, frame: str) -> Any:
    time = types.types["builtin_interfaces/msg/Time"](stamp // 10**9, stamp % 10**9)
    number = {"seq": 7} if types is ROS1 else {}
    return types.types["std_msgs/msg/Header"](**number, stamp=time, frame_id=frame)


def _serialized(types: Any, message: Any, kind: str) -> bytes:
    return bytes(types.serialize_ros1(message, kind) if types is ROS1 else types.serialize_cdr(message, kind))


def packet(
    data: bytes,
    encoding: str,
    *,
    types: Any = ROS1,
    size: tuple[int, int] = (640, 480),
    base: int = 0,
    stamp: int = 5_000_000_006,
    big: bool = False,
    frame: str = "camera",
) -> bytes:
    """A serialized event_camera_msgs/EventPacket."""
    width, height = size
    events = np.frombuffer(data, np.uint8)
    header = _header(types, stamp, frame)
    return _serialized(types, types.types[PACKET](header, height, width, 3, base, encoding, big, events), PACKET)


def array(events: EventArray, *, types: Any = ROS1, size: tuple[int, int] = (640, 480), kind: str = ARRAY) -> bytes:
    """A serialized dvs_msgs/EventArray, or one of another type with the same fields."""
    event, time = types.types[kind.replace("Array", "")], types.types["builtin_interfaces/msg/Time"]
    items = [
        event(int(x), int(y), time(int(t) // 10**6, int(t) % 10**6 * 1000 + 999), bool(p))
        for x, y, t, p in events.tolist()
    ]
    return _serialized(types, types.types[kind](_header(types, 0, "dvs"), size[1], size[0], items), kind)


def mono(events: EventArray, *, big: bool = False) -> bytes:
    """Events in the encoding ``mono``, with 999 ns beyond each µs."""
    x, y, t, p = (events[name].astype("<u8") for name in "xytp")
    return (t * 1000 + 999 | x << 32 | y << 48 | p << 63).astype(">u8" if big else "<u8").tobytes()


def ros1_bag(
    path: Path, messages: list[Message], *, compression: Any = None, threshold: int = 1 << 20, step: int = 1
) -> Path:
    """A bag of ROS 1; a message is recorded every ``step`` ns."""
    path.unlink(missing_ok=True)
    writer = Ros1Writer(path)
    if compression is not None:
        writer.set_compression(compression)
    writer.chunk_threshold = threshold
    with writer:
        connections: dict[str, Any] = {}
        for i, (topic, kind, data) in enumerate(messages):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=ROS1)
            writer.write(connections[topic], i * step + 1, data)
    return path


def ros2_folder(folder: Path, messages: list[Message], *, mcap: bool = False) -> Path:
    """A folder with metadata.yaml and one file."""
    plugin = StoragePlugin.MCAP if mcap else StoragePlugin.SQLITE3
    with Ros2Writer(folder, version=9, storage_plugin=plugin) as writer:
        connections: dict[str, Any] = {}
        for i, (topic, kind, data) in enumerate(messages):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=ROS2)
            writer.write(connections[topic], i + 1, data)
    return folder


def db3(path: Path, messages: list[Message], *, step: int = 1) -> Path:
    """A database as the first recorders of ROS 2 wrote it."""
    path.unlink(missing_ok=True)
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT)")
    database.execute("CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB)")
    topics: dict[str, int] = {}
    for i, (topic, kind, data) in enumerate(messages):
        if topic not in topics:
            topics[topic] = len(topics) + 1
            database.execute("INSERT INTO topics VALUES(?, ?, ?, 'cdr')", (topics[topic], topic, kind))
        database.execute("INSERT INTO messages VALUES(?, ?, ?, ?)", (None, topics[topic], i * step, data))
    database.commit()
    database.close()
    return path


def mcap_file(
    path: Path,
    messages: list[Message],
    *,
    compression: str = "zstd",
    chunk_size: int = 1 << 20,
    cdr: bool = True,
    step: int = 1,
) -> Path:
    """An MCAP as ROS 2 records it, or as one is made from a bag of ROS 1; without chunks where their size is 0."""
    chunks = {"use_chunking": True, "chunk_size": chunk_size} if chunk_size else {"use_chunking": False}
    writer = McapWriter(str(path), compression=CompressionType[compression.upper()], **chunks)
    writer.start("ros2" if cdr else "ros1")
    channels: dict[str, int] = {}
    for i, (topic, kind, data) in enumerate(messages):
        if topic not in channels:
            schema = writer.register_schema(
                kind if cdr else kind.replace("/msg/", "/"), "ros2msg" if cdr else "ros1msg", b""
            )
            channels[topic] = writer.register_channel(topic, "cdr" if cdr else "ros1", schema)
        writer.add_message(channels[topic], i * step, data, i * step)
    writer.finish()
    return path
