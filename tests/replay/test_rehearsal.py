"""Rehearsal in the replay is that of a live stream: the same stretches, as often, moved about, in the same settings."""

from __future__ import annotations

import sys
from itertools import pairwise, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from replay.helpers import small_config, small_network, write_collection

from stream_ottt.events.timestep import Timestep
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.learning.rehearsal import RehearsalConfig, cut
from stream_ottt.learning.session import Session
from stream_ottt.replay.config import DataConfig, ReplayConfig
from stream_ottt.replay.datasets import open_dataset
from stream_ottt.replay.methods import METHODS
from stream_ottt.replay.methods.base import Method
from stream_ottt.replay.protocols import PROTOCOLS
from stream_ottt.replay.workbench import Workbench
from stream_ottt.run.presets import REPLAYS, RUNS


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_collection(tmp_path_factory.mktemp("data") / "two.npz")


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 24), st.integers(1, 12))
def test_a_presentation_is_cut_as_a_live_stream_cuts_it(timesteps: int, length: int) -> None:
    network = small_network(layers=(2,))
    frames = np.random.default_rng(timesteps).integers(0, 9, (timesteps, 2, 8, 8)).astype(np.uint8)
    session = Session(
        OnlineLearner(network),
        timeline=LabelTimeline([LabelInterval(0, 10 * timesteps, 1)], delay="end"),
        rehearsal=RehearsalConfig(mode="ratio", ratio=0, stretch=length),
    )
    for i, frame in enumerate(frames):
        session.process(Timestep(frame.astype(np.float32), 10 * i, 10 * i + 10, i, int(frame.sum()), i == 0))
    session.finish()
    kept = [stretch.frames for stretch in session.memory._kept.get(1, [])]
    parts = cut(timesteps, length)
    if 2 * timesteps < length:  # a live stream remembers nothing of it, a replay all
        assert not kept and parts == [slice(0, timesteps)]
        return
    assert len(kept) == len(parts)
    assert all((a == frames[part]).all() for a, part in zip(kept, parts, strict=True))


class Recorder(Method):
    """Learns nothing, and writes down what it was to learn."""

    name = "recorder"
    every_step = True
    learned: ClassVar[list[tuple[np.ndarray, list[int]]]] = []

    def learn(self, frames, targets):
        self.learned.append((frames.numpy().copy(), targets.tolist()))
        return torch.zeros(len(frames), frames.shape[1], 2)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[np.ndarray, list[int]]]:
    monkeypatch.setitem(METHODS._targets, "recorder", "someones_package:Recorder")
    monkeypatch.setitem(sys.modules, "someones_package", SimpleNamespace(Recorder=Recorder))
    Recorder.learned.clear()
    return Recorder.learned


def run(config: ReplayConfig) -> Workbench:
    """All intervals of a run, without its folder."""
    dataset = open_dataset(config.data)
    protocol = PROTOCOLS.get(config.protocol.name)(config, dataset)
    bench = Workbench(config, batches=protocol.batches, dataset=dataset)
    for i in range(protocol.length):
        protocol.advance(bench, i)
    return bench


@pytest.mark.parametrize(
    ("timesteps", "stretch", "lengths"), [(4, 2, [2, 2]), (4, 15, [4]), (5, 3, [3, 2]), (2, 1, [1, 1])]
)
def test_each_stretch_is_followed_by_stretches_seen_before(
    timesteps: int, stretch: int, lengths: list[int], collection: Path, recorded: list[Any]
) -> None:
    config = small_config(
        collection,
        data={"time_steps": timesteps},
        method={"name": "recorder"},
        protocol={"name": "prequential", "order": "recorded"},
        rehearsal={"mode": "ratio", "ratio": 3, "stretch": stretch},
    )
    bench = run(config)
    again = 3 * len(lengths)
    assert len(recorded) == len(bench.dataset.train) * (1 + again)
    seen: list[tuple[np.ndarray, int]] = []
    drawn: set[int] = set()
    for k, item in enumerate(bench.dataset.train):
        new, *rehearsed = recorded[k * (1 + again) : (k + 1) * (1 + again)]
        raw = bench.dataset.raw(item)
        assert (new[0][:, 0] == raw).all() and new[1] == [item.label]
        starts = np.cumsum([0, *lengths])
        seen += [(raw[a:b], item.label) for a, b in pairwise(starts)]
        for frames, (label,) in rehearsed:
            which = [i for i, (own, its) in enumerate(seen) if its == label and np.array_equal(own, frames[:, 0])]
            assert which
            drawn.update(which)
    assert len(drawn) > len(seen) / 2


def test_a_batch_of_stretches_is_as_long_as_the_shortest(collection: Path, recorded: list[Any]) -> None:
    config = small_config(
        collection,
        data={"time_steps": 5},
        method={"name": "recorder"},
        protocol={"name": "prequential", "batch_size": 4},
        rehearsal={"mode": "ratio", "ratio": 2, "stretch": 3},
    )
    run(config)
    assert len(recorded) == 4 * (1 + 2 * 2)
    assert {frames.shape[:2] for frames, _ in recorded} == {(5, 4), (3, 4), (2, 4)}


def moved(frames: np.ndarray, dy: int, dx: int) -> np.ndarray:
    out = np.zeros_like(frames)
    ys, xs = (slice(max(d, 0), 8 + min(d, 0)) for d in (dy, dx))
    from_ys, from_xs = (slice(max(-d, 0), 8 + min(-d, 0)) for d in (dy, dx))
    out[..., ys, xs] = frames[..., from_ys, from_xs]
    return out


def test_remembered_stretches_are_moved_about(collection: Path, recorded: list[Any]) -> None:
    config = small_config(
        collection,
        method={"name": "recorder"},
        protocol={"name": "prequential", "order": "recorded"},
        rehearsal={"mode": "ratio", "ratio": 4, "stretch": 4, "shift": 1},
    )
    bench = run(config)
    seen = [bench.dataset.raw(item) for item in bench.dataset.train]
    ways = set()
    for i, (frames, _) in enumerate(recorded):
        if i % 5:
            fits = [w for raw in seen for w in product((-1, 0, 1), repeat=2) if (moved(raw, *w) == frames[:, 0]).all()]
            assert fits
            ways.update(fits)
    assert len(ways) == 9


@pytest.mark.parametrize("name", ["ottt_o", "ottt_a", "bptt", "frozen"])
@pytest.mark.parametrize("protocol", ["epochs", "prequential"])
def test_the_cosine_ends_with_the_last_update(name: str, protocol: str, collection: Path) -> None:
    config = small_config(
        collection,
        data={"train": 5},
        method={"name": name},
        learner={"schedule": "cosine", "time_steps": 3},
        protocol={"name": protocol, "batch_size": 2},
        rehearsal={"mode": "ratio", "ratio": 2, "stretch": 2},
    )
    bench = run(config)
    assert bench.method.optimizer.steps == bench.learner_config.schedule_steps > 0


def test_the_loss_is_over_a_sample_unless_said_otherwise() -> None:
    assert ReplayConfig().learner.time_steps == DataConfig().time_steps
    assert ReplayConfig(data=DataConfig(time_steps=7), learner=LearnerConfig(lr=0.5)).learner.time_steps == 7
    assert ReplayConfig(data=DataConfig(time_steps=7), learner=LearnerConfig(time_steps=5)).learner.time_steps == 5
    assert ReplayConfig.load({"data": {"time_steps": "6"}, "learner": {"lr": 0.1}}).learner.time_steps == 6
    own = ReplayConfig.load({"data": {"time_steps": 6}, "learner": {"time_steps": 3}})
    assert own.learner.time_steps == 3
    assert ReplayConfig.model_validate_json(own.model_dump_json()) == own


def test_the_stream_of_objects_is_replayed_as_it_is_seen_live() -> None:
    live, replayed = RUNS.read("objects"), REPLAYS.read("objects-stream")
    assert replayed["network"]["layers"] == live["network"]["layers"]
    assert {k: replayed["rehearsal"][k] for k in ("stretch", "shift")}.items() <= live["rehearsal"].items()
    assert {k: replayed["data"][k] for k in live["binning"]} == live["binning"]
    assert replayed["data"]["time_steps"] * 20 == 2000  # ms that a presentation lasts
