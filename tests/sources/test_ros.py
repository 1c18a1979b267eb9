"""Bags of ROS 1 and 2 that other packages write, cut, damaged and made to harm, and recorded ones."""

from __future__ import annotations

import bz2
import sqlite3
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lz4.frame
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import drain
from ros1_format import EVENTS_TYPE, U32, U64, VERSION, about_connection, record, ros1_contents
from ros_files import ARRAY, PACKET, ROS1, ROS2, Message, array, db3, mcap_file, mono, packet, ros1_bag, ros2_folder
from rosbags.rosbag1 import Writer

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import PACKET_EVENTS, EventArray, make_events
from stream_ottt.sources.opening import open_source
from stream_ottt.sources.ros.messages import RosEventArray, RosEventPacket

PARTS = [
    make_events(np.arange(5) + i, 10 * i + np.arange(5), 100 * i + np.arange(5), np.arange(5) & 1) for i in range(6)
]
EVENTS = np.concatenate(PARTS)
CHAT: Message = ("/chat", "std_msgs/msg/String", struct.pack("<I", 3) + b"abc")
CHAT2: Message = ("/chat", "std_msgs/msg/String", b"\0\1\0\0" + struct.pack("<I", 4) + b"abc\0")
ONE: list[Message] = [CHAT, *(("/events", PACKET, packet(mono(part), "mono")) for part in PARTS)]
TWO: list[Message] = [CHAT2, *(("/events", PACKET, packet(mono(part), "mono", types=ROS2)) for part in PARTS)]

BAGS: dict[str, Callable[[Path], Path]] = {
    "bag": lambda folder: ros1_bag(folder / "a.bag", ONE, threshold=300),
    "bag-bz2": lambda folder: ros1_bag(folder / "a.bag", ONE, compression=Writer.CompressionFormat.BZ2),
    "bag-lz4": lambda folder: ros1_bag(folder / "a.bag", ONE, compression=Writer.CompressionFormat.LZ4, threshold=300),
    "db3": lambda folder: db3(folder / "a.db3", TWO),
    "folder-db3": lambda folder: ros2_folder(folder / "a", TWO),
    "folder-mcap": lambda folder: ros2_folder(folder / "a", TWO, mcap=True),
    "mcap-none": lambda folder: mcap_file(folder / "a.mcap", TWO, compression="none", chunk_size=300),
    "mcap-lz4": lambda folder: mcap_file(folder / "a.mcap", TWO, compression="lz4", chunk_size=300),
    "mcap-zstd": lambda folder: mcap_file(folder / "a.mcap", TWO),
    "mcap-unchunked": lambda folder: mcap_file(folder / "a.mcap", TWO, chunk_size=0),
    "mcap-ros1": lambda folder: mcap_file(folder / "a.mcap", ONE, cdr=False),
}


@pytest.fixture(params=list(BAGS))
def bag(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return BAGS[request.param](tmp_path)


def test_every_kind_of_bag(bag: Path) -> None:
    events, error = drain(bag)
    assert error is None and np.array_equal(events, EVENTS)
    source = open_source(bag)
    assert source.name == "rosbag" and (next(source.packets()).width, next(source.packets()).height) == (640, 480)  # type: ignore[attr-defined]
    assert source.describe() == {
        "topics": {"/chat": "std_msgs/String", "/events": "event_camera_msgs/EventPacket"},
    }


@pytest.mark.parametrize("types", [ROS1, ROS2])
@pytest.mark.parametrize("kind", [ARRAY, "prophesee_event_msgs/msg/EventArray"])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 500])
def test_arrays_of_events(tmp_path: Path, types: Any, kind: str, n: int) -> None:
    rng = np.random.default_rng(n)
    t = 1_589_163_147_000_000 + np.cumsum(rng.integers(0, 2000, n))
    events = make_events(rng.integers(0, 640, n), rng.integers(0, 480, n), t, rng.random(n) < 0.5)
    data = [("/e", kind, array(part, types=types, kind=kind)) for part in (events, PARTS[0])]
    path = ros1_bag(tmp_path / "a.bag", data) if types is ROS1 else db3(tmp_path / "a.db3", data)
    assert np.array_equal(drain(path)[0], np.concatenate([events, PARTS[0]])) and drain(path)[1] is None


def test_large_arrays_come_in_packets(tmp_path: Path) -> None:
    record = struct.pack("<HHIIB", 3, 5, 1, 2000, 1)
    head = array(PARTS[0][:0])[:-4] + struct.pack("<I", 3 * PACKET_EVENTS)
    path = ros1_bag(tmp_path / "a.bag", [("/e", ARRAY, head + record * 3 * PACKET_EVENTS)], threshold=1 << 28)
    lengths = [len(p) for p in open_source(path).packets()]  # type: ignore[attr-defined]
    assert sum(lengths) == 3 * PACKET_EVENTS and max(lengths) <= 2 * PACKET_EVENTS


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("base", [0, 1_700_000_000_123_456_789, 2**64 - 1])
def test_mono_times_and_byte_orders(tmp_path: Path, big: bool, base: int) -> None:
    data = packet(mono(PARTS[1], big=big), "mono", base=base, big=big)
    events, error = drain(ros1_bag(tmp_path / "a.bag", [("/e", PACKET, data)]))
    assert error is None
    expected = PARTS[1].copy()
    expected["t"] = [(base + t * 1000 + 999) // 1000 for t in expected["t"].tolist()]
    assert np.array_equal(events, expected)


@pytest.mark.parametrize("big", [False, True])
def test_evt3_state_lasts_from_message_to_message(tmp_path: Path, big: bool) -> None:
    words = [0x8001, 0x6002, 0x0007, 0x2809, 0xA001, 0x3005, 0x4801, 0x200A]
    data = np.array(words, ">u2" if big else "<u2").tobytes()
    parts = [packet(data[i : i + 4], "evt3", base=99, big=big) for i in range(0, len(data), 4)]
    events, error = drain(ros1_bag(tmp_path / "a.bag", [("/e", PACKET, part) for part in parts], threshold=1))
    t = 0x1002
    assert error is None
    assert events.tolist() == [(9, 7, t, True), (5, 7, t, False), (16, 7, t, False), (10, 7, t, False)]


def libcaer(events: EventArray, start: int) -> bytes:
    x, y, p = (events[name].astype("<u4") for name in "xyp")
    words = np.stack([x << 17 | y << 2 | p << 1 | 1, (events["t"] + start) % 2**31], axis=1)
    return words.astype("<u4").tobytes()


def test_libcaer_counts_from_the_base_or_from_the_packets_own_time(tmp_path: Path) -> None:
    base = 1_702_306_974_272_224_018
    cases = [
        (libcaer(EVENTS, 70), base, 1, base // 1000 + 70),
        (libcaer(EVENTS, 2**31 - 300), base, 1, base // 1000 + 2**31 - 300),  # begins again within the packet
        (libcaer(EVENTS, 70), base, base, base // 1000),  # the base is the packet's own time
    ]
    for data, time_base, stamp, first in cases:
        path = ros1_bag(tmp_path / "a.bag", [("/e", PACKET, packet(data, "libcaer", base=time_base, stamp=stamp))])
        events, error = drain(path)
        expected = EVENTS.copy()
        expected["t"] += first
        assert error is None and np.array_equal(events, expected)


def libcaer_cmp_oracle(words: list[int], base: int) -> list[tuple[int, int, int, bool]]:
    """Word by word."""
    high = low = x = y = 0
    on = False
    out = []
    for word in words:
        code, value = word >> 12, word & 0xFFF
        if code == 0:
            high = value << 12
        elif code == 1:
            low = value
        elif code == 2:
            x = value & 0x7FF
        elif code == 3:
            out.append((x, value & 0x7FF, (base + (high | low) * 1000) // 1000, value >> 11 == 1))
        elif code == 4:
            y, on = value & 0x7FF, value >> 11 == 1
        elif code == 5:
            out += [(x, y + i, (base + (high | low) * 1000) // 1000, on) for i in range(8) if value >> i & 1]
            y += 8
    return out


@settings(max_examples=60)
@given(st.lists(st.integers(0, 0x5FFF), max_size=60), st.integers(0, 2**63), st.booleans())
def test_libcaer_cmp_as_word_by_word(
    tmp_path_factory: pytest.TempPathFactory, words: list[int], base: int, big: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "cmp.bag"
    data = packet(np.array(words, ">u2" if big else "<u2").tobytes(), "libcaer_cmp", base=base, big=big)
    events, error = drain(ros1_bag(path, [("/e", PACKET, data)]))
    assert error is None and events.tolist() == libcaer_cmp_oracle(words, base)


def test_unknown_words_are_counted(tmp_path: Path) -> None:
    for encoding, words in (("libcaer_cmp", [0x1005, 0x2003, 0x7000, 0x3804]), ("evt3", [0x8000, 0x9000, 0x2003])):
        path = ros1_bag(tmp_path / "a.bag", [("/e", PACKET, packet(np.array(words, "<u2").tobytes(), encoding))])
        source = open_source(path)
        assert sum(len(p) for p in source.packets()) == 1  # type: ignore[attr-defined]
        assert source.describe()["unknown_words"] == 1


def test_topics_are_chosen(tmp_path: Path) -> None:
    messages = [("/left/events", *ONE[1][1:]), ("/right/events", *ONE[2][1:]), CHAT]
    path = ros1_bag(tmp_path / "a.bag", messages)
    assert np.array_equal(drain(f"{path}?topic=/right/events")[0], PARTS[1])
    with pytest.raises(UsageError, match="/left/events, /right/events"):
        list(open_source(path).packets())  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=r"did you mean '/left/events'\?"):
        list(open_source(f"{path}?topic=/lft/events").packets())  # type: ignore[attr-defined]


def test_a_bag_without_events_names_its_topics(tmp_path: Path) -> None:
    for path in (ros1_bag(tmp_path / "a.bag", [CHAT]), db3(tmp_path / "a.db3", [CHAT2])):
        with pytest.raises(InputError, match=r"/chat \(std_msgs/String\)"):
            list(open_source(path).packets())  # type: ignore[attr-defined]


def test_another_sensor_size_begins_another_packet(tmp_path: Path) -> None:
    sizes = [(640, 480), (640, 480), (320, 240)]
    messages = [("/e", PACKET, packet(mono(PARTS[i]), "mono", size=s)) for i, s in enumerate(sizes)]
    packets = list(open_source(ros1_bag(tmp_path / "a.bag", messages)).packets())  # type: ignore[attr-defined]
    assert [(p.width, p.height, len(p)) for p in packets] == [(640, 480, 10), (320, 240, 5)]


def test_a_size_that_the_messages_lack_can_be_said(tmp_path: Path) -> None:
    path = ros1_bag(tmp_path / "a.bag", [("/e", PACKET, packet(mono(PARTS[1]), "mono", size=(0, 0)))])
    (part,) = open_source(f"{path}?width=640&height=480").packets()  # type: ignore[attr-defined]
    assert (part.width, part.height) == (640, 480)


GOOD = packet(mono(PARTS[1]), "mono")


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (packet(b"", "trigger"), r"'trigger' \(triggers\)"),
        (packet(b"", "evt4"), "found 'evt4'"),
        (packet(mono(PARTS[1]) + b"abc", "mono"), "words of 8"),
        (packet(b"abc", "evt3"), "words of 2"),
        (packet(mono(PARTS[1]), "mono", size=(0, 480)), "found 0x480"),
        (packet(mono(PARTS[1]), "mono", size=(640, 2**32 - 1)), "found 640x4294967295"),
        (GOOD[:-1], "a whole event_camera_msgs/EventPacket"),
        (b"", "a whole event_camera_msgs/EventPacket"),
    ],
)
def test_bad_messages_end_the_stream_after_what_was_good(tmp_path: Path, bad: bytes, text: str) -> None:
    path = ros1_bag(tmp_path / "a.bag", [ONE[1], ("/events", PACKET, bad)])
    events, error = drain(path)
    assert np.array_equal(events[:5], PARTS[0]) and error is not None
    with pytest.raises(InputError, match=text):
        raise error


def test_every_cut_of_a_message() -> None:
    for types in (ROS1, ROS2):
        for parse, data in (
            (RosEventPacket.parse, packet(mono(PARTS[0]), "mono", types=types)),
            (RosEventArray.parse, array(PARTS[0], types=types)),
        ):
            parse(data, cdr=types is ROS2)
            for cut in range(len(data)):
                with pytest.raises(ValueError, match=r"bytes at \d+ of|a serialization that"):
                    parse(data[:cut], cdr=types is ROS2)


def test_a_serialization_that_is_not_known(tmp_path: Path) -> None:
    data = b"\0\x07" + packet(mono(PARTS[0]), "mono", types=ROS2)[2:]
    assert "serialization" in str(drain(db3(tmp_path / "a.db3", [("/e", PACKET, data)]))[1])


# --- cut, damaged, made to harm --------------------------------------------------------------------------------------


def cuts(whole: bytes) -> Iterator[int]:
    yield from range(16, min(len(whole), 4300), 97)
    yield from range(4300, len(whole), 13)


@pytest.mark.parametrize("name", ["bag", "bag-bz2", "bag-lz4"])
def test_a_ros1_bag_that_was_cut_is_read_up_to_there(tmp_path: Path, name: str) -> None:
    path = BAGS[name](tmp_path)
    whole = path.read_bytes()
    found = set()
    for cut in cuts(whole):
        path.write_bytes(whole[:cut])
        events, error = drain(path)
        assert error is not None and error.offset is not None and np.array_equal(events, EVENTS[: len(events)])
        found.add(len(events))
    assert {0, 30} <= found and (len(found) >= 4 or name == "bag-bz2")  # all in one chunk
    if name == "bag":  # a chunk that was cut is read up to there, too
        whole = ros1_bag(tmp_path / "b.bag", ONE).read_bytes()
        path.write_bytes(whole[: whole.index(b"camera", whole.index(b"camera") + 400) + 100])
        events, error = drain(path)
        assert 5 <= len(events) < 30 and f"the file ends after {path.stat().st_size - 4109}; " in str(error)
        whole = BAGS[name](tmp_path).read_bytes()
    # As a recorder leaves it that was killed: the place of the index never filled in, and no index.
    at = whole.index(b"index_pos=") + 10
    index = int.from_bytes(whole[at : at + 8], "little")
    path.write_bytes((whole[:at] + bytes(8) + whole[at + 8 :])[:index])
    events, error = drain(path)
    assert np.array_equal(events, EVENTS) and error is not None and error.offset == index
    assert "the recording was cut off here" in str(error)


@pytest.mark.parametrize("name", ["mcap-none", "mcap-lz4", "mcap-unchunked"])
def test_an_mcap_that_was_cut_is_read_up_to_there(tmp_path: Path, name: str) -> None:
    path = BAGS[name](tmp_path)
    whole = path.read_bytes()
    found = set()
    for cut in range(9, len(whole) - 8, 11):
        path.write_bytes(whole[:cut])
        events, error = drain(path)
        assert error is not None and np.array_equal(events, EVENTS[: len(events)])
        assert not len(events) or (error.offset is not None and error.offset <= cut)
        found.add(len(events))
    assert {0, 30} < found and len(found) >= 4


def test_a_database_that_was_cut_is_read_up_to_there(tmp_path: Path) -> None:
    """Messages of several pages each: one of which a part is missing is not made up of zeros."""
    rng = np.random.default_rng(5)
    many = [make_events(*rng.integers(1, 200, (3, 900)), rng.random(900) < 0.5) for _ in range(12)]
    path = db3(tmp_path / "a.db3", [("/e", PACKET, packet(mono(e), "mono", types=ROS2)) for e in many])
    events = np.concatenate(many)
    whole = path.read_bytes()
    found = set()
    for cut in range(100, len(whole), 1009):
        path.write_bytes(whole[:cut])
        read, error = drain(f"{path}?format=rosbag")
        assert error is not None and np.array_equal(read, events[: len(read)])
        assert not len(read) or error.offset == cut
        found.add(len(read))
    assert len(found) > 8
    path.write_bytes(whole)
    path.with_name("a.db3-wal").write_bytes(b"left")
    assert "a.db3-wal is left" in str(drain(path)[1])


@settings(max_examples=60)
@given(data=st.data())
@pytest.mark.parametrize("name", ["bag", "bag-bz2", "bag-lz4", "db3", "mcap-none", "mcap-lz4", "mcap-zstd"])
def test_flipped_bits_never_crash(tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp() / name
    if not folder.exists():
        folder.mkdir()
        BAGS[name](folder)
    (path,) = folder.glob("a.*")
    damaged = bytearray(path.read_bytes())
    places = st.integers(0, len(damaged) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=3)):
        damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    other = folder / "damaged"
    other.write_bytes(damaged)
    try:
        list(open_source(f"{other}?format=rosbag").packets())  # type: ignore[attr-defined]
    except (InputError, UsageError) as e:
        assert "\n" not in str(e)


def hostile_ros1(compression: bytes, packed: bytes, *, times: int = 1, claimed: int = 100) -> bytes:
    """A bag whose one chunk is ``packed``, and is in the index ``times`` times."""
    connection = about_connection(0, b"/e", EVENTS_TYPE)

    def header(index_pos: int) -> bytes:
        fields = {b"op": b"\x03", b"index_pos": U64(index_pos), b"conn_count": U32(1), b"chunk_count": U32(times)}
        return VERSION + record(fields, b"")

    chunk_at = len(header(0))
    chunk = record({b"op": b"\x05", b"compression": compression, b"size": U32(claimed)}, packed)
    index = record({b"op": b"\x04", b"ver": U32(1), b"conn": U32(0), b"count": U32(2)}, bytes(24))
    info = {b"op": b"\x06", b"ver": U32(1), b"chunk_pos": U64(chunk_at), b"count": U32(1)}
    infos = record({**info, b"start_time": bytes(8), b"end_time": bytes(8)}, U32(0) + U32(2)) * times
    return header(chunk_at + len(chunk) + len(index)) + chunk + index + connection + infos


def test_a_chunk_that_unpacks_to_gigabytes_costs_neither_memory_nor_time(tmp_path: Path) -> None:
    path = tmp_path / "a.bag"
    path.write_bytes(hostile_ros1(b"none", b"abc"))
    drain(path)  # imports
    for compression, packed in (
        (b"bz2", bz2.compress(bytes(200_000_000))),
        (b"lz4", lz4.frame.compress(bytes(200_000_000), store_size=False)),
        (b"lz4", lz4.frame.compress(bytes(200_000_000), store_size=True)),
    ):
        path.write_bytes(hostile_ros1(compression, packed))
        tracemalloc.start()
        error = drain(path)[1]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert error is not None and "unpacks to more than" in str(error) and peak < 80 << 20


def test_an_index_that_says_the_same_thousands_of_times(tmp_path: Path) -> None:
    path = tmp_path / "a.bag"
    path.write_bytes(hostile_ros1(b"none", bytes(10), times=5000))
    assert drain(path)[1] is not None


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_an_mcap_chunk_that_unpacks_to_gigabytes(tmp_path: Path, compression: str) -> None:
    bomb = bytes(200_000_000)
    unsized = zstandard.ZstdCompressor().compressobj()
    packed = lz4.frame.compress(bomb) if compression == "lz4" else unsized.compress(bomb) + unsized.flush()
    text = compression.encode()
    body = struct.pack("<QQQII", 0, 0, 100, 0, len(text)) + text + struct.pack("<Q", len(packed)) + packed
    start = b"\x89MCAP0\r\n\x01" + struct.pack("<QI4sI", 12, 4, b"ros2", 0)
    path = tmp_path / "a.mcap"
    path.write_bytes(start + b"\x06" + struct.pack("<Q", len(body)) + body)
    error = drain(path)[1]
    assert error is not None and ("unpacks to more than" in str(error) or "no topic holds events" in str(error))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"#ROSBAG V1.2\n" + bytes(100), "rosbag fix"),
        (VERSION, "cut off or damaged"),
        (VERSION + U32(2**32 - 1) + bytes(50), "cut off or damaged"),
        (VERSION + record({b"op": b"\x03", b"index_pos": U64(2**64 - 1), b"conn_count": U32(2**32 - 1),
                           b"chunk_count": U32(2**32 - 1)}, b""), "cut off here"),
        (VERSION + record({b"op": b"\x03", b"index_pos": U64(9), b"conn_count": U32(0), b"chunk_count": U32(0),
                           b"encryptor": b"rosbag/AesCbcEncryptor"}, b""), "encryption"),
        (b"\x89MCAP0\r\n", "cut off or damaged|no topic"),
        (b"\x89MCAP0\r\n\x06" + U64(2**62) + bytes(50), "cut off or damaged|no topic"),
        (b"SQLite format 3\0topics messages" + bytes(200), "cut off at byte"),
    ],
)  # fmt: skip
def test_damage_is_named(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(InputError, match=text):
        list(open_source(f"{path}?format=rosbag").packets())  # type: ignore[attr-defined]


def test_a_database_that_never_ends_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "a.db3"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT)")
    database.execute(
        "CREATE VIEW messages AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) "
        "SELECT id, 1 AS topic_id, 0 AS timestamp, zeroblob(1000000) AS data FROM n"
    )
    database.close()
    assert "no tables" in str(drain(path)[1])
    path.unlink()
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT)")
    database.execute(
        "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, data BLOB AS (zeroblob(100000000)) VIRTUAL)"
    )
    database.execute("INSERT INTO topics VALUES(1, '/e', ?)", (PACKET,))
    database.executemany("INSERT INTO messages(topic_id) VALUES(?)", [(1,)] * 1000)
    database.commit()
    database.close()
    assert drain(path)[1] is not None


def test_what_was_packed_as_a_whole_says_how_to_unpack_it(tmp_path: Path) -> None:
    (tmp_path / "metadata.yaml").write_text("rosbag2_bagfile_information:\n")
    (tmp_path / "a_0.db3.zstd").write_bytes(b"\x28\xb5\x2f\xfd")
    assert "unzstd a_0.db3.zstd" in str(drain(tmp_path)[1])


def test_messages_packed_one_by_one(tmp_path: Path) -> None:
    pack = zstandard.ZstdCompressor().compress
    path = db3(tmp_path / "a.db3", [(topic, kind, pack(data)) for topic, kind, data in TWO])
    assert np.array_equal(drain(path)[0], EVENTS)
    path = db3(tmp_path / "b.db3", [TWO[1], ("/events", PACKET, pack(bytes(200_000_000)))])
    events, error = drain(path)
    assert np.array_equal(events, PARTS[0]) and "unpacks to more than" in str(error)


def test_the_files_of_a_folder_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "metadata.yaml").touch()
    for i, number in enumerate((0, 2, 10)):
        db3(tmp_path / f"bag_{number}.db3", [TWO[1 + i]])
    assert np.array_equal(drain(tmp_path)[0], EVENTS[:15])


def test_a_folder_whose_recorder_was_ended(tmp_path: Path) -> None:
    """It has no metadata.yaml then."""
    for i in range(3):
        db3(tmp_path / f"rec_{i}.db3", TWO[1 + 2 * i : 3 + 2 * i])
    source: Any = open_source(tmp_path)
    assert np.array_equal(np.concatenate([p.events for p in source.packets()]), EVENTS) and source.labels is None
    db3(tmp_path / "other_0.db3", TWO)  # a class for each, then
    assert type(open_source(tmp_path)).__name__ == "FolderSource"


@pytest.mark.parametrize("name", ["what?.db3", "a#b%20.db3", "größe & co.db3"])
def test_names_of_files(tmp_path: Path, name: str) -> None:
    assert np.array_equal(drain(db3(tmp_path / name, TWO))[0], EVENTS)


def test_real_recording_as_its_format_says(recordings: Path) -> None:
    import evt3

    path = recordings / "event_camera_msgs_evt3.bag"
    ours, error = drain(path)
    t = ours["t"] - ours["t"][0]
    assert error is None
    assert (len(ours), t[-1], t.sum(), ours["x"].sum(), ours["y"].sum(), ours["p"].sum()) == (
        343474, 2078178, 399250490464, 116731888, 80879209, 125183,
    )  # fmt: skip
    decoder = evt3.Decoder()
    for raw in ros1_contents(path.read_bytes()):
        theirs = decoder.feed(ROS1.deserialize_ros1(raw, PACKET).events.tobytes())
        head, ours = ours[: len(theirs)], ours[len(theirs) :]
        for key, column in (("x", theirs.x), ("y", theirs.y), ("t", theirs.timestamp), ("p", theirs.polarity)):
            assert (head[key] == column).all()
    assert not len(ours)
