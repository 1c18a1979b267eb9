"""The average of the weights: by its formula, saved and restored with all else, and never learned from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import SIZE, intervals, labelled_events, small_learner, timesteps

from stream_ottt.engine.config import EngineConfig
from stream_ottt.events.timestep import Timestep
from stream_ottt.labels.timeline import LabelTimeline
from stream_ottt.learning.build import build_learner
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.topologies import build_network
from stream_ottt.run.models import load_model, save_model

STEPS = timesteps(labelled_events(0, 12), LabelTimeline(intervals(12)))
NETWORK = NetworkConfig(layers=(4,))


def fast(horizon: int, how: NetworkConfig = NETWORK, **rule: object) -> OnlineLearner:
    network = build_network(how, input_shape=(2, SIZE, SIZE), classes=2)
    config = LearnerConfig.load({"time_steps": 5, "average": horizon, **rule})
    return build_learner(network, config=config, classes=[1, 2], engine=EngineConfig(engine="fast"))


def go(learner: OnlineLearner, steps: list[Timestep]) -> list[np.ndarray]:
    said = []
    for t in steps:
        said.append(learner.step(t).logits)
        learner.feedback(t.index, 1 + t.index // 10 % 2)
    return said


@pytest.mark.parametrize("make", [small_learner, fast])
def test_it_follows_its_formula(make) -> None:
    learner = make(average=60) if make is small_learner else make(60)
    name = "readout.weight"
    expected = learner.network.parameters[name].double().clone()
    for n, t in enumerate(STEPS, 1):
        go(learner, [t])
        if n % 25 == 0:
            b = min(1.0, max(25 / n, 25 / 60))
            expected = (1 - b) * expected + b * learner.network.parameters[name].double()
        assert learner.average is not None
        torch.testing.assert_close(learner.average.network.parameters[name].double(), expected, rtol=1e-5, atol=1e-7)


def test_it_predicts_and_the_learning_is_that_without_it() -> None:
    with_average, without = small_learner(average=50), small_learner()
    said, plain = go(with_average, STEPS), go(without, STEPS)
    ours, theirs = with_average.network.parameters, without.network.parameters
    assert all(torch.equal(ours[k], v) for k, v in theirs.items())
    assert any((a != b).any() for a, b in zip(said, plain, strict=True))
    frozen = small_learner()
    assert with_average.average is not None
    for name, value in frozen.network.parameters.items():
        value.copy_(with_average.average.network.parameters[name])
    frozen.network.weights_changed()
    with_average.reset()
    for t in STEPS[:10]:
        ours_said = with_average.step(t, learn=False).logits
        np.testing.assert_array_equal(ours_said, frozen.step(t, learn=False).logits)


@pytest.mark.parametrize("make", [small_learner, fast])
@pytest.mark.parametrize("at", [7, 25, 61])
def test_a_restored_learner_goes_on_to_the_bit(make, at: int) -> None:
    def fresh() -> OnlineLearner:
        return make(average=60) if make is small_learner else make(60)

    learner, other = fresh(), fresh()
    go(learner, STEPS[:at])
    other.load_state_dict(learner.state_dict())
    np.testing.assert_array_equal(go(learner, STEPS[at:]), go(other, STEPS[at:]))


@pytest.mark.parametrize("standardized", [False, True])
def test_weights_that_are_put_into_it_predict_from_then_on(standardized: bool) -> None:
    learner = fast(60, NETWORK.model_copy(update={"weight_standardization": standardized}))
    go(learner, STEPS[:10])
    average, frames = learner.average, learner.as_input(STEPS[10].frame)
    assert average is not None
    before = average.predict(frames, average.network.rest())
    learner.network.parameters["conv1.weight"].mul_(3)
    learner.network.weights_changed(centred=learner.network.centred)
    average.take(learner.network.parameters, centred=learner.network.centred)
    after = average.predict(frames, average.network.rest())
    learner.swap(learner.rest())
    torch.testing.assert_close(after, learner.forward(frames, STEPS[10].index, learn=False))
    assert not torch.allclose(before, after)


def test_it_is_saved_with_the_model(tmp_path: Path) -> None:
    learner = fast(50)
    go(learner, STEPS)
    save_model(tmp_path / "m.safetensors", learner, network=NETWORK)
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.average is not None and learner.average is not None
    theirs = loaded.average.network.parameters
    assert all(torch.equal(theirs[k], v) for k, v in learner.average.network.parameters.items())
    learner.reset()
    said = [[one.step(t, learn=False).logits for t in STEPS[:10]] for one in (learner, loaded)]
    np.testing.assert_array_equal(*said)


def test_a_timestep_that_is_only_watched_cannot_be_learned_from() -> None:
    learner = small_learner(average=50)
    learner.step(STEPS[0], learn=False)
    assert not learner.feedback(STEPS[0].index, 1)
    assert learner.counts.too_late == 1


def test_a_learner_without_a_second_network_has_no_average() -> None:
    network = build_network(NETWORK, input_shape=(2, SIZE, SIZE), classes=2)
    with pytest.raises(ValueError, match="second network"):
        OnlineLearner(network, config=LearnerConfig(average=50))
