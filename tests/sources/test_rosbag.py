"""ROS 1 bags that the package rosbags writes, cut, damaged, and a recorded one that it reads as well."""

from __future__ import annotations

import bz2
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.rosbag1 import Reader, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from stream_ottt.errors import InputError, UsageError
from stream_ottt.sources.opening import open_source

DEFINITION = """
std_msgs/Header header
uint32 height
uint32 width
uint64 seq
uint64 time_base
string encoding
bool is_bigendian
uint8[] events
"""
EVENT_PACKET = "event_camera_msgs/msg/EventPacket"
TYPES = get_typestore(Stores.ROS1_NOETIC)
TYPES.register(get_types_from_msg(DEFINITION, EVENT_PACKET))
Event = tuple[int, int, int, bool]


def mono(events: list[Event], big_endian: bool = False) -> bytes:
    words = [(t * 1000 + 999) | x << 32 | y << 48 | p << 63 for x, y, t, p in events]
    return np.array(words, ">u8" if big_endian else "<u8").tobytes()


def message(
    data: bytes, *, encoding: str = "mono", base: int = 0, size: tuple[int, int] = (640, 480), big: bool = False
) -> bytes:
    stamp = TYPES.types["builtin_interfaces/msg/Time"](sec=5, nanosec=6)
    header = TYPES.types["std_msgs/msg/Header"](seq=0, stamp=stamp, frame_id="camera")
    packet = TYPES.types[EVENT_PACKET](
        header=header,
        height=size[1],
        width=size[0],
        seq=0,
        time_base=base,
        encoding=encoding,
        is_bigendian=big,
        events=np.frombuffer(data, np.uint8),
    )
    return bytes(TYPES.serialize_ros1(packet, EVENT_PACKET))


def write_bag(
    path: Path,
    messages: list[tuple[str, bytes]],
    *,
    compression: Writer.CompressionFormat | None = None,
    threshold: int = 1 << 20,
    others: tuple[str, ...] = (),
) -> Path:
    path.unlink(missing_ok=True)
    writer = Writer(path)
    if compression is not None:
        writer.set_compression(compression)
    writer.chunk_threshold = threshold
    with writer:
        for topic in others:
            connection = writer.add_connection(topic, "std_msgs/msg/String", typestore=TYPES)
            writer.write(connection, 0, struct.pack("<I", 3) + b"abc")
        connections = {
            t: writer.add_connection(t, EVENT_PACKET, typestore=TYPES) for t in dict.fromkeys(t for t, _ in messages)
        }
        for i, (topic, data) in enumerate(messages):
            writer.write(connections[topic], i + 1, data)
    return path


def drain(spec: Path | str) -> tuple[list[Event], InputError | None]:
    """Everything a source yields before its end or its error."""
    events: list[Event] = []
    try:
        for packet in open_source(spec).packets():
            events += packet.events.tolist()
    except InputError as e:
        return events, e
    return events, None


PARTS: list[list[Event]] = [[(i, 10 * i + k, 100 * i + k, bool(k & 1)) for k in range(5)] for i in range(6)]
EVENTS = [event for part in PARTS for event in part]
MESSAGES = [("/events", message(mono(part))) for part in PARTS]


@pytest.mark.parametrize("threshold", [1, 300, 1 << 20])
@pytest.mark.parametrize("compression", [None, *Writer.CompressionFormat])
def test_compressions_and_chunk_sizes(
    tmp_path: Path, compression: Writer.CompressionFormat | None, threshold: int
) -> None:
    path = write_bag(tmp_path / "a.bag", MESSAGES, compression=compression, threshold=threshold, others=("/chat",))
    assert drain(path) == (EVENTS, None)
    (packet,) = open_source(path).packets()
    assert (packet.width, packet.height) == (640, 480)


def test_mono_times_and_byte_orders(tmp_path: Path) -> None:
    base = 1_700_000_000_123_456_789
    path = write_bag(
        tmp_path / "a.bag", [("/e", message(mono(PARTS[1], big), base=base, big=big)) for big in (False, True)]
    )
    events, error = drain(path)
    assert error is None
    expected = [(x, y, (base + t * 1000 + 999) // 1000, p) for x, y, t, p in PARTS[1]]
    assert events == expected * 2


def test_evt3_state_lasts_from_message_to_message(tmp_path: Path) -> None:
    words = [0x8001, 0x6002, 0x0007, 0x2809, 0xA001, 0x3005, 0x4801, 0x200A]
    data = np.array(words, "<u2").tobytes()
    parts = [message(data[i : i + 4], encoding="evt3", base=99) for i in range(0, len(data), 4)]
    path = write_bag(tmp_path / "a.bag", [("/e", part) for part in parts], threshold=1)
    t = 0x1002
    assert drain(path) == ([(9, 7, t, True), (5, 7, t, False), (16, 7, t, False), (10, 7, t, False)], None)


def test_topics_are_described_and_chosen(tmp_path: Path) -> None:
    messages = [("/left/events", MESSAGES[0][1]), ("/right/events", MESSAGES[1][1])]
    path = write_bag(tmp_path / "a.bag", messages, others=("/chat",))
    topic_type = "event_camera_msgs/EventPacket"
    assert open_source(path).describe() == {
        "topics": {"/chat": "std_msgs/String", "/left/events": topic_type, "/right/events": topic_type}
    }
    assert drain(f"{path}?topic=/right/events") == (PARTS[1], None)
    with pytest.raises(UsageError, match="/left/events, /right/events"):
        list(open_source(path).packets())
    with pytest.raises(UsageError, match=r"did you mean '/left/events'\?"):
        list(open_source(f"{path}?topic=/lft/events").packets())


def test_a_bag_without_events_names_its_topics(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "a.bag", [], others=("/chat",))
    with pytest.raises(InputError, match=r"/chat \(std_msgs/String\)"):
        list(open_source(path).packets())


def test_another_sensor_size_begins_another_packet(tmp_path: Path) -> None:
    sizes = [(640, 480), (640, 480), (320, 240)]
    path = write_bag(tmp_path / "a.bag", [("/e", message(mono(PARTS[i]), size=s)) for i, s in enumerate(sizes)])
    packets = list(open_source(path).packets())
    assert [(p.width, p.height, len(p)) for p in packets] == [(640, 480, 10), (320, 240, 5)]


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (message(b"", encoding="trigger"), r"'trigger' \(triggers\)"),
        (message(b"", encoding="libcaer"), "'libcaer'"),
        (message(mono(PARTS[1]) + b"abc"), "words of 8 bytes"),
        (message(b"abc", encoding="evt3"), "words of 2 bytes"),
        (message(mono(PARTS[1]), size=(0, 480)), "found 0x480"),
        (message(mono(PARTS[1]), size=(640, 2**32 - 1)), "found 640x4294967295"),
        (message(mono(PARTS[1]))[:-1], "a whole event_camera_msgs/EventPacket"),
        (b"", "a whole event_camera_msgs/EventPacket"),
    ],
)
def test_bad_messages_end_the_stream_after_what_was_good(tmp_path: Path, bad: bytes, text: str) -> None:
    path = write_bag(tmp_path / "a.bag", [MESSAGES[0], ("/events", bad)])
    events, error = drain(path)
    assert events[:5] == PARTS[0]
    assert error is not None
    assert error.offset is not None
    with pytest.raises(InputError, match=text):
        raise error


@pytest.mark.parametrize("compression", [None, *Writer.CompressionFormat])
def test_every_cut_yields_what_is_whole(tmp_path: Path, compression: Writer.CompressionFormat | None) -> None:
    path = write_bag(tmp_path / "a.bag", MESSAGES, threshold=300, compression=compression)
    whole = path.read_bytes()
    found = set()
    for cut in [*range(14, 4110, 500), *range(4110, len(whole), 7)]:
        path.write_bytes(whole[:cut])
        events, error = drain(path)
        assert error is not None
        assert events == EVENTS[: len(events)]
        assert len(events) % 5 == 0
        assert error.offset is None or 0 <= error.offset <= cut
        found.add(len(events))
    # Chunks that are not compressed are read up to the last whole message.
    assert found == set(range(0, 31, 5)) if compression is None else found <= set(range(0, 31, 5)) and 30 in found


def test_a_recording_that_was_not_closed_is_read_to_its_end(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "a.bag", MESSAGES, threshold=300)
    whole = path.read_bytes()
    with Reader(path) as reader:
        last = max(reader.chunks.values(), key=lambda c: c.datapos)
    # As a crashed recorder leaves it: the header never filled in, no index.
    header = whole[: 13 + 4096].replace(b"index_pos=" + whole[13 + 4 : 4096].split(b"index_pos=")[1][:8],
                                        b"index_pos=" + bytes(8))  # fmt: skip
    path.write_bytes(header + whole[13 + 4096 : last.datapos + last.datasize])
    events, error = drain(path)
    assert events == EVENTS
    assert error is not None
    assert "rosbag reindex" in str(error)
    assert open_source(path).describe()["topics"] == {"/events": "event_camera_msgs/EventPacket"}


@settings(max_examples=150, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("compression", [None, Writer.CompressionFormat.BZ2, Writer.CompressionFormat.LZ4])
def test_flipped_bits_never_crash(
    tmp_path_factory: pytest.TempPathFactory, compression: Writer.CompressionFormat | None, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / f"whole-{compression}.bag"
    if not path.exists():
        write_bag(path, MESSAGES, threshold=300, compression=compression)
    damaged = bytearray(path.read_bytes())
    places = st.integers(4110, len(damaged) - 1) | st.integers(0, 100)
    for place in data.draw(st.lists(places, min_size=1, max_size=3)):
        damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    other = path.with_suffix(".damaged")
    other.write_bytes(damaged)
    try:
        list(open_source(f"{other}?format=rosbag").packets())
    except (InputError, UsageError) as e:
        assert "\n" not in str(e)


def record(fields: dict[bytes, bytes], data: bytes, length: int | None = None) -> bytes:
    head = b"".join(struct.pack("<I", len(k) + 1 + len(v)) + k + b"=" + v for k, v in fields.items())
    size = len(data) if length is None else length
    return struct.pack("<I", len(head)) + head + struct.pack("<I", size) + data


U32 = struct.Struct("<I").pack
BAG_HEADER = record({b"op": b"\x03", b"index_pos": bytes(8), b"conn_count": U32(1), b"chunk_count": U32(1)}, b"")
CONNECTION = record(
    {b"op": b"\x07", b"conn": U32(0), b"topic": b"/e"}, record({b"type": b"event_camera_msgs/EventPacket"}, b"")[4:-4]
)


def test_a_chunk_that_unpacks_to_gigabytes_costs_neither_memory_nor_time(tmp_path: Path) -> None:
    inner = CONNECTION + record({b"op": b"\x02", b"conn": U32(0), b"time": bytes(8)}, b"", 2**31)
    packed = bz2.compress(inner + bytes(50_000_000))
    path = tmp_path / "a.bag"
    for claimed in (2**32 - 1, 2**27):
        chunk = record({b"op": b"\x05", b"compression": b"bz2", b"size": U32(claimed)}, packed)
        path.write_bytes(b"#ROSBAG V2.0\n" + BAG_HEADER + CONNECTION + chunk)
        tracemalloc.start()
        with pytest.raises(InputError):
            list(open_source(path).packets())
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"#ROSBAG V1.2\n" + bytes(100), "rosbag fix"),
        (b"#ROSBAG V2.0\n", "header record"),
        (b"#ROSBAG V2.0\n" + record({b"op": b"\x03", b"encryptor": b"rosbag/AesCbcEncryptor"}, b""), "rosbag decrypt"),
        (b"#ROSBAG V2.0\n" + U32(2**32 - 1) + bytes(50), "at most 65536 bytes"),
        (
            b"#ROSBAG V2.0\n" + BAG_HEADER + CONNECTION
            + record({b"op": b"\x05", b"compression": b"zip", b"size": U32(0)}, b""),
            "'zip'",
        ),
        (b"#ROSBAG V2.0\n" + BAG_HEADER + CONNECTION + record({b"op": b"\x77"}, b""), "known kind"),
        (
            b"#ROSBAG V2.0\n" + BAG_HEADER + CONNECTION
            + record({b"op": b"\x05", b"compression": b"none"}, record({b"op": b"\x02", b"conn": U32(9)}, b"")),
            "before the message",
        ),
    ],
)  # fmt: skip
def test_damage_is_named(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "a.bag"
    path.write_bytes(content)
    with pytest.raises(InputError, match=text) as e:
        list(open_source(path).packets())
    assert e.value.offset is not None


def test_real_recording_as_rosbags_reads_it(recordings: Path) -> None:
    import evt3

    path = recordings / "event_camera_msgs_evt3.bag"
    ours = np.concatenate([p.events for p in open_source(path).packets()])
    t = ours["t"] - ours["t"][0]
    assert (len(ours), t[-1], t.sum(), ours["x"].sum(), ours["y"].sum(), ours["p"].sum()) == (
        343474, 2078178, 399250490464, 116731888, 80879209, 125183,
    )  # fmt: skip
    decoder = evt3.Decoder()
    with Reader(path) as reader:
        for connection, _, raw in reader.messages():
            assert connection.msgtype == EVENT_PACKET
            theirs = decoder.feed(TYPES.deserialize_ros1(raw, EVENT_PACKET).events.tobytes())
            head, ours = ours[: len(theirs)], ours[len(theirs) :]
            for key, column in (("x", theirs.x), ("y", theirs.y), ("t", theirs.timestamp), ("p", theirs.polarity)):
                assert (head[key] == column).all()
    assert not len(ours)
