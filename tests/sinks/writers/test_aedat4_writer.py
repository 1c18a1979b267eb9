"""The AEDAT4 writer: read back here and by three other packages, in every compression; its table; its failures."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import aedat
import faery
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_ottt.errors import OutputError
from stream_ottt.events.packet import EVENT_DTYPE, PACKET_EVENTS, EventArray, make_events
from stream_ottt.sinks.writers import WRITERS
from stream_ottt.sinks.writers.aedat4 import Aedat4Writer, Compression
from stream_ottt.sources.aedat4.source import Aedat4Source
from stream_ottt.sources.opening import open_source

COMPRESSIONS: tuple[Compression, ...] = ("none", "lz4", "lz4-high", "zstd", "zstd-high")

READ_WITH_DV = """
import sys, dv_processing as dv, numpy as np
path, events, first, last = sys.argv[1:]
recording = dv.io.MonoCameraRecording(path)
assert recording.getEventResolution() == (346, 260), recording.getEventResolution()
expected = np.load(events)
def same(found, expected):
    names = dict(timestamp="t", x="x", y="y", polarity="p")
    return len(found) == len(expected) and all((found[a] == expected[b]).all() for a, b in names.items())
inside = expected[(expected["t"] >= int(first)) & (expected["t"] < int(last))]
assert same(recording.getEventsTimeRange(int(first), int(last)).numpy(), inside), "a time range, by the table"
batches = []
while (batch := recording.getNextEventBatch()) is not None:
    batches.append(batch.numpy())
assert same(np.concatenate(batches), expected), "all events"
"""


def recording(n: int) -> EventArray:
    rng = np.random.default_rng(n)
    t = np.cumsum(rng.integers(0, 4, n)) + 1_589_163_147_000_000
    return make_events(rng.integers(0, 346, n), rng.integers(0, 260, n), t, rng.random(n) < 0.4)


def write(path: Path, events: EventArray, step: int, compression: Compression = "lz4") -> None:
    with Aedat4Writer(path, 346, 260, compression=compression) as writer:
        for i in range(0, len(events), step):
            writer.write(events[i : i + step])


def read(path: Path) -> EventArray:
    source = open_source(path)
    assert isinstance(source, Aedat4Source)
    return np.concatenate([np.empty(0, EVENT_DTYPE), *(p.events for p in source.packets())])


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_others_read_the_same_events(tmp_path: Path, compression: Compression) -> None:
    path, events = tmp_path / "a.aedat4", recording(7500 if "high" in compression else PACKET_EVENTS + 3000)
    write(path, events, 7001, compression)
    assert np.array_equal(read(path), events)
    theirs = np.concatenate([p["events"] for p in aedat.Decoder(str(path)) if "events" in p])
    for ours, name in (("t", "t"), ("x", "x"), ("y", "y"), ("p", "on")):
        assert np.array_equal(theirs[name], events[ours])
    stream = faery.events_stream_from_file(path)
    assert stream.dimensions() == (346, 260)
    theirs = np.concatenate(list(stream))
    for ours, name in (("t", "t"), ("x", "x"), ("y", "y"), ("p", "on")):
        assert np.array_equal(theirs[name], events[ours])
    np.save(tmp_path / "events.npy", events)
    middle = [str(int(events["t"][len(events) // 3])), str(int(events["t"][2 * len(events) // 3]))]
    arguments = [str(path), str(tmp_path / "events.npy"), *middle]
    done = subprocess.run([sys.executable, "-c", READ_WITH_DV, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


EVENT = st.tuples(st.integers(0, 345), st.integers(0, 259), st.integers(0, 2**62), st.booleans())


@settings(max_examples=40, deadline=None)
@given(st.lists(EVENT, max_size=50), st.integers(1, 60))
def test_any_events_come_back(tmp_path_factory: pytest.TempPathFactory, columns: list[tuple], step: int) -> None:
    events = np.array(sorted(columns, key=lambda e: e[2]), EVENT_DTYPE)
    path = tmp_path_factory.getbasetemp() / "any.aedat4"
    write(path, events, step)
    assert np.array_equal(read(path), events)


def test_packets_do_not_depend_on_how_events_come(tmp_path: Path) -> None:
    events = recording(2 * PACKET_EVENTS + 10)
    write(tmp_path / "a", events, 9999)
    write(tmp_path / "b", events, len(events))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    source = open_source(tmp_path / "a")
    list(source.packets())
    assert source.describe()["streams"][0]["packets"] == 3
    assert source.describe()["camera"] == "stream-ottt"


def test_the_array_written_may_be_used_again(tmp_path: Path) -> None:
    events = recording(100)
    kept = events.copy()
    with Aedat4Writer(tmp_path / "a", 346, 260) as writer:
        writer.write(events)
        events["x"] = 0
        writer.write(events[:0])
    assert np.array_equal(read(tmp_path / "a"), kept)


def test_header_and_table_byte_by_byte(tmp_path: Path) -> None:
    events = np.array([(3, 4, 1000, True), (5, 6, 2000, False)], EVENT_DTYPE)
    with Aedat4Writer(tmp_path / "a", 9, 8, compression="none") as writer:
        writer.write(events)
    data = (tmp_path / "a").read_bytes()
    size = struct.unpack_from("<I", data, 14)[0]
    start = 18 + size
    assert struct.unpack_from("<ii", data, start) == (0, 32 + 2 * 16)
    assert data[start + 16 : start + 20] == b"EVTS"
    assert struct.unpack_from("<qhhB", data, start + 40 + 16) == (2000, 5, 6, 0)
    table = struct.unpack_from("<q", data, 54)[0]
    assert table == start + 8 + 32 + 2 * 16
    assert data[table + 8 : table + 12] == b"FTAB"
    entry = table + 32 + struct.unpack_from("<I", data, table + 32)[0]
    vtable = entry - struct.unpack_from("<i", data, entry)[0]
    _, _, offset, packet, number, first, last = struct.unpack_from("<7H", data, vtable)
    assert struct.unpack_from("<ii", data, entry + packet) == (0, 32 + 2 * 16)
    assert [struct.unpack_from("<q", data, entry + i)[0] for i in (offset, number, first, last)] == [
        start + 8, 2, 1000, 2000
    ]  # fmt: skip
    assert all((entry + i) % 8 == table % 8 for i in (offset, number, first, last)), "64-bit fields are aligned"


def test_file_that_was_not_closed_can_be_read(tmp_path: Path) -> None:
    events = recording(PACKET_EVENTS)
    writer = Aedat4Writer(tmp_path / "a", 346, 260)
    writer.write(events)
    writer.file.flush()
    assert np.array_equal(read(tmp_path / "a"), events)
    writer.close()
    writer.close()
    assert np.array_equal(read(tmp_path / "a"), events)


def test_no_events(tmp_path: Path) -> None:
    write(tmp_path / "a", recording(0), 1)
    assert not len(read(tmp_path / "a"))


def test_failures(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        Aedat4Writer(tmp_path / "no" / "a", 346, 260)


def test_registered() -> None:
    assert WRITERS.get("aedat4") is Aedat4Writer
    assert Aedat4Writer.suffixes == (".aedat4",)
