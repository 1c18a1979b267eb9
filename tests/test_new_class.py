"""A class that is added while a learner learns: the others keep theirs to the bit, and all engines agree."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from helpers import SIZE, small_learner

from stream_ottt.engine.config import EngineConfig
from stream_ottt.events.timestep import Timestep
from stream_ottt.learning.build import build_learner
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.topologies import build_network

FRAMES = np.random.default_rng(3).integers(0, 3, (40, 2, SIZE, SIZE)).astype(np.float32)
ENGINES = {
    "plain": EngineConfig(engine="plain"),
    "fast": EngineConfig(),
    "bf16": EngineConfig(precision="bf16"),
    "overlap": EngineConfig(overlap=True),
}


def make(engine: str = "fast", network: dict[str, Any] | None = None, seed: int = 0, **rule: Any) -> OnlineLearner:
    how = NetworkConfig(**{"layers": (4, "AP2", 6), "readout": "gap", **(network or {})})
    delay = 2 if engine == "overlap" else 0
    config = LearnerConfig(**{"time_steps": 5, "lr": 0.05, "error_delay": delay, **rule})
    built = build_network(how, input_shape=(2, SIZE, SIZE), classes=2, seed=seed)
    return build_learner(built, config=config, classes=[1, 2], engine=ENGINES[engine], threads=None)


def show(learner: OnlineLearner, steps: range, labels: tuple[int, ...]) -> list[np.ndarray]:
    """Predict and learn; the logits."""
    found = []
    for i in steps:
        found.append(learner.step(Timestep(FRAMES[i % len(FRAMES)], i, i + 1, i, 1, i % 10 == 0)).logits)
        learner.feedback(i, labels[i // 10 % len(labels)])
    return found


def weights(learner: OnlineLearner) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in learner.network.parameters.items()}


RULES: list[dict[str, Any]] = [
    {},
    {"optimizer": "adam", "lr": 0.01},
    {"average": 30},
    {"error_delay": 3},
    {"error_delay": 3, "delay_mode": "snapshot"},
    {"rule": "ottt_a", "time_steps": 4},
]


@pytest.fixture(autouse=True)
def _rounded_on_any_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_ottt.engine.precision.bfloat16_is_faster", lambda: True)


ALL = [(engine, rule) for engine in ENGINES for rule in RULES if engine != "overlap" or rule.get("rule") != "ottt_a"]


@pytest.mark.parametrize(("engine", "rule"), ALL, ids=str)
def test_the_other_classes_keep_their_weights_to_the_bit(engine: str, rule: dict[str, Any]) -> None:
    rule = rule if engine != "overlap" else {"error_delay": 2, **rule}
    learner = make(engine, **rule)
    show(learner, range(25), (1, 2))
    before, remembered = weights(learner), {k: v.clone() for k, v in learner.optimizer.state().items()}
    twin = deepcopy_state(learner, make(engine, **rule))
    learner.add_class(7)
    assert learner.classes == [1, 2, 7]
    for name, value in weights(learner).items():
        assert torch.equal(value[: len(before[name])], before[name]), name
    for key, value in learner.optimizer.state().items():
        own = remembered[key]
        assert torch.equal(value[: len(own)], own) and not value[len(own) :].any(), key
    timestep = Timestep(FRAMES[25], 25, 26, 25, 1)
    old, new = twin.step(timestep).logits, learner.step(timestep).logits
    assert new.shape == (3,) and new[:2] == pytest.approx(old, rel=1e-6, abs=1e-6)
    assert abs(new[2]) < 0.5


def deepcopy_state(learner: OnlineLearner, fresh: OnlineLearner) -> OnlineLearner:
    fresh.load_state_dict(deepcopy(learner.state_dict()))
    return fresh


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("network", [{}, {"readout": "flatten"}, {"topology": "layers-f"}], ids=str)
def test_engines_agree_on_what_follows(rule: dict[str, Any], network: dict[str, Any]) -> None:
    engines = ["plain", "fast"]
    if "error_delay" in rule:
        engines.append("overlap")
    found = []
    for engine in engines:
        learner = make(engine, network, **rule)
        show(learner, range(25), (1, 2))
        learner.add_class(7)
        logits = show(learner, range(25, 60), (1, 7, 2))
        found.append((np.array(logits), weights(learner)))
    for logits, held in found[1:]:
        assert logits == pytest.approx(found[0][0], abs=2e-4)
        assert all(torch.allclose(held[n], v, atol=2e-4) for n, v in found[0][1].items() if "conv" not in n)
    if len(found) == 3:  # the second thread changes no bit
        assert np.array_equal(found[1][0], found[2][0])


def test_what_a_class_gets_does_not_depend_on_what_was_learned() -> None:
    rows = []
    for seed in (0, 1):
        learner = make(seed=seed)
        show(learner, range(10 * seed), (1, 2))
        learner.add_class(7)
        rows.append(learner.network.parameters["readout.weight"][2].clone())
    assert torch.equal(*rows) and 0.001 < rows[0].std() < 0.05
    assert learner.network.parameters["readout.bias"][2] == 0
    learner.add_class(8)
    assert not torch.equal(learner.network.parameters["readout.weight"][3], rows[1])


@pytest.mark.parametrize("engine", ["plain", "fast", "overlap"])
def test_a_class_is_learned(engine: str) -> None:
    learner = make(engine, {"readout": "flatten"})
    show(learner, range(20), (1, 2))
    learner.add_class(7)
    bright = np.zeros_like(FRAMES[0])
    bright[0, :, 4:] = 3
    for i in range(20, 80):
        last = learner.step(Timestep(bright, i, i + 1, i, 1, i % 10 == 0))
        learner.feedback(i, 7)
    assert last.label == 7 and last.confidence > 0.6


@pytest.mark.parametrize("engine", ["plain", "fast"])
@pytest.mark.parametrize("mode", ["paper", "snapshot"])
def test_a_label_from_before_the_class_may_name_it(engine: str, mode: str) -> None:
    built = build_network(NetworkConfig(layers=(4,)), input_shape=(2, SIZE, SIZE), classes=2)
    rule = LearnerConfig(error_delay=2, delay_mode=mode)
    learner = build_learner(
        built, config=rule, classes=[1, 2], history=5, engine=EngineConfig(engine=engine), threads=None
    )
    for i in range(6):
        learner.step(Timestep(FRAMES[i], i, i + 1, i, 1))
    learner.feedback(4, 1)  # its error signal is on its way
    learner.add_class(7)
    assert learner.feedback(3, 7) and learner.feedback(5, 7)
    for i in range(6, 9):
        learner.step(Timestep(FRAMES[i], i, i + 1, i, 1))
    assert learner.counts.learned == 3
    assert all(bool(v.isfinite().all()) for v in learner.network.parameters.values())
    assert learner.network.parameters["readout.bias"][2] > 0


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("engine", ["plain", "fast"])
def test_a_checkpoint_from_after_goes_on_to_the_bit(engine: str, rule: dict[str, Any]) -> None:
    learner = make(engine, **rule)
    show(learner, range(23), (1, 2))
    aside = learner.swap(learner.rest())
    show(learner, range(3), (1, 2))
    aside = learner.swap(aside)
    learner.add_class(7)
    show(learner, range(23, 26), (7, 1))
    fresh = make(engine, seed=9, **rule)  # of two classes
    fresh.load_state_dict(deepcopy(learner.state_dict()))
    assert fresh.classes == [1, 2, 7]
    for one, other in zip(*(show(each, range(26, 45), (1, 7)) for each in (learner, fresh)), strict=True):
        assert np.array_equal(one, other)
    learner.swap(aside)  # a state from before the class
    show(learner, range(3, 9), (7, 2))
    assert all(bool(v.isfinite().all()) for v in learner.network.parameters.values())


def test_a_checkpoint_of_other_classes_is_refused() -> None:
    learner, other = make(), make()
    other.add_class(7)
    with pytest.raises(ValueError, match="7"):
        other.load_state_dict(learner.state_dict())
    broken = other.state_dict()
    broken["weights/readout.weight"] = broken["weights/readout.weight"][:2]
    with pytest.raises(ValueError, match="readout"):
        learner.load_state_dict(broken)
    assert learner.classes == [1, 2] and learner.network.outputs == 2


def test_a_class_is_added_once() -> None:
    learner = small_learner()
    with pytest.raises(ValueError, match="already"):
        learner.add_class(2)
    assert learner.network.outputs == 2
