"""Shrink and perturb: by its formula, restored to the bit, and without it no weight is touched."""

from __future__ import annotations

import math

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
from stream_ottt.learning.perturbation import EVERY, Perturbation
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.topologies import build_network

STEPS = timesteps(labelled_events(0, 12), LabelTimeline(intervals(12)))


def fast(**rule: object) -> OnlineLearner:
    network = build_network(NetworkConfig(layers=(4,)), input_shape=(2, SIZE, SIZE), classes=2)
    config = LearnerConfig.load({"time_steps": 5, **rule})
    return build_learner(network, config=config, classes=[1, 2], engine=EngineConfig(engine="fast"))


def go(learner: OnlineLearner, steps: list[Timestep]) -> list[np.ndarray]:
    said = []
    for t in steps:
        said.append(learner.step(t).logits)
        learner.feedback(t.index, 1 + t.index // 10 % 2)
    return said


def weights(learner: OnlineLearner) -> dict[str, torch.Tensor]:
    learner.network.settle()
    return {name: value.clone() for name, value in learner.network.parameters.items()}


@pytest.mark.parametrize("make", [small_learner, fast])
def test_it_comes_every_so_many_updates_and_follows_its_formula(make) -> None:
    """Against the same learner without it, up to and with the first time."""
    plain, perturbed = make(), make(perturb=0.01)
    drawn = weights(perturbed)
    go(plain, STEPS[: EVERY - 1])
    go(perturbed, STEPS[: EVERY - 1])
    assert all(torch.equal(a, weights(plain)[name]) for name, a in weights(perturbed).items())
    go(plain, STEPS[EVERY - 1 : EVERY])
    go(perturbed, STEPS[EVERY - 1 : EVERY])
    kept = 0.99**EVERY
    for name, after in weights(perturbed).items():
        left = (after - kept * weights(plain)[name]).double()
        if name.endswith("weight"):
            expected = float(drawn[name].double().std(correction=0)) * math.sqrt(1 - kept**2)
            n = left.numel()
            assert float(left.std()) == pytest.approx(expected, rel=4 / math.sqrt(n)), name
            if name.replace("weight", "gain") in drawn:
                assert left.flatten(1).mean(1).abs().max() < 1e-5
        else:
            torch.testing.assert_close(
                left, torch.full_like(left, (1 - kept) * name.endswith("gain")), atol=1e-6, rtol=0
            )


def test_weights_that_learn_nothing_stay_as_they_were_drawn() -> None:
    """In distribution, while each of them becomes another one; what is too large comes back."""
    network = build_network(NetworkConfig(layers=(32, 32)), input_shape=(2, SIZE, SIZE), classes=2)
    name = "conv2.weight"
    drawn = network.parameters[name].clone()
    perturbation = Perturbation(network, 0.01)
    network.parameters[name].mul_(5)
    for updates in range(EVERY, 40 * EVERY, EVERY):
        perturbation.follow(network, updates)
    after = network.parameters[name]
    assert float(after.std()) == pytest.approx(float(drawn.std()), rel=0.05)
    assert abs(float(torch.corrcoef(torch.stack([drawn.flatten(), after.flatten()]))[0, 1])) < 0.05


@pytest.mark.parametrize("make", [small_learner, fast])
@pytest.mark.parametrize("rule", [{}, {"average": 50}, {"error_delay": 2}])
@pytest.mark.parametrize("at", [7, 25, 26, 61])
def test_a_restored_learner_goes_on_to_the_bit(make, rule: dict[str, object], at: int) -> None:
    if make is small_learner and "average" in rule:
        rule = {"rule": "ottt_a"}
    learner, other = make(perturb=1e-3, **rule), make(perturb=1e-3, **rule)
    go(learner, STEPS[:at])
    other.load_state_dict(learner.state_dict())
    np.testing.assert_array_equal(go(learner, STEPS[at:]), go(other, STEPS[at:]))
    assert all(torch.equal(a, weights(other)[name]) for name, a in weights(learner).items())


def test_a_class_that_is_added_is_taken_in() -> None:
    learner = fast(perturb=1e-3)
    go(learner, STEPS[:30])
    learner.add_class(3)
    go(learner, STEPS[30:60])
    assert len(weights(learner)["readout.weight"]) == 3
