"""HDF5: DSEC's layout and its relatives, what is packed in ways that are not read, and damage."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from reading import drain_rows

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EVENT_DTYPE
from stream_ottt.sources.hdf5 import Hdf5Source
from stream_ottt.sources.opening import open_source

N = 1000
COLUMNS: dict[str, np.ndarray] = {
    "t": np.arange(N, dtype=np.uint32) * 3,
    "x": (np.arange(N) % 640).astype(np.uint16),
    "y": (np.arange(N) % 480).astype(np.uint16),
    "p": (np.arange(N) % 2).astype(np.uint8),
}
ROWS = [(int(x), int(y), int(t), bool(p)) for t, x, y, p in zip(*COLUMNS.values(), strict=True)]


def dsec(path: Path, offset: int | None = 5_000_000_000, **options: Any) -> None:
    with h5py.File(path, "w") as f:
        for name, column in COLUMNS.items():
            f.create_dataset(f"events/{name}", data=column, **options)
        if offset is not None:
            f["t_offset"] = np.int64(offset)
        f["ms_to_idx"] = np.arange(3, dtype=np.uint64)


def read(path: Path, **options: Any) -> tuple[list[tuple[int, int, int, bool]], InputError | None]:
    return drain_rows(Hdf5Source.from_options(path=path, **options))


@pytest.mark.parametrize("options", [{}, {"chunks": (64,), "compression": "gzip", "shuffle": True}])
def test_dsec_with_its_offset_in_pieces(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_ottt.sources.tables.PACKET_EVENTS", 300)
    dsec(tmp_path / "a.h5", **options)
    source = open_source(tmp_path / "a.h5")
    assert isinstance(source, Hdf5Source)
    packets = list(source.packets())
    assert [len(p) for p in packets] == [300, 300, 300, 100]
    assert {(p.width, p.height) for p in packets} == {(640, 480)}
    events = [e for p in packets for e in p.events.tolist()]
    assert events == [(x, y, t + 5_000_000_000, p) for x, y, t, p in ROWS]
    dsec(tmp_path / "a.h5", offset=None)
    assert read(tmp_path / "a.h5") == (ROWS, None)


def test_records_tables_and_other_places(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    records = np.empty(N, [("x", "u2"), ("y", "u2"), ("p", "i2"), ("t", "i8")])
    for name, column in COLUMNS.items():
        records[name] = column
    with h5py.File(path, "w") as f:
        f["CD/events"] = records
        f.attrs["geometry"] = "1280x720"
        f["t_offset"] = 7  # DSEC's, not of this layout
    assert read(path) == (ROWS, None)
    packet = next(Hdf5Source.from_options(path=path, height=999).packets())
    assert (packet.width, packet.height) == (1280, 999)
    with h5py.File(path, "w") as f:
        for name, column in COLUMNS.items():
            f[f"prophesee/left/{name}s"] = column
    assert read(path) == (ROWS, None)  # the only place
    with h5py.File(path, "a") as f:
        f["prophesee/right/events/t"] = f["spare"] = np.arange(3)
        for name, column in COLUMNS.items():
            f[f"prophesee/right/{name}"] = column[::-1]
    assert "prophesee/left, prophesee/right; say which with group=" in str(read(path)[1])
    assert drain_rows(open_source(f"{path}?group=prophesee/left")) == (ROWS, None)
    with h5py.File(path, "w") as f:
        f["events"] = np.stack([COLUMNS[k].astype(np.int64) for k in "xytp"], axis=1)
        f.attrs["width"], f.attrs["height"] = 700, 500
    assert read(path, columns="xytp") == (ROWS, None)
    packet = next(Hdf5Source.from_options(path=path, columns="xytp").packets())
    assert (packet.width, packet.height) == (700, 500)


def packed_with(path: Path, code: int, place: str) -> None:
    with h5py.File(path, "w") as f:
        dataset = f.create_dataset(
            place, (100,), EVENT_DTYPE, chunks=(50,), compression=code, allow_unknown_filter=True
        )
        dataset.id.write_direct_chunk((0,), b"packed")


def test_codecs_that_are_not_read_are_named(tmp_path: Path) -> None:
    packed_with(tmp_path / "a.h5", 0x8ECF, "CD/events")
    assert "expected events as ECF packs them" in str(read(tmp_path / "a.h5")[1])
    packed_with(tmp_path / "a.h5", 300, "events")
    assert "HDF5 filter 300" in str(read(tmp_path / "a.h5")[1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: f.create_dataset("events/t", (5,), "i8"), "no events with t, x, y and p"),
        (lambda f: [f.create_dataset(f"events/{k}", data=np.zeros(5 + (k == "y"))) for k in "txyp"], "equally long"),
        (lambda f: [f.create_dataset(f"events/{k}", data=["a"] * 5) for k in "txyp"], "expected columns of integers"),
        (lambda f: [f.create_dataset(f"events/{k}", data=5) for k in "txyp"], "expected columns"),
        (lambda f: [f.create_dataset(f"events/{k}", data=np.zeros((5, 2))) for k in "txyp"], "one dimension"),
        (lambda f: [f.create_dataset(f"events/{k}", data=np.full(5, 0.5)) for k in "txyp"], "say their unit"),
        (lambda f: [f.create_dataset(f"events/{k}", (2**50,), "i8", chunks=(4,)) for k in "txyp"], "promises"),
        (lambda f: [f.create_dataset(f"events/{k}", (2**40,), "i8") for k in "txyp"], "promises"),
        (
            lambda f: [
                f.create_dataset(f"events/{k}", data=np.zeros(2**21), chunks=(2**21,), compression="gzip")
                for k in "txyp"
            ],
            "more than 8 MiB",
        ),
    ],
)
def test_what_cannot_be_events_takes_no_memory(tmp_path: Path, make: Any, message: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as f:
        make(f)
    tracemalloc.start()
    events, error = read(tmp_path / "a.h5")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not events and message in str(error) and peak < 8 << 20


def test_a_wrong_offset_and_data_in_other_files(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    for wrong in (1.5, 2**62, [1, 2]):
        dsec(path, offset=None)
        with h5py.File(path, "a") as f:
            f["t_offset"] = wrong
        assert "t_offset" in str(read(path)[1])
    (tmp_path / "raw").write_bytes(bytes(8 * N))
    with h5py.File(path, "w") as f:
        for name in COLUMNS:
            f.create_dataset(f"events/{name}", (N,), "i8", external=[(str(tmp_path / "raw"), 0, 8 * N)])
    assert "lies in other files" in str(read(path)[1])


def test_damaged_data_comes_after_what_was_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_ottt.sources.tables.PACKET_EVENTS", 100)
    path = tmp_path / "a.h5"
    dsec(path, offset=None, chunks=(100,), compression="gzip", fletcher32=True)
    with h5py.File(path) as f:
        chunk = f["events/x"].id.get_chunk_info(6)
    data = bytearray(path.read_bytes())
    data[chunk.byte_offset + chunk.size // 2] ^= 255
    path.write_bytes(data)
    events, error = read(path, width=640, height=480)
    assert events == ROWS[:600]
    assert "/events/x cannot be unpacked" in str(error)


def test_truncations_and_flipped_bits_of_the_structure(tmp_path: Path) -> None:
    # The HDF5 library itself parses what is damaged here, so the trials run in a process of their own.
    dsec(tmp_path / "a.h5", chunks=(500,), compression="gzip")
    program = """
import sys
from pathlib import Path
import numpy as np
from stream_ottt.errors import InputError
from stream_ottt.sources.hdf5 import Hdf5Source
folder = Path(sys.argv[1])
good = (folder / "a.h5").read_bytes()
path = folder / "b.h5"
def read(data):
    path.write_bytes(data)
    try:
        for _ in Hdf5Source.from_options(path=path).packets():
            pass
    except InputError:
        return True
    return False
assert all(read(good[:n]) for n in range(0, len(good), 151))
rng = np.random.default_rng(0)
for bit in rng.integers(0, 8 * len(good), 200).tolist():
    data = bytearray(good)
    data[bit // 8] ^= 1 << bit % 8
    read(data)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr[-2000:]
