"""``from=`` skips what lies before it where a format has an index, and reads the same events as without one."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ros_files import ARRAY, PACKET, ROS1, ROS2, array, db3, mcap_file, mono, packet, ros1_bag

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EventArray, make_events
from stream_ottt.pipeline.excerpt import cut_out
from stream_ottt.pipeline.source import BlockingSource, FileSource
from stream_ottt.sinks.writers.aedat4 import Aedat4Writer
from stream_ottt.sources.aedat4.flatbuffer import FlatbufferError
from stream_ottt.sources.aedat4.index import read_index
from stream_ottt.sources.aedat4.source import Aedat4Source
from stream_ottt.sources.opening import open_source
from stream_ottt.sources.ros.bag import WithinFile

N = 400_000
START = 1_700_000_000_000_000
FROM = 3_600_000
"""µs after the first event, of 4 s."""


class Counted(io.BufferedReader):
    """A file that counts what is read of it."""

    total = 0

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        Counted.total += len(data)
        return data


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> type[Counted]:
    Counted.total = 0
    monkeypatch.setattr(FileSource, "open", lambda self: Counted(self.path))
    return Counted


def recording(n: int = N) -> EventArray:
    rng = np.random.default_rng(7)
    t = START + np.arange(n) * 10 + rng.integers(-40, 40, n)  # some come late
    return make_events(rng.integers(0, 346, n), rng.integers(0, 260, n), t, rng.random(n) < 0.5)


def excerpt(uri: str) -> EventArray:
    source = open_source(uri)
    assert isinstance(source, BlockingSource)
    return np.concatenate([recording(0), *(p.events for p in source.excerpt())])


def from_the_beginning(path: Path, first: int) -> EventArray:
    source = open_source(path)
    assert isinstance(source, BlockingSource)
    return np.concatenate([p.events for p in cut_out(source.packets(), first, None, first, source.path)])


@pytest.mark.parametrize("compression", ["lz4", "zstd", "none"])
def test_aedat4_by_its_table(tmp_path: Path, compression: Any, counted: type[Counted]) -> None:
    e = recording()
    path = tmp_path / "a.aedat4"
    with Aedat4Writer(path, 346, 260, compression=compression) as writer:
        writer.write(e)
    first = int(e["t"][0]) + FROM
    found = excerpt(f"{path}?from={FROM}us")
    assert counted.total < 0.7 * path.stat().st_size
    assert np.array_equal(found, from_the_beginning(path, first))
    with pytest.raises(InputError, match="no events in this part; its last event comes"):
        excerpt(f"{path}?from=3600s")


def test_a_table_that_does_not_tell_the_truth_is_not_believed(tmp_path: Path) -> None:
    e = recording(100_000)
    path = tmp_path / "a.aedat4"
    with Aedat4Writer(path, 346, 260, compression="none") as writer:
        writer.write(e)
    first = int(e["t"][0]) + 900_000
    expected = from_the_beginning(path, first)
    whole = path.read_bytes()
    table = whole.index(b"FTAB") - 8
    rng = np.random.default_rng(2)
    read = 0
    for _ in range(40):
        wrong = bytearray(whole)
        for place in rng.integers(table, len(whole), 6):
            wrong[place] ^= int(rng.integers(1, 256))
        path.write_bytes(wrong)
        try:
            found = excerpt(f"{path}?from=900ms")
        except InputError:
            continue
        read += 1
        assert np.array_equal(found, expected)
    assert read


@pytest.mark.parametrize("at", [1, 4, 8])
@pytest.mark.parametrize("change", [-3_000_000, -40_000, -900, 900, 3_000_000])
def test_a_wrong_time_in_the_table_loses_no_events(
    tmp_path: Path, at: int, change: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one packet, in any place around the one that is looked for."""
    monkeypatch.setattr("stream_ottt.sinks.writers.aedat4.PACKET_EVENTS", 4000)
    e = recording(40_000)
    path = tmp_path / "a.aedat4"
    with Aedat4Writer(path, 346, 260, compression="none") as writer:
        writer.write(e)
    whole = path.read_bytes()
    source = open_source(path)
    assert isinstance(source, Aedat4Source)
    end = source._read_header().table_position
    last = int(np.array_split(e, 10)[at]["t"][-1])
    place = whole.index(last.to_bytes(8, "little"), end)
    path.write_bytes(whole[:place] + (last + change).to_bytes(8, "little") + whole[place + 8 :])
    for start in range(0, 400_000, 19_000):
        first = int(e["t"][0]) + start
        assert np.array_equal(excerpt(f"{path}?from={start}us"), from_the_beginning(path, first))


def test_a_table_that_leads_out_of_itself() -> None:
    for place in (0xFFFFFFF0, 2**31):
        with pytest.raises(FlatbufferError):
            read_index(
                (60).to_bytes(4, "little")
                + b"\x10\0\0\0FTAB\0\0\6\0\x08\0\4\0\6\0\0\0\4\0\0\0\1\0\0\0"
                + place.to_bytes(4, "little")
                + bytes(30)
            )


SECOND = 10**9
MESSAGES, EACH = 60, 500
"""One message a second, of as many events."""


def parts() -> list[EventArray]:
    e = recording(MESSAGES * EACH)
    e["t"] = START + np.repeat(np.arange(MESSAGES), EACH) * 1_000_000 + np.tile(np.arange(EACH) * 1000, MESSAGES)
    return list(np.split(e, MESSAGES))


BAGS: dict[str, Any] = {
    "ros1": lambda path, messages: ros1_bag(path, messages, threshold=4000, step=SECOND),
    "db3": lambda path, messages: db3(path, messages, step=SECOND),
    "mcap": lambda path, messages: mcap_file(path, messages, chunk_size=4000, step=SECOND),
}


@pytest.mark.parametrize("kind", ["packets", "arrays", "evt3"])
@pytest.mark.parametrize("name", BAGS)
def test_bags_by_the_times_of_recording(name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    types = ROS1 if name == "ros1" else ROS2
    messages = []
    for e in parts():
        base = int(e["t"][0])
        if kind == "arrays":
            messages.append(("/e", ARRAY, array(e, types=types)))
        elif kind == "packets":
            relative = e.copy()
            relative["t"] -= base
            messages.append(("/e", PACKET, packet(mono(relative), "mono", base=base * 1000, types=types)))
        else:  # whose times are only parts of what came before
            t, x, y, p = (e[k].astype(int) for k in "txyp")
            words = np.stack([0x8000 | t >> 12 & 0xFFF, 0x6000 | t & 0xFFF, y, 0x2000 | p << 11 | x], axis=1)
            messages.append(("/e", PACKET, packet(words.astype("<u2").tobytes(), "evt3", types=types)))
    path = BAGS[name](tmp_path / "a", messages)
    whole = excerpt(f"{path}?format=rosbag")
    assert len(whole) == MESSAGES * EACH
    read = 0
    plain = WithinFile.read

    def counted(file: WithinFile, size: int | None = -1, /) -> bytes:
        nonlocal read
        data = plain(file, size)
        read += len(data)
        return data

    monkeypatch.setattr(WithinFile, "read", counted)
    found = excerpt(f"{path}?format=rosbag&from=55s&to=57s")
    t = whole["t"] - whole["t"][0]
    assert np.array_equal(found, whole[(t >= 55_000_000) & (t < 57_000_000)])
    if kind != "evt3" and name != "db3":
        assert read < 0.8 * path.stat().st_size


@pytest.mark.parametrize("name", ["ros1", "db3", "mcap", "folder"])
def test_bags_whose_clock_began_again_are_read_from_their_beginning(name: str, tmp_path: Path) -> None:
    types = ROS1 if name == "ros1" else ROS2
    pieces = parts()
    for e in pieces[40:]:
        e["t"] -= 40_000_000
    messages = [("/e", ARRAY, array(e, types=types)) for e in pieces]
    if name == "folder":
        (tmp_path / "metadata.yaml").touch()
        for k in range(3):
            db3(tmp_path / f"a_{k}.db3", messages[20 * k : 20 * k + 20], step=SECOND)
        uri = f"{tmp_path}?"
    else:
        uri = f"{BAGS[name](tmp_path / 'a', messages)}?format=rosbag&"
    t = np.concatenate([e["t"] for e in pieces])
    for start in (3, 15, 35):
        expected = t[t - t[0] >= start * 1_000_000]
        assert np.array_equal(excerpt(f"{uri}from={start}s")["t"], expected)


def test_a_folder_of_bags_from_the_one_that_is_meant(tmp_path: Path) -> None:
    (tmp_path / "metadata.yaml").touch()
    messages = [("/e", ARRAY, array(e, types=ROS2)) for e in parts()]
    for k in range(3):
        db3(tmp_path / f"a_{k}.db3", messages[20 * k : 20 * k + 20], step=SECOND)
    whole = excerpt(str(tmp_path))
    found = excerpt(f"{tmp_path}?from=45s")
    (tmp_path / "a_1.db3").write_bytes(b"SQLite format 3")  # is not looked at
    assert np.array_equal(found, whole[whole["t"] - whole["t"][0] >= 45_000_000])
