"""Tables whose columns lie in other ways: structs of MATLAB, rows across, columns [n, 1], dates of NumPy."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EventArray, make_events
from stream_ottt.pipeline.source import BlockingSource
from stream_ottt.sources.opening import open_source

RNG = np.random.default_rng(9)
N = 1200
T = np.sort(RNG.integers(0, 80_000, N))
X, Y, P = RNG.integers(0, 240, N), RNG.integers(0, 180, N), RNG.integers(0, 2, N)
X[:2], Y[:2] = (0, 239), (0, 179)
EVENTS = make_events(X, Y, T, P)
START = 1_700_000_000_000_000


def read(uri: object) -> EventArray:
    source = open_source(str(uri))
    assert isinstance(source, BlockingSource)
    packets = list(source.excerpt())
    assert {(p.width, p.height) for p in packets} == {(240, 180)}
    return np.concatenate([p.events for p in packets])


def why(uri: object) -> str:
    source = open_source(str(uri))
    assert isinstance(source, BlockingSource)
    with pytest.raises(InputError) as error:
        list(source.excerpt())
    assert "\n" not in str(error.value)
    return str(error.value)


def column(values: Any, *, down: bool) -> Any:
    return np.asarray(values, float)[:, None] if down else np.asarray(values, float)


@pytest.mark.parametrize("down", [True, False])
def test_structs_of_matlab_that_count_from_1(tmp_path: Path, down: bool) -> None:
    fields = {"x": X + 1, "y": Y + 1, "p": P + 1, "ts": T}
    savemat(tmp_path / "a.mat", {"TD": {k: column(v, down=down) for k, v in fields.items()}}, do_compression=down)
    assert np.array_equal(read(tmp_path / "a.mat"), EVENTS)


def test_structs_of_matlab_7_3(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    for plus in (0, 1):
        with h5py.File(path, "w", userblock_size=512) as f:
            for name, values in {"x": X, "y": Y, "p": P, "ts": T}.items():
                f[f"TD/{name}"] = (values + plus * (name != "ts")).astype(float)[None]
        with path.open("r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file".ljust(128))
        assert np.array_equal(read(path), EVENTS)


def test_structs_of_matlab_that_count_from_0(tmp_path: Path) -> None:
    fields = {"x": X.astype("u2"), "y": Y.astype("u2"), "polarity": 2 * P - 1, "timeStamp": T.astype("u4")}
    savemat(tmp_path / "a.mat", {"aedat": {"info": {"source": "Davis240"}, "data": {"polarity": fields}}})
    assert np.array_equal(read(tmp_path / "a.mat"), EVENTS)


def test_a_mat_file_with_several_tables_asks_for_one(tmp_path: Path) -> None:
    table = np.stack([T, X, Y, P], axis=1)
    savemat(tmp_path / "a.mat", {"left": table, "more": {"right": table[::-1][::-1]}, "pose": np.zeros((3, 3))})
    assert "events may lie in left, more.right; say where with array=, such as array=left" in why(tmp_path / "a.mat")
    assert np.array_equal(read(f"{tmp_path}/a.mat?array=more.right"), EVENTS)
    assert "no events in 'pose'; they may lie in left, more.right" in why(f"{tmp_path}/a.mat?array=pose")


@pytest.mark.parametrize("kind", [0, 8, 14, 67])
@pytest.mark.parametrize("packed", [False, True])
def test_data_of_a_type_that_mat_files_do_not_have_is_refused_not_read(tmp_path: Path, kind: int, packed: bool) -> None:
    """scipy's parser looks such a type up beyond its table, and the process is gone."""
    path = tmp_path / "a.mat"
    savemat(path, {"x": X, "y": Y, "t": T, "p": P})
    data = bytearray(path.read_bytes())
    at = 128 + 8 + 16 + 16 + 8  # the first array's numbers, behind flags, sizes and name
    assert data[at] in (2, 3, 4, 5, 6, 12, 13)
    data[at] = kind
    if packed:
        length = 8 + struct.unpack_from("<I", data, 132)[0]
        inside = zlib.compress(bytes(data[128 : 128 + length]))
        data[128 : 128 + length] = struct.pack("<II", 15, len(inside)) + inside
    path.write_bytes(data)
    assert f"data of type {kind}, which the format does not have there; copy it again" in why(path)


def test_what_is_neither_numbers_nor_text_is_passed_over(tmp_path: Path) -> None:
    beside = {"notes": np.array([[1, "a"]], dtype=object), "info": {"camera": "DVS", "sizes": np.array([[240, 180]])}}
    savemat(tmp_path / "a.mat", {"events": np.stack([T, X, Y, P], axis=1), **beside}, do_compression=True)
    assert np.array_equal(read(tmp_path / "a.mat"), EVENTS)


def test_a_mat_file_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    packed = zlib.compress(struct.pack("<II", 14, 100 << 20) + bytes(100 << 20), 9)
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x100) + b"IM"
    (tmp_path / "a.mat").write_bytes(header + struct.pack("<II", 15, len(packed)) + packed)
    assert "it unpacks to more than 64 MiB" in why(tmp_path / "a.mat")


def test_a_mat_file_that_was_cut_off_anywhere(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"TD": {"x": X[:9], "y": Y[:9], "p": P[:9], "ts": T[:9]}}, do_compression=True)
    whole = (tmp_path / "a.mat").read_bytes()
    for size in range(128, len(whole)):
        (tmp_path / "b.mat").write_bytes(whole[:size])
        assert "copy it again" in why(tmp_path / "b.mat") or "it holds no arrays" in why(tmp_path / "b.mat")


@pytest.mark.parametrize("place", ["events", "data", "deep/inside/events"])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (1, 2, 0, 3), (1, 2, 3, 0)])
@pytest.mark.parametrize("across", [True, False])
def test_one_array_of_hdf5(tmp_path: Path, place: str, order: tuple[int, ...], across: bool) -> None:
    rows = np.stack([T, X, Y, P], axis=1)[:, order]
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f.create_dataset(place, data=rows.T if across else rows, chunks=True, compression="gzip")
    assert np.array_equal(read(tmp_path / "a.h5"), EVENTS)


def test_where_tables_of_hdf5_lie(tmp_path: Path) -> None:
    rows = np.stack([X, Y, T / 1e6, 2 * P - 1], axis=1)
    with h5py.File(tmp_path / "mvsec.h5", "w") as f:
        for side in ("left", "right"):
            f[f"davis/{side}/events"] = rows
            f[f"davis/{side}/imu"] = np.zeros((9, 4))
    for group in ("davis/left", "davis/left/events"):
        assert np.array_equal(read(f"{tmp_path}/mvsec.h5?group={group}"), EVENTS)
    assert "events lie in davis/left/events, davis/right/events" in why(tmp_path / "mvsec.h5")
    records = np.empty(N, [("index", "i8"), ("t", "i8"), ("x_coordinates", "i2"), ("y_coordinates", "i2"), ("p", "i1")])
    for name, values in zip(records.dtype.names or (), (0, T, X, Y, P), strict=True):
        records[name] = values
    with h5py.File(tmp_path / "pandas.h5", "w") as f:
        f["df/table"] = records
    assert np.array_equal(read(tmp_path / "pandas.h5"), EVENTS)


@pytest.mark.parametrize("shape", [(N, 1), (1, N)])
def test_columns_as_matlab_saves_them(tmp_path: Path, shape: tuple[int, int]) -> None:
    columns = {"ts": T / 1e6, "x": X, "y": Y, "p": P}
    with h5py.File(tmp_path / "a.h5", "w") as f:
        for name, values in columns.items():
            f[f"TD/{name}"] = values.reshape(shape)
    assert np.array_equal(read(tmp_path / "a.h5"), EVENTS)
    np.savez(tmp_path / "a.npz", **{k: v.reshape(shape) for k, v in columns.items()})
    assert np.array_equal(read(tmp_path / "a.npz"), EVENTS)


def test_pairs_of_coordinates_across(tmp_path: Path) -> None:
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", t=T, xy=np.stack([X, Y]), p=P)
        assert np.array_equal(read(tmp_path / "a.npz"), EVENTS)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_dates_and_durations_of_numpy(tmp_path: Path, unit: str) -> None:
    factor = {"s": 1_000_000, "ms": 1000, "us": 1, "ns": 1}[unit]
    for kind, start in (("M8", START), ("m8", 0)):
        exact = (T // factor * factor + start).astype("M8[us]")
        times = (
            exact.astype(f"M8[{unit}]").astype(f"{kind}[{unit}]" if kind == "M8" else "i8").astype(f"{kind}[{unit}]")
        )
        expected = make_events(X, Y, exact.astype("i8"), P)
        np.savez(tmp_path / "a.npz", t=times, x=X, y=Y, p=P)
        assert np.array_equal(read(f"{tmp_path}/a.npz?time=ms"), expected)  # its unit is known
        rows = np.empty(N, [("t", times.dtype), ("x", "u2"), ("y", "u2"), ("p", "?")])
        rows["t"], rows["x"], rows["y"], rows["p"] = times, X, Y, P
        np.save(tmp_path / "a.npy", rows)
        assert np.array_equal(read(tmp_path / "a.npy"), expected)


def test_times_that_are_none_are_named(tmp_path: Path) -> None:
    times = T.astype("m8[us]")
    times[700] = np.timedelta64("NaT")
    np.savez(tmp_path / "a.npz", t=times, x=X, y=Y, p=P)
    assert "event 700: t is NaT, which is no number" in why(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", t=T.astype("m8[D]"), x=X, y=Y, p=P)
    assert "column 't' is timedelta64[D]; expected numbers" in why(tmp_path / "a.npz")


@pytest.mark.parametrize("how", ["attributes", "numbers", "of the group", "resolution", "of the calibration"])
def test_a_size_that_hdf5_says(tmp_path: Path, how: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as f:
        for name, values in {"t": T, "x": X // 2, "y": Y // 2, "p": P}.items():
            f[f"events/{name}"] = values
        if how == "attributes":
            f.attrs["width"], f.attrs["height"] = 240, 180
        elif how == "numbers":
            f["width"], f["height"] = 240, 180
        elif how == "of the group":
            f["events"].attrs["width"], f["events"].attrs["height"] = 240, 180
        elif how == "resolution":
            f.attrs["sensor_resolution"] = (180, 240)
        else:
            f["events/calib/resolution"] = (240, 180)
    assert said_size(tmp_path / "a.h5") == (240, 180)


def said_size(path: Path) -> tuple[int, int]:
    source = open_source(path)
    assert isinstance(source, BlockingSource)
    (size,) = {(p.width, p.height) for p in source.packets()}
    assert source.size_from == "file"
    return size


@pytest.mark.parametrize(
    "size",
    [{"width": 240, "height": 180}, {"resolution": [240, 180]}, {"sensor_size": [180.0, 240.0]}],
)
def test_a_size_that_arrays_say(size: dict[str, Any], tmp_path: Path) -> None:
    columns = {"t": T, "x": X // 2, "y": Y // 2, "p": P}
    np.savez(tmp_path / "a.npz", **columns, **size)
    savemat(tmp_path / "a.mat", {**columns, **size})
    assert said_size(tmp_path / "a.npz") == said_size(tmp_path / "a.mat") == (240, 180)


@pytest.mark.parametrize("size", ["346x260", [0, 0], [1e-6, 1e-6], [346], [[1, 2], [3, 4]], [float("nan")] * 2])
def test_a_resolution_that_is_none_of_pixels_is_passed_over(size: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", t=T, x=X, y=Y, p=P, resolution=size)
    savemat(tmp_path / "a.mat", {"t": T, "x": X, "y": Y, "p": P, "resolution": size})
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f["calib"] = h5py.ExternalLink("other.h5", "/calib")
        f["resolution"] = size
        for name, values in {"t": T, "x": X, "y": Y, "p": P}.items():
            f[name] = values
    for name in ("a.npz", "a.mat", "a.h5"):
        source = open_source(tmp_path / name)
        assert isinstance(source, BlockingSource)
        assert sum(len(p) for p in source.packets()) == N and source.size_from == "guess"


def test_files_that_were_cut_off_say_so(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f["events"] = np.stack([T, X, Y, P])
    np.savez(tmp_path / "a.npz", t=T, x=X, y=Y, p=P)
    for name in ("a.h5", "a.npz"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        assert "was cut off" in why(tmp_path / name) and "copy it again" in why(tmp_path / name)
