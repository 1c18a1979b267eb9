"""CSV, Event Stream, NPZ and HDF5 writers: exact round trips, from one into another, limits, and a full disk."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_ottt.errors import OutputError
from stream_ottt.events.packet import EVENT_DTYPE, EventArray
from stream_ottt.sinks.writers import WRITERS
from stream_ottt.sinks.writers.es import MAX_PAUSE_US, EventStreamWriter
from stream_ottt.sinks.writers.npz import NpzWriter
from stream_ottt.sources.opening import open_source

NAMES = ("csv", "es", "npz", "hdf5")
DELTA = st.one_of(st.integers(0, 3), st.integers(120, 260), st.integers(0, 10**6))
"""Around Event Stream's steps of 127 µs, and far beyond."""
EVENT = st.tuples(DELTA, st.integers(0, 345), st.integers(0, 259), st.booleans())


def build(rows: list[tuple[int, int, int, bool]]) -> EventArray:
    events = np.empty(len(rows), EVENT_DTYPE)
    for k, name in enumerate(("t", "x", "y", "p")):
        events[name] = [row[k] for row in rows]
    events["t"] = np.cumsum(events["t"])
    return events


def write(name: str, path: Path, events: EventArray, pieces: int = 1) -> None:
    with WRITERS.get(name)(path, 346, 260) as writer:
        for piece in np.array_split(events, pieces):
            writer.write(piece)


def read(path: Path) -> EventArray:
    packets: list[Any] = list(open_source(path).packets())  # type: ignore[attr-defined]
    assert {(p.width, p.height) for p in packets} <= {(346, 260)}
    return np.concatenate([np.empty(0, EVENT_DTYPE), *(p.events for p in packets)])


@settings(deadline=None, max_examples=25)
@given(rows=st.lists(EVENT, max_size=60), pieces=st.integers(1, 5))
@pytest.mark.parametrize("first", NAMES)
@pytest.mark.parametrize("second", NAMES)
def test_from_one_format_into_another_and_back_nothing_changes(
    tmp_path_factory: pytest.TempPathFactory,
    first: str,
    second: str,
    rows: list[tuple[int, int, int, bool]],
    pieces: int,
) -> None:
    folder = tmp_path_factory.mktemp("w")
    events = build(rows)
    write(first, folder / "a", events, pieces)
    once = read(folder / "a")
    np.testing.assert_array_equal(once, events)
    write(second, folder / "b", once)
    write(first, folder / "c", read(folder / "b"), pieces)
    assert (folder / "a").read_bytes() == (folder / "c").read_bytes()


@pytest.mark.parametrize("name", ["csv", "npz"])
def test_times_since_the_epoch_and_far_beyond_are_kept(tmp_path: Path, name: str) -> None:
    events = build([(2**51, 1, 2, True), (2**51 - 1, 345, 259, False)])
    write(name, tmp_path / "a", events)
    np.testing.assert_array_equal(read(tmp_path / "a"), events)


def test_golden_files(tmp_path: Path) -> None:
    events = build([(5, 3, 0, True), (255, 300, 259, False)])
    write("csv", tmp_path / "a.csv", events)
    assert (tmp_path / "a.csv").read_bytes() == b"t,x@346,y@260,on\n5,3,0,1\n260,300,259,0\n"
    write("es", tmp_path / "a.es", events)
    assert (tmp_path / "a.es").read_bytes() == b"Event Stream\x02\x00\x00\x01" + bytes.fromhex(
        "5a01 0401" + "0b 0300 0301" + "ffff 02 2c01 0000"
    )
    write("npz", tmp_path / "a.npz", events)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as z:
        assert {k: (v.dtype.str, v.tolist()) for k, v in z.items()} == {
            "t": ("<i8", [5, 260]),
            "x": ("<u2", [3, 300]),
            "y": ("<u2", [0, 259]),
            "p": ("|b1", [True, False]),
            "width": ("<i8", 346),
            "height": ("<i8", 260),
        }


def test_event_stream_holds_long_pauses_up_to_its_limit(tmp_path: Path) -> None:
    events = build([(0, 1, 1, True), (127 * 5_000_000 + 3, 2, 2, False), (1, 3, 3, True)])
    write("es", tmp_path / "a.es", events)
    np.testing.assert_array_equal(read(tmp_path / "a.es"), events)
    with EventStreamWriter(tmp_path / "b.es", 346, 260) as writer:
        for wrong in (build([(MAX_PAUSE_US + 1, 1, 1, True)]), build([(2**62, 1, 1, True)])):
            with pytest.raises(OutputError, match="holds pauses up to"):
                writer.write(wrong)
        writer.write(events)
        with pytest.raises(OutputError, match="ascending order"):
            writer.write(events)
    np.testing.assert_array_equal(read(tmp_path / "b.es"), events)


@pytest.mark.parametrize("name", NAMES)
def test_memory_does_not_grow_with_the_recording(tmp_path: Path, name: str) -> None:
    n = 5000
    rng = np.random.default_rng(0)
    events = build([(0, 0, 0, False)] * n)
    for column, high in (("x", 346), ("y", 260), ("p", 2)):
        events[column] = rng.integers(0, high, n)
    peaks = []
    for packets in (2, 12):
        with WRITERS.get(name)(tmp_path / "a", 346, 260) as writer:
            tracemalloc.start()
            for k in range(packets):
                events["t"] = rng.integers(0, 500, n).cumsum() + 500 * n * k
                writer.write(events)
            writer.close()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] + (1 << 20)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    for name in NAMES:
        with pytest.raises(OutputError, match="cannot be written"):
            WRITERS.get(name)(tmp_path / "none" / "a", 346, 260)


def test_a_full_disk_while_packing_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = NpzWriter(tmp_path / "a.npz", 346, 260)
    writer.write(build([(1, 2, 3, True)] * 100))

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stream_ottt.sinks.writers.npz.shutil.copyfileobj", full)
    with pytest.raises(OutputError, match="No space left"):
        writer.close()
    writer.close()
