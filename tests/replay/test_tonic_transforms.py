"""tonic's transforms in a replay's settings: what they give is what tonic gives, and wrong ones are one line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from replay.helpers import SIZE, small_config, write_collection

from stream_ottt.errors import UsageError
from stream_ottt.events.packet import EventArray
from stream_ottt.learning.rehearsal import RehearsalMemory, Stretch
from stream_ottt.replay.config import DataConfig
from stream_ottt.replay.datasets import open_dataset
from stream_ottt.replay.datasets.base import EventData
from stream_ottt.replay.framing import frame_events
from stream_ottt.replay.loader import Loader
from stream_ottt.replay.runs import replay

theirs = pytest.importorskip("tonic.transforms", reason="no tonic for this Python")

WHERE = (SIZE, SIZE, 2)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_collection(tmp_path_factory.mktemp("collection") / "c.npz")


def opened(path: Path, *transforms: Any, **settings: Any) -> EventData:
    config = {"path": str(path), "window": 10_000, "time_steps": 4, "test": 8, "cache": "off", **settings}
    data = open_dataset(DataConfig(transforms=transforms, **config))
    assert isinstance(data, EventData)
    return data


def sample(data: EventData, i: int = 0) -> EventArray:
    """The events of a training sample from time 0 on."""
    events = data.events(data.train[i]).copy()
    events["t"] -= events["t"][0]
    return events


def test_events_are_changed_before_they_are_counted_and_the_sensor_follows(path: Path) -> None:
    data = opened(path, "CropTime:?max=25000", {"uri": "CenterCrop", "size": [6, 4]}, "MergePolarities")
    events = theirs.CropTime(max=25_000)(sample(data, 3))
    events = theirs.MergePolarities()(theirs.CenterCrop(sensor_size=WHERE, size=(6, 4))(events))
    raw = data.raw(data.train[3])
    assert raw.shape == (4, 2, 4, 6) and raw.sum() == len(events) > 0 and not raw[3].any()
    np.testing.assert_array_equal(raw, frame_events(events, (6, 4), data.config))


def test_frames_of_tonic_take_the_place_of_counts(path: Path) -> None:
    data = opened(path, {"uri": "ToTimesurface", "dt": 10_000, "tau": 5e3})
    expected = theirs.ToTimesurface(sensor_size=WHERE, dt=10_000, tau=5e3)(sample(data)).astype(np.float32)
    raw = data.raw(data.train[0])
    assert raw.shape == (4, 2, SIZE, SIZE) and raw.dtype == np.float32 and 0 < len(expected) < 4
    np.testing.assert_array_equal(raw[: len(expected)], expected)
    assert not raw[len(expected) :].any()
    counts = opened(path, "ToFrame:?time_window=5000")  # more than T
    first = theirs.ToFrame(sensor_size=WHERE, time_window=5000)(sample(counts))
    assert len(first) > 4
    np.testing.assert_array_equal(counts.raw(counts.train[0]), first[:4])
    image = opened(path, "ToImage")
    x, _ = Loader(image, small_config(path)).batch(image.train[:2])
    assert x.shape == (4, 2, 2, SIZE, SIZE) and (x[0] == x[3]).all() and x[0, 0].sum() == len(sample(image))


def test_each_sample_is_met_by_transforms_that_remember_nothing(path: Path) -> None:
    # tonic's CropTime without an end keeps the last time of the first sample that it sees.
    data = opened(path, "CropTime:?min=0", window=100_000, time_steps=1)
    for item in data.train:
        assert data.raw(item).sum() == len(data.events(item))


def test_what_is_random_follows_from_the_sample_alone(path: Path) -> None:
    transform = {"uri": "DropEvent", "p": 0.5}
    first, second = opened(path, transform), opened(path, transform)
    np.random.seed(0)  # noqa: NPY002  tonic draws from it
    ahead = np.random.rand(3)  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    alone = second.raw(second.train[5])
    assert (np.random.rand(3) == ahead).all()  # noqa: NPY002
    raws = [first.raw(item) for item in first.train]
    np.testing.assert_array_equal(raws[5], alone)
    shares = {raw.sum() / len(first.events(item)) for raw, item in zip(raws, first.train, strict=True)}
    assert all(0.3 < share < 0.7 for share in shares)
    places = [np.flatnonzero(raw.ravel()).tolist() for raw in raws]
    assert places[0] != places[2]


MADE = {
    "CenterCrop": {"size": 4}, "CropTime": {}, "Denoise": {"filter_time": 5000}, "Decimation": {"n": 2},
    "DropEvent": {"p": [0.1, 0.2]}, "DropEventByTime": {}, "DropEventByArea": {"area_ratio": 0.3},
    "DropPixel": {"coordinates": [[1, 2], [3, 4]]}, "Downsample": {"target_size": [4, 4]}, "EventDrop": {},
    "EventDownsampling": {"target_size": [4, 4], "dt": 1, "downsampling_method": "integrator", "noise_threshold": 0},
    "MergePolarities": {}, "RandomCrop": {"target_size": [4, 4]}, "RandomDropPixel": {"p": 0.2},
    "RandomFlipPolarity": {}, "RandomFlipLR": {}, "RandomFlipUD": {}, "RandomTimeReversal": {},
    "RefractoryPeriod": {"delta": 1000}, "SpatialJitter": {"clip_outliers": True}, "TimeAlignment": {},
    "TimeJitter": {"std": 10}, "TimeSkew": {"coefficient": 1.1}, "UniformNoise": {"n": 50},
    "ToFrame": {"n_time_bins": 4}, "ToImage": {}, "ToTimesurface": {"dt": 10_000, "tau": 5000},
    "ToVoxelGrid": {"n_time_bins": 4},
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_each_of_tonics_can_be_named(path: Path, name: str) -> None:
    data = opened(path, {"uri": name, **MADE[name]})
    raw = data.raw(data.train[1])
    assert raw.any() and len(raw) in (1, 4)


def test_a_cache_is_of_its_transforms(path: Path, tmp_path: Path) -> None:
    plain, merged = (opened(path, *chain, cache=str(tmp_path)) for chain in ((), ("MergePolarities",)))
    assert plain.raw(plain.train[0])[:, 1].any() and not merged.raw(merged.train[0])[:, 1].any()


def test_a_run_rehearses_frames_that_are_no_counts(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored: list[Any] = []
    store = RehearsalMemory.store

    def seen(memory: RehearsalMemory, stretch: Stretch) -> Any:
        stored.append(stretch.frames)
        return store(memory, stretch)

    monkeypatch.setattr(RehearsalMemory, "store", seen)
    surfaces = {"data": {"transforms": [{"uri": "ToTimesurface", "dt": 5000, "tau": 5e3}]}}
    rehearsed = {"rehearsal": {"mode": "ratio", "stretch": 2}, "protocol": {"epochs": 1}}
    replay(small_config(path, **surfaces, **rehearsed), tmp_path / "run", say=lambda line: None)
    assert stored and all(frames.dtype == np.float32 and frames.base is None for frames in stored)
    assert any((frames % 1 > 0).any() for frames in stored)


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("Denois:?filter_time=1", "unknown transform 'Denois' of tonic's; did you mean 'Denoise'?"),
        ("ToOneHotEncoding", "unknown transform 'ToOneHotEncoding'"),
        ("Denoise", "key 'Denoise.filter_time' is required; write Denoise:?filter_time=…"),
        ("Denoise:?time=1", "unknown key 'Denoise.time'; did you mean 'filter_time'?"),
        ("MergePolarities:?p=1", "unknown key 'MergePolarities.p'; there are none"),
        ("Denoise:?filter_time=1&filter_time=2", "given twice"),
        ("Denoise:?filter_time=fast", "Denoise fails on sample"),
        ("ToFrame:?n_time_bins=5", "ToFrame gives 5 frames, and data.time_steps says 4"),
        ("ToSparseTensor:?n_time_bins=4", "ToSparseTensor gives neither events nor frames"),
        ({"filter_time": 1}, "needs the key 'uri'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(path: Path, spec: Any, line: str) -> None:
    with pytest.raises(UsageError) as error:
        (data := opened(path, spec)).raw(data.train[0])
    assert line in str(error.value) and "\n" not in str(error.value)


def test_what_cannot_go_together_is_said(path: Path) -> None:
    data = opened(path, "ToFrame:?n_time_bins=4", "Denoise:?filter_time=1000")
    with pytest.raises(UsageError, match=r"Denoise fails on sample .* after ToFrame; what takes events comes before"):
        data.raw(data.train[0])
    data = opened(path, "ToFrame:?n_time_bins=4", width=4)
    with pytest.raises(UsageError, match=r"8×8 pixels, and data.width and data.height say 4×8"):
        data.raw(data.train[0])
    data = opened(path, "CropTime:?min=1000000000", "ToVoxelGrid:?n_time_bins=4")
    with pytest.raises(UsageError, match=r"no event of sample .* is left for ToVoxelGrid"):
        data.raw(data.train[0])
    with pytest.raises(UsageError, match="'mnist' holds images"):
        open_dataset(DataConfig(name="mnist", path=str(path), transforms=("MergePolarities",)))


def test_without_tonic_its_extra_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tonic.transforms", None)
    with pytest.raises(UsageError, match=r"pip install 'stream-ottt\[tonic\]'"):
        opened(path, "MergePolarities")
