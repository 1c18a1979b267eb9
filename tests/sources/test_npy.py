"""NPY: every form of array that is taken, against the columns it was written from; and damage."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import drain_rows

from stream_ottt.errors import UsageError
from stream_ottt.events.packet import EVENT_DTYPE
from stream_ottt.sources.npy import NpySource
from stream_ottt.sources.opening import open_source

EVENTS = np.array([(3, 4, 10, True), (0, 7, 10, False), (9, 0, 2**40, True)], EVENT_DTYPE)


def table(order: str = "txyp", dtype: str = "<i8") -> np.ndarray:
    return np.stack([EVENTS[c].astype(dtype) for c in order], axis=1)


@pytest.mark.parametrize(
    "array",
    [
        EVENTS,
        EVENTS.astype([("timestamp", ">u8"), ("Y", "u1"), ("x", ">i4"), ("polarity", "i1"), ("spare", "f4")][:4]),
        table(),
        np.asfortranarray(table()),
        table(dtype="<f8"),
        table(dtype=">i8"),
    ],
    ids=["tonic", "aliases", "rows", "fortran", "floats", "big-endian"],
)
def test_every_form_gives_the_same_events(tmp_path: Path, array: np.ndarray) -> None:
    if array.dtype.names and array.dtype.names[0] == "timestamp":
        other = np.empty(len(EVENTS), array.dtype)
        for name, role in zip(array.dtype.names, "tyxp", strict=True):
            other[name] = EVENTS[role]
        array = other
    np.save(tmp_path / "a.npy", array)
    source = open_source(tmp_path / "a.npy")
    assert isinstance(source, NpySource)
    assert drain_rows(source) == (EVENTS.tolist(), None)
    packet = next(source.packets())
    assert (packet.width, packet.height) == (10, 8)


def test_columns_in_another_order_and_one_to_skip(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", table("xytp"))
    assert drain_rows(NpySource.from_options(path=tmp_path / "a.npy", columns="xytp")) == (EVENTS.tolist(), None)
    np.save(tmp_path / "b.npy", np.insert(table("pyxt"), 1, 99, axis=1))
    assert drain_rows(open_source(f"{tmp_path / 'b.npy'}?columns=on,_,y,x,t"))[0] == EVENTS.tolist()
    for wrong in ("txy", "txyy", "t,x,y,q", "txypx"):
        with pytest.raises(UsageError, match=r"source\.columns"):
            NpySource.from_options(path=tmp_path / "a.npy", columns=wrong)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(-3, 40000), st.integers(0, 99), st.integers(0, 2**60), st.booleans())))
def test_pieces_join_to_the_whole(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    path = tmp_path_factory.mktemp("n") / "a.npy"
    np.save(path, np.array(rows, [("x", "i4"), ("y", "i4"), ("t", "i8"), ("p", "?")]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stream_ottt.sources.tables.PACKET_EVENTS", 4)
        expected = [(x if 0 <= x < 2**15 else -1, y, t, p) for x, y, t, p in rows]
        assert drain_rows(NpySource.from_options(path=path, width=9, height=9, time="us")) == (expected, None)


def test_every_truncation_gives_whole_events_then_an_error(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", EVENTS)
    data = (tmp_path / "a.npy").read_bytes()
    start = len(data) - EVENTS.nbytes
    path = tmp_path / "b.npy"
    for n in range(len(data)):
        path.write_bytes(data[:n])
        events, error = drain_rows(NpySource.from_options(path=path))
        assert events == EVENTS.tolist()[: max(0, n - start) // EVENT_DTYPE.itemsize]
        assert error is not None and error.path == path
        assert n < start or error.offset == n
    path.write_bytes(data + b"x")
    events, error = drain_rows(NpySource.from_options(path=path))
    assert events == EVENTS.tolist() and error is not None and error.offset == len(data)


def test_no_flipped_bit_gives_anything_but_events_or_an_input_error(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", EVENTS)
    data = bytearray((tmp_path / "a.npy").read_bytes())
    path = tmp_path / "b.npy"
    for bit in range(0, 8 * len(data), 3):
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        drain_rows(NpySource.from_options(path=path))
        data[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize(
    ("values", "good", "message"),
    [
        ([[1, 2, 3, 1], [2, 2, 3, np.nan]], 1, "event 1: p is nan"),
        (
            [[1, 2, 3, 1], [2.5, 2, 3, 0]],
            0,
            "times have fractions, such as 2.5; say their unit with time=",
        ),
        ([[1, np.inf, 3, 1]], 0, "event 0: x is inf"),
        ([[1, 2, 3, 0], [1, 2, 3, 2]], 1, "event 1: polarity is 2"),
        ([[1e300, 2, 3, 0]], 0, "event 0: t is 1e"),
    ],
)
def test_values_that_are_no_event(tmp_path: Path, values: list, good: int, message: str) -> None:
    np.save(tmp_path / "a.npy", np.array(values))
    events, error = drain_rows(NpySource.from_options(path=tmp_path / "a.npy", columns="txyp", width=9, height=9))
    assert len(events) == good and message in str(error)


def test_negative_times_and_far_pixels_are_passed_on(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[-5, 2, 3, -1], [-(2**62), 70000, -7, 1]]))
    assert drain_rows(NpySource.from_options(path=tmp_path / "a.npy", columns="txyp", width=9, height=9))[0] == [
        (2, 3, -5, False),
        (-1, -1, -(2**62), True),
    ]


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(5),
        np.zeros((5, 3)),
        np.zeros((4, 4), complex),
        np.array(["a"]),
        np.zeros((2, 2, 4), int),
        np.int64(3),
    ],
)
def test_other_arrays_are_refused_with_what_is_expected(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    events, error = drain_rows(NpySource.from_options(path=tmp_path / "a.npy"))
    assert not events and error is not None and "expected" in str(error)


def test_python_objects_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"t": 1}], object), allow_pickle=True)
    _, error = drain_rows(NpySource.from_options(path=tmp_path / "a.npy"))
    assert "Python objects" in str(error)


def header(text: str) -> bytes:
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text.encode()


@pytest.mark.parametrize(
    "head",
    [
        header("{'descr': '<i8', 'fortran_order': False, 'shape': (281474976710655, 4)}"),
        header("{'descr': '<i8', 'fortran_order': False, 'shape': (4, 99999999999)}"),
        header("{'descr': '<i8', 'fortran_order': True, 'shape': (99999999999, 4)}"),
        header("{'descr': '|V2000000000', 'fortran_order': False, 'shape': (4,)}"),
        header("{'descr': [('t','<i8'),('x','<i8'),('y','<i8'),('p','<i8'),('z','|V999999999')],"
               "'fortran_order': False, 'shape': (9,)}"),
        header("{'descr': '<i8', 'fortran_order': False, 'shape': (-1, 4)}"),
        header("{'descr': '<i8', 'fortran_order': False, 'shape': (True, 4)}"),
        header("(" * 5000),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 100,
        b"\x93NUMPY\x09\x00\x10\x00",
    ],
)  # fmt: skip
def test_giant_and_senseless_headers_take_no_memory(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(head + bytes(100))
    tracemalloc.start()
    _, error = drain_rows(NpySource.from_options(path=path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error is not None and peak < 8 << 20
