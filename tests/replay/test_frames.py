"""Framing against counting by hand, transforms, the cache, and streams cut into samples."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay.helpers import small_config, write_collection

from stream_ottt.errors import UsageError
from stream_ottt.events.packet import make_events
from stream_ottt.replay.cache import SampleCache
from stream_ottt.replay.config import DataConfig, TransformConfig
from stream_ottt.replay.datasets import open_dataset
from stream_ottt.replay.framing import frame_events
from stream_ottt.replay.loader import Loader
from stream_ottt.replay.transforms import Transform


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(-1, 12), st.integers(0, 9), st.booleans()), max_size=40),
    st.sampled_from(["equal-count", "duration", "count"]),
    st.integers(1, 5),
    st.sampled_from([(None, None), (6, 4)]),
)
def test_frames_by_counting(rows: list[tuple[int, int, int, bool]], binning: str, steps: int, size) -> None:
    width, height = 12, 10
    config = DataConfig(binning=binning, time_steps=steps, window=100, count=7, width=size[0], height=size[1])
    events = (
        make_events(*zip(*[(x, y, t, p) for t, x, y, p in rows], strict=True)) if rows else make_events([], [], [], [])
    )
    got = frame_events(events, (width, height), config)
    inside = sorted((r for r in rows if 0 <= r[1] < width), key=lambda r: r[0])
    w, h = size[0] or width, size[1] or height
    expected = np.zeros((steps, 2, h, w), int)
    for i, (t, x, y, p) in enumerate(inside):
        frame = {
            "equal-count": min(i // max(len(inside) // steps, 1), steps - 1),
            "duration": (t - inside[0][0]) // 100,
            "count": i // 7,
        }[binning]
        if frame < steps:
            expected[frame, int(p), y * h // height, x * w // width] += 1
    assert (got == expected).all()


def test_counts_above_a_byte_do_not_wrap() -> None:
    events = make_events(np.zeros(300), np.zeros(300), np.arange(300), np.ones(300))
    raw = frame_events(events, (1, 1), DataConfig(time_steps=1, window=1000))
    assert raw.dtype == np.uint16 and raw[0, 1, 0, 0] == 300


def test_normalization_and_scale() -> None:
    raw = np.full((2, 2, 3, 3), 4, np.uint8)
    transform = Transform(TransformConfig(scale=0.5, mean=(1, 2), std=(2, 4)))
    out = transform(raw)
    assert out.dtype == np.float32 and (out[:, 0] == 0.5).all() and (out[:, 1] == 0).all()
    with pytest.raises(UsageError, match="2 values"):
        transform(np.zeros((1, 3, 3, 3), np.uint8))


def test_augmentation_is_the_same_for_all_frames_and_drawn_anew_for_each_sample() -> None:
    frame = np.arange(1, 37, dtype=np.uint8).reshape(1, 1, 6, 6)
    raw = np.repeat(frame, 3, axis=0)
    transform = Transform(TransformConfig(crop=2, flip=True))
    results = set()
    for seed in range(40):
        out = transform(raw, np.random.default_rng(seed))
        assert out.shape == raw.shape and (out == out[:1]).all()
        padded = np.pad(frame[0, 0], 2)
        windows = [padded[i : i + 6, j : j + 6] for i in range(5) for j in range(5)]
        assert any((out[0, 0] == w).all() or (out[0, 0] == w[:, ::-1]).all() for w in windows)
        results.add(out.tobytes())
    assert len(results) > 15
    assert (transform(raw) == raw).all()  # not when testing


def test_cutout_blanks_one_square() -> None:
    raw = np.ones((1, 1, 20, 20), np.uint8)
    transform = Transform(TransformConfig(cutout=6))
    for seed in range(10):
        blank = transform(raw, np.random.default_rng(seed))[0, 0] == 0
        rows, columns = blank.any(1), blank.any(0)
        assert 9 <= blank.sum() <= 36 and blank.sum() == rows.sum() * columns.sum()


def test_resized_crop_gives_the_size_asked_for() -> None:
    raw = np.random.default_rng(0).integers(0, 256, (1, 3, 50, 80), dtype=np.uint8)
    transform = Transform(TransformConfig(resized_crop=True), (24, 32))
    middle = transform(raw)
    assert middle.shape == (1, 3, 24, 32) and (middle == transform(raw)).all()
    drawn = {transform(raw, np.random.default_rng(s)).tobytes() for s in range(5)}
    assert len(drawn) == 5
    flat = transform(np.full((1, 1, 50, 80), 9, np.uint8))
    assert (flat == 9).all()


def test_cache_is_keyed_by_settings_and_heals(tmp_path: Path) -> None:
    calls = []

    def decode(value: int):
        def make() -> np.ndarray:
            calls.append(value)
            return np.full((1, 1, 2, 2), value, np.uint8)

        return make

    cache = SampleCache(tmp_path, {"window": 10})
    assert cache.get("a", decode(1)).max() == 1 and cache.get("a", decode(2)).max() == 1
    assert SampleCache(tmp_path, {"window": 20}).get("a", decode(3)).max() == 3
    assert calls == [1, 3]
    (file,) = [f for f in cache.folder.iterdir() if f.suffix == ".npz"]
    file.write_bytes(file.read_bytes()[:50])
    assert cache.get("a", decode(4)).max() == 4 and calls == [1, 3, 4]
    assert SampleCache(tmp_path, {"window": 10}).get("a", decode(5)).max() == 4
    whole = file.read_bytes()
    directory = whole.index(b"PK\1\2")
    for offset, value in ((6, 250), (8, 1), (10, 99)):  # a version, an encryption and a packing that there are not
        place = directory + offset
        file.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
        assert cache.get("a", decode(6)).max() == 6
    assert not list(tmp_path.rglob("*.partial"))


def test_cache_under_parallel_workers(tmp_path: Path) -> None:
    script = """
import sys, numpy as np
from pathlib import Path
from stream_ottt.replay.cache import SampleCache
cache = SampleCache(Path(sys.argv[1]), {"a": 1})
for turn in range(2):
    for key in range(30):
        assert (cache.get(str(key), lambda: np.full((1, 1, 30, 30), key, np.uint8)) == key).all()
"""
    workers = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path)]) for _ in range(2)]
    assert [w.wait() for w in workers] == [0, 0]
    (folder,) = tmp_path.iterdir()
    assert len(list(folder.glob("*.npz"))) == 30 and not list(folder.glob("*.partial"))


def test_a_cached_data_set_is_decoded_anew_when_its_file_is_another(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    config = DataConfig(path=str(path), window="10ms", time_steps=4, test=4, cache=str(tmp_path / "cache"))
    seen = []
    for seed in (0, 0, 1):
        write_collection(path, 8, seed=seed)
        data = open_dataset(config)
        seen.append(data.raw(data.train[0]))
    assert (seen[0] == seen[1]).all() and (seen[0] != seen[2]).any()


# --- streams ---------------------------------------------------------------------------------------------------------


def test_a_collection_is_split_in_order(tmp_path: Path) -> None:
    data = open_dataset(small_config(write_collection(tmp_path / "c.npz", 20), data={"test": 6}).data)
    assert [i.label for i in data.train] == [k % 2 for k in range(14)] and len(data.test) == 6
    raw = data.raw(data.train[1])
    assert raw[..., :4].sum() == 0 and raw.sum() >= 60


def test_recordings_are_cut_in_time_and_the_end_is_tested(tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("class,startTime_usec,endTime_usec\n4,0,1000\n9,1000,2000\n")
    t = np.arange(0, 2000, 10)
    np.savez(tmp_path / "one.npz", t=t, x=t // 1000, y=t * 0, p=t % 20 == 0, width=2, height=1)
    config = DataConfig(
        path=str(tmp_path / "one.npz"),
        labels=str(labels),
        split="time",
        test_share=0.2,
        window=50,
        time_steps=2,
        cache="off",
    )
    data = open_dataset(config)
    assert data.names == ["4", "9"]
    assert len(data.train) == 16 and len(data.test) == 4
    ends = [end for _, _, end in (i.where for i in data.train if i.label == 0)]
    starts = [start for _, start, _ in (i.where for i in data.test if i.label == 0)]
    assert max(ends) <= 800 <= min(starts)
    for item in data.train + data.test:
        raw = data.raw(item)
        assert raw.sum() == 10 and raw[..., 1 - item.label].sum() == 0


def test_another_session_is_matched_by_class_names(tmp_path: Path) -> None:
    for session, classes in (("one", ("cup", "pen")), ("two", ("pen",))):
        for k, name in enumerate(classes):
            folder = tmp_path / session
            folder.mkdir(exist_ok=True)
            n = 400
            np.savez(
                folder / f"{name}.npz",
                t=np.arange(n) * 10,
                x=np.full(n, k),
                y=np.zeros(n),
                p=np.ones(n),
                width=2,
                height=1,
            )
    config = DataConfig(
        path=str(tmp_path / "one"), test_path=str(tmp_path / "two"), split="time", window=500, time_steps=2, cache="off"
    )
    data = open_dataset(config)
    assert data.names == ["cup", "pen"]
    assert {i.label for i in data.train} == {0, 1} and {i.label for i in data.test} == {1}
    assert len(data.train) == 6 and len(data.test) == 3


def test_a_stream_without_labels_says_how_to_give_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", t=[1], x=[0], y=[0], p=[1])
    with pytest.raises(UsageError, match=r"--data\.labels"):
        open_dataset(DataConfig(path=str(tmp_path / "one.npz")))


def test_batches_share_the_memory_of_equal_frames_and_follow_from_the_seed(tmp_path: Path) -> None:
    config = small_config(write_collection(tmp_path / "c.npz"), transform={"crop": 1}, compute={"seed": 3})
    data = open_dataset(config.data)
    loader = Loader(data, config)
    items = data.train[:3]
    first, targets = loader.batch(items, augment=[(0, 0), (0, 1), (0, 2)])
    again, _ = loader.batch(items[::-1], augment=[(0, 2), (0, 1), (0, 0)])
    assert first.shape == (4, 3, 2, 8, 8) and targets.tolist() == [0, 1, 0]
    assert (first == again.flip(1)).all()
    other, _ = loader.batch(items, augment=[(1, 0), (1, 1), (1, 2)])
    assert (first != other).any()
    assert sorted(loader.order(50, 0)) == list(range(50)) and loader.order(50, 0) != loader.order(50, 1)
    static, _ = loader.tensors([np.ones((1, 2, 8, 8), np.uint8)], items[:1], time_steps=7)
    assert static.shape == (7, 1, 2, 8, 8) and static.stride()[0] == 0
