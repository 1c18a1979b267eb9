"""Bags of ROS 1 against the format itself, with what recorders and hosts' clocks leave in them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reading import drain
from ros1_format import EVENTS_TYPE, ros1_by_hand, ros1_contents
from ros_files import PACKET, Message, mono, packet, ros1_bag
from rosbags.rosbag1 import Writer

from stream_ottt.events.packet import make_events
from stream_ottt.sources.opening import open_source

SECOND = 1_000_000_000
PARTS = [
    make_events(np.arange(5) + i, 10 * i + np.arange(5), 100 * i + np.arange(5), np.arange(5) & 1) for i in range(6)
]
EVENTS = np.concatenate(PARTS)
CHAT: Message = ("/chat", "std_msgs/msg/String", struct.pack("<I", 3) + b"abc")
ONE: list[Message] = [CHAT, *(("/events", PACKET, packet(mono(part), "mono")) for part in PARTS)]


@pytest.mark.parametrize("indexed", [True, False])
def test_a_bag_by_its_format_alone_in_the_order_of_the_file(tmp_path: Path, indexed: bool) -> None:
    """Two publishers of one topic, another topic between, and a host's clock that was set back while it recorded: the
    sensor's own times, which count, go on."""
    connections = {
        4: (b"/e", EVENTS_TYPE),
        0: (b"/chat", b"std_msgs/String"),
        9: (b"/e", EVENTS_TYPE),
        7: (b"/never", EVENTS_TYPE),
    }
    data = [packet(mono(part), "mono") for part in PARTS]
    chunks = [
        [(4, 50 * SECOND, data[0]), (0, 50 * SECOND, CHAT[2]), (9, 51 * SECOND, data[1])],
        [(0, 10 * SECOND, CHAT[2])],
        [(9, 12 * SECOND, data[2]), (4, 11 * SECOND, data[3])],
        [(4, 52 * SECOND, data[4]), (4, 53 * SECOND, data[5])],
    ]
    path = tmp_path / "a.bag"
    path.write_bytes(ros1_by_hand(connections, chunks, indexed=indexed))
    events, error = drain(f"{path}?topic=/e")
    assert np.array_equal(events, EVENTS) and (error is None) == indexed
    assert open_source(path).describe()["topics"] == {
        "/e": "event_camera_msgs/EventPacket", "/chat": "std_msgs/String", "/never": "event_camera_msgs/EventPacket",
    }  # fmt: skip
    assert len(drain(f"{path}?topic=/never")[0]) == 0
    assert [m for m in ros1_contents(path.read_bytes()) if m != CHAT[2]] == data  # what is made by hand is read by hand


def test_connections_without_messages_are_topics(tmp_path: Path) -> None:
    path = tmp_path / "a.bag"
    path.write_bytes(ros1_by_hand({3: (b"/e", EVENTS_TYPE)}, [], indexed=True))
    events, error = drain(path)
    assert error is None and not len(events)
    assert open_source(path).describe()["topics"] == {"/e": "event_camera_msgs/EventPacket"}


def test_a_connection_that_the_index_says_may_be_damaged_in_its_chunk(tmp_path: Path) -> None:
    data = [packet(mono(part), "mono") for part in PARTS]
    bag = ros1_by_hand({0: (b"/e", EVENTS_TYPE)}, [[(0, i, d) for i, d in enumerate(data)]], indexed=True)
    (tmp_path / "a.bag").write_bytes(bag.replace(b"md5sum", b"md5-um", 1))
    events, error = drain(tmp_path / "a.bag")
    assert np.array_equal(events, EVENTS) and error is None


@pytest.mark.parametrize("compression", [None, *Writer.CompressionFormat])
def test_the_writers_bags_by_their_format_alone(tmp_path: Path, compression: Any) -> None:
    path = ros1_bag(tmp_path / "a.bag", ONE, compression=compression, threshold=300)
    assert ros1_contents(path.read_bytes()) == [content for _, _, content in ONE]
    assert np.array_equal(drain(path)[0], EVENTS)


def test_a_message_of_a_connection_that_is_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "a.bag"
    data = [packet(mono(part), "mono") for part in PARTS]
    path.write_bytes(ros1_by_hand({0: (b"/e", EVENTS_TYPE)}, [[(0, 1, data[0]), (5, 2, data[1])]], indexed=True))
    events, error = drain(path)
    assert np.array_equal(events, PARTS[0]) and "connection 5" in str(error)
