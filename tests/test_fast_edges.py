"""Where a comparison or a division is at its edge, the fast engine does as the plain one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stream_ottt.engine.config import EngineConfig
from stream_ottt.learning.build import build_learner
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.optimizer import build_optimizer
from stream_ottt.network.topologies import build_network


def pair(**network: Any) -> list[OnlineLearner]:
    """A learner on the plain engine, and the same one on the fast engine."""
    out = []
    for engine in ("plain", "fast"):
        config, rule = NetworkConfig(layers=(4,), readout="flatten", **network), LearnerConfig(lr=0.1)
        net = build_network(config, input_shape=(2, 5, 4), classes=3, dtype=torch.float64)
        out.append(build_learner(net, build_optimizer(rule), rule, engine=EngineConfig(engine=engine)))  # type: ignore[arg-type]
    return out


def set_to(learner: OnlineLearner, name: str, value: float) -> None:
    learner.network.parameters[name].fill_(value)
    learner.network.weights_changed()


def one_step(learner: OnlineLearner, rate: float) -> torch.Tensor:
    frame = torch.poisson(torch.full((1, 2, 5, 4), rate), generator=torch.Generator().manual_seed(0)).double()
    logits = learner.forward(frame, 0)
    learner.learn(0, torch.tensor([1]))
    return logits


@pytest.mark.parametrize(("potential", "fires", "learns"), [(0.0, False, False), (1.0, True, True), (2.0, True, False)])
def test_a_potential_at_the_threshold_or_an_edge_of_the_rectangle(potential: float, fires: bool, learns: bool) -> None:
    """Without events the bias is the potential: 1[u ≥ V_th], and the rectangle is open at both edges, 0 and 2 V_th."""
    for learner in pair(weight_standardization=False, surrogate="rectangular"):
        set_to(learner, "conv1.bias", potential)
        logits = one_step(learner, 0.0)
        assert bool((logits != 0).any()) == fires
        assert bool((learner.network.parameters["conv1.bias"] != potential).any()) == learns


def test_a_gain_of_zero_finds_its_gradient() -> None:
    plain, fast = pair()
    for learner in (plain, fast):
        set_to(learner, "conv1.gain", 0.0)
        one_step(learner, 3.0)
    gain = fast.network.parameters["conv1.gain"]
    assert bool((gain != 0).all())
    torch.testing.assert_close(gain, plain.network.parameters["conv1.gain"], rtol=1e-10, atol=0)
