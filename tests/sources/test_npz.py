"""NPZ: one recording and labelled collections, against the arrays they came from; and hostile archives."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import drain_rows

from stream_ottt.errors import InputError, UsageError
from stream_ottt.sources.npz import NpzSource
from stream_ottt.sources.opening import open_source


def recording(n: int = 9) -> dict[str, np.ndarray]:
    i = np.arange(n)
    return {"t": 10 * i, "x": (i % 5).astype(np.uint8), "y": (i % 3).astype(np.int16), "p": i % 2 == 0}


def rows(columns: dict[str, Any]) -> list[tuple[int, int, int, bool]]:
    return [(int(x), int(y), int(t), bool(p > 0)) for x, y, t, p in zip(*(columns[k] for k in "xytp"), strict=True)]


COLLECTION: dict[str, Any] = {
    "t": np.array([100, 150, 7, 9, 9, 1000], np.uint32),
    "x": np.array([1, 2, 3, 4, 5, 6], np.uint8),
    "y": np.array([0, 0, 1, 1, 1, 3], np.uint8),
    "p": np.array([1, 0, 1, 0, 1, 0], np.uint8),
    "offsets": np.array([0, 2, 2, 5, 6]),
    "labels": np.array([3, 1, 0, 3], np.uint8),
}
"""Four samples: spans 51, none, 3 and 1 µs."""


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("p", [np.array([1, 0, 1]), np.array([1, -1, 1]), np.array([True, False, True])])
def test_plain_columns(tmp_path: Path, save: Any, p: np.ndarray) -> None:
    columns = {
        "t": np.array([5, 5, 8], ">u4"),
        "x": np.array([1, 2, 3]),
        "y": np.array([4, 5, 6], "u2"),
        "p": p,
    }
    save(tmp_path / "a.npz", **columns)
    source = open_source(tmp_path / "a.npz")
    assert isinstance(source, NpzSource)
    assert drain_rows(source) == (rows(columns), None)
    assert source.labels is None
    assert [(q.width, q.height) for q in source.packets()] == [(4, 7)]


def test_columns_that_are_named_otherwise(tmp_path: Path) -> None:
    columns = {"ts": [5, 6], "xs": [1, 2], "ys": [3, 4]}
    np.savez(tmp_path / "a.npz", **columns, pols=[1, 0])
    (packet,) = open_source(tmp_path / "a.npz").packets()  # type: ignore[attr-defined]
    assert packet.events.tolist() == [(1, 3, 5, True), (2, 4, 6, False)]
    np.savez(tmp_path / "a.npz", **columns, what=[1, 0])
    with pytest.raises(InputError, match="name them t, x, y and p"):
        next(open_source(tmp_path / "a.npz").packets())  # type: ignore[attr-defined]


def test_structured_and_table_events(tmp_path: Path) -> None:
    columns = recording()
    structured = np.empty(9, [("x", "u2"), ("y", "u2"), ("t", "i8"), ("on", "?")])
    for name, role in zip(structured.dtype.names or (), "xytp", strict=True):
        structured[name] = columns[role]
    table = np.stack([columns[k] for k in "txyp"], axis=1)
    for events in (structured, table, np.asfortranarray(table)):
        np.savez(tmp_path / "a.npz", events=events)
        assert drain_rows(NpzSource.from_options(path=tmp_path / "a.npz")) == (rows(columns), None)


def test_sensor_size_from_options_then_arrays_then_the_largest_pixel(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **recording(), width=64, height=np.array([48]))

    def size(**options: int) -> tuple[int, int]:
        packet = next(NpzSource.from_options(path=tmp_path / "a.npz", **options).packets())
        return packet.width, packet.height

    assert size() == (64, 48)
    assert size(width=7) == (7, 48)
    np.savez(tmp_path / "a.npz", **recording())
    assert size() == (5, 3)
    np.savez(tmp_path / "a.npz", **recording(), width=0)
    assert "width is" in str(drain_rows(NpzSource.from_options(path=tmp_path / "a.npz"))[1])


def test_samples_stand_one_after_another_with_their_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **COLLECTION, class_names=np.array(["a", "b", "c", "d"]))
    source = NpzSource.from_options(path=tmp_path / "a.npz", gap="10us")
    packets = source.packets()
    first = next(packets)
    assert [(i.t_start, i.t_end, i.label) for i in source.labels or []] == [
        (0, 51, 3),
        (61, 62, 1),
        (72, 75, 0),
        (85, 86, 3),
    ]
    assert source.class_names == {0: "a", 1: "b", 2: "c", 3: "d"}
    events = first.events.tolist() + [e for p in packets for e in p.events.tolist()]
    assert events == [
        (1, 0, 0, True),
        (2, 0, 50, False),
        (3, 1, 72, True),
        (4, 1, 74, False),
        (5, 1, 74, True),
        (6, 3, 85, False),
    ]
    assert (first.width, first.height) == (7, 4)


def test_a_duration_cuts_and_pads_every_slot(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **COLLECTION)
    source = NpzSource.from_options(path=tmp_path / "a.npz", duration="2us", gap="1us")
    events, _ = drain_rows(source)
    assert [(i.t_start, i.t_end) for i in source.labels or []] == [(0, 2), (3, 5), (6, 8), (9, 11)]
    assert [(x, t) for x, _, t, _ in events] == [(1, 0), (3, 6), (6, 9)]


def test_a_slice_selects_but_the_sensor_stays_that_of_the_whole_file(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", **COLLECTION)
    source = open_source(f"{tmp_path / 'a.npz'}?samples=2:3")
    (packet,) = source.packets()  # type: ignore[attr-defined]
    assert packet.events["x"].tolist() == [3, 4, 5]
    assert (packet.width, packet.height) == (7, 4)
    for wrong in ("5", "a:b", "::0", "-:", "0:-"):
        with pytest.raises(UsageError, match=r"source\.samples"):
            open_source(f"{tmp_path / 'a.npz'}?samples={wrong}")
    with pytest.raises(UsageError, match="selects none of its 4 samples"):
        drain_rows(NpzSource.from_options(path=tmp_path / "a.npz", samples="4:"))


@settings(deadline=None, max_examples=20)
@given(
    sizes=st.lists(st.integers(0, 6), min_size=1, max_size=12),
    seed=st.integers(0, 5),
    compressed=st.booleans(),
    gap=st.integers(0, 3),
    duration=st.one_of(st.none(), st.integers(1, 40)),
)
def test_shuffled_passes_hold_every_sample_under_its_own_label(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    seed: int,
    compressed: bool,
    gap: int,
    duration: int | None,
) -> None:
    path = tmp_path_factory.mktemp("n") / "a.npz"
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    n = int(offsets[-1])
    t = np.arange(n) * 7 % 50 + 1000
    for a, b in pairwise(offsets):
        t[a:b].sort()
    owner = np.repeat(np.arange(len(sizes)), sizes)
    arrays = {"t": t, "x": owner, "y": np.arange(n), "p": np.ones(n, bool), "offsets": offsets}
    (np.savez_compressed if compressed else np.savez)(path, **arrays, labels=np.arange(len(sizes)))

    def passes() -> list[tuple[list, list]]:
        length = "none" if duration is None else f"{duration}us"
        source = NpzSource.from_options(
            path=path, shuffle=True, seed=seed, gap=f"{gap}us", duration=length, width=20, height=99
        )
        out = []
        for _ in range(3):
            events, error = drain_rows(source)
            assert error is None
            out.append((events, list(source.labels or [])))
        return out

    first = passes()
    assert first == passes()
    if len(sizes) > 8:
        assert len({tuple(i.label for i in labels) for _, labels in first}) > 1
    for events, labels in first:
        assert sorted(i.label for i in labels) == list(range(len(sizes)))
        assert all(b.t_start - a.t_end == gap for a, b in pairwise(labels))
        kept = []
        for x, y, at, _ in events:
            (slot,) = (i for i in labels if i.t_start <= at < i.t_end)
            assert slot.label == x
            assert at - slot.t_start == t[y] - t[offsets[x]]
            kept.append(y)
        wanted = [i for i in range(n) if duration is None or t[i] - t[offsets[owner[i]]] < duration]
        assert sorted(kept) == wanted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": None}, "labels is missing"),
        ({"offsets": None}, "offsets is missing"),
        ({"offsets": np.array([0, 2, 1, 5, 6])}, "offsets must ascend"),
        ({"offsets": np.array([0, 2, 2, 5, 7])}, "offsets must ascend"),
        ({"offsets": np.array([1, 2, 2, 5, 6])}, "offsets must ascend"),
        ({"offsets": np.array([0, 6])}, "offsets must be integers"),
        ({"labels": np.array([3.0, 1, 0, 3])}, "labels integers"),
        ({"labels": np.array([3, 1, 0, -3])}, "labels must be 0 or above"),
        ({"class_names": np.array([1, 2])}, "class_names"),
        ({"t": COLLECTION["t"][:5]}, "equally long"),
        ({"t": COLLECTION["t"].astype(str)}, "column 't'"),
        ({"t": None}, "no arrays t, x, y and p"),
    ],
)
def test_collections_that_contradict_themselves(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    arrays = {k: v for k, v in (COLLECTION | change).items() if v is not None}
    np.savez(tmp_path / "a.npz", **arrays)
    events, error = drain_rows(NpzSource.from_options(path=tmp_path / "a.npz", width=9, height=9))
    assert not events and message in str(error)


def test_what_was_good_before_a_bad_value_comes_first(tmp_path: Path) -> None:
    columns = recording()
    columns["p"] = np.where(np.arange(9) == 6, 5, columns["p"])
    np.savez(tmp_path / "a.npz", **columns)
    events, error = drain_rows(NpzSource.from_options(path=tmp_path / "a.npz"))
    assert events == rows({k: v[:6] for k, v in columns.items()})
    assert "event 6: polarity is 5" in str(error)
    damaged = COLLECTION | {"p": np.array([1, 0, 1, 7, 1, 0])}
    np.savez(tmp_path / "a.npz", **damaged)
    source = NpzSource.from_options(path=tmp_path / "a.npz")
    events, error = drain_rows(source)
    assert [x for x, *_ in events] == [1, 2, 3] and "event 3: polarity is 7" in str(error)
    assert len(source.labels or []) == 4


def test_times_that_are_centuries_apart_are_damage_not_overflow(tmp_path: Path) -> None:
    for t in ([0, 2**62], [2**62, -(2**62)]):
        arrays = {"t": np.array(t), "x": [1, 2], "y": [1, 2], "p": [1, 1], "offsets": [0, 2], "labels": [0]}
        np.savez(tmp_path / "a.npz", **arrays)
        events, error = drain_rows(NpzSource.from_options(path=tmp_path / "a.npz"))
        assert not events and "sample 0: times" in str(error)


def test_options_of_collections_are_refused_for_a_recording(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **recording())
    with pytest.raises(UsageError, match="'samples' is for labelled collections"):
        drain_rows(NpzSource.from_options(path=tmp_path / "a.npz", samples="0:1"))


def test_every_truncation_is_an_input_error(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", **recording(3))
    data = (tmp_path / "a.npz").read_bytes()
    path = tmp_path / "b.npz"
    for n in range(len(data)):
        path.write_bytes(data[:n])
        events, error = drain_rows(NpzSource.from_options(path=path))
        assert error is not None and not events


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_no_flipped_bit_gives_anything_but_events_or_an_input_error(tmp_path: Path, save: Any) -> None:
    save(tmp_path / "a.npz", **COLLECTION)
    data = bytearray((tmp_path / "a.npz").read_bytes())
    path = tmp_path / "b.npz"
    rng = np.random.default_rng(0)
    for bit in rng.permutation(8 * len(data))[:300]:
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        drain_rows(NpzSource.from_options(path=path))
        data[bit // 8] ^= 1 << bit % 8


def test_a_changed_byte_of_data_is_noticed_by_the_checksum(tmp_path: Path) -> None:
    columns = recording(1000)
    np.savez(tmp_path / "a.npz", **columns)
    data = bytearray((tmp_path / "a.npz").read_bytes())
    at = data.index(columns["t"].tobytes()) + 4000
    data[at] ^= 1
    (tmp_path / "a.npz").write_bytes(data)
    _, error = drain_rows(NpzSource.from_options(path=tmp_path / "a.npz", width=9, height=9))
    assert error is not None and "t.npy cannot be unpacked" in str(error) and error.offset is not None


def peak_of(path: Path, **options: Any) -> tuple[int, int, InputError | None]:
    source = NpzSource.from_options(path=path, width=9, height=9, **options)
    tracemalloc.start()
    n, error = 0, None
    try:
        for packet in source.packets():
            n += len(packet)
    except InputError as e:
        error = e
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return n, peak, error


def test_a_file_that_unpacks_a_thousandfold_takes_no_memory(tmp_path: Path) -> None:
    n = 4_000_000
    zeros = np.zeros(n, np.uint8)
    np.savez_compressed(
        tmp_path / "a.npz", t=np.zeros(n, np.uint32), x=zeros, y=zeros, p=zeros, offsets=[0, n], labels=[0]
    )
    assert (tmp_path / "a.npz").stat().st_size < n * 7 / 500
    for options in ({"shuffle": True}, {}):
        read, peak, error = peak_of(tmp_path / "a.npz", **options)
        assert (read, error) == (n, None) and peak < 16 << 20


def test_more_samples_than_the_file_can_hold_take_no_memory(tmp_path: Path) -> None:
    n = 1 << 22
    arrays = {k: np.zeros(1, np.uint8) for k in "txyp"}
    np.savez_compressed(tmp_path / "a.npz", **arrays, offsets=np.zeros(n + 1, np.int64), labels=np.zeros(n, np.uint8))
    _, peak, error = peak_of(tmp_path / "a.npz")
    assert error is not None and "at most" in str(error) and peak < 8 << 20


def archive(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", compression) as z:
        for name, data in members.items():
            z.writestr(name, data)


def npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def test_archives_that_lie_or_are_packed_otherwise(tmp_path: Path) -> None:
    members = {f"{k}.npy": npy(v) for k, v in recording().items()}
    path = tmp_path / "a.npz"

    def message() -> str:
        return str(drain_rows(NpzSource.from_options(path=path))[1])

    archive(path, members, zipfile.ZIP_BZIP2)
    assert "neither stored nor deflated" in message()
    archive(path, members | {"t.npy": members["t.npy"][:-8]})
    assert "the file is damaged" in message()
    archive(path, members | {"t.npy": members["t.npy"].replace(b"(9,)", b"(8,)")})
    assert "the file is damaged" in message()
    archive(path, members | {"t.npy": npy(np.array([None] * 9))})
    assert "Python objects" in message()
    archive(path, {"blob.npy": b"", "offsets.npy": b""})
    assert "found blob" in message()
    data = bytearray(b"")
    archive(path, members)
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = (2**31).to_bytes(4, "little")
    path.write_bytes(data)
    assert "cannot hold" in message()


def test_the_real_collection(real_data: Path) -> None:
    path = real_data / "nmnist" / "nmnist_800.npz"
    source = open_source(f"{path}?samples=10:30&shuffle=true&seed=1")
    assert isinstance(source, NpzSource)
    packets = list(source.packets())
    with np.load(path) as z:
        offsets, t, x, labels = z["offsets"], z["t"].astype(np.int64), z["x"], z["labels"]
    assert {(p.width, p.height) for p in packets} == {(34, 34)}
    order = np.random.default_rng([1, 0]).permutation(np.arange(10, 30))
    assert [i.label for i in source.labels or []] == labels[order].tolist()
    for packet, slot, i in zip(packets, source.labels or [], order, strict=True):
        a, b = offsets[i], offsets[i + 1]
        np.testing.assert_array_equal(packet.events["t"] - slot.t_start, t[a:b] - t[a])
        np.testing.assert_array_equal(packet.events["x"], x[a:b])
        assert slot.t_end - slot.t_start == t[b - 1] - t[a] + 1
