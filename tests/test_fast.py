"""The fast engine against recorded truth and against the plain one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stream_ottt.engine import EngineConfig, build_learner
from stream_ottt.errors import UsageError
from stream_ottt.learner import LearnerConfig, OnlineLearner
from stream_ottt.network.topologies import NetworkConfig, build_network
from stream_ottt.optimizer import SGD, build_optimizer
from stream_ottt.timestep import Timestep

RELEASED, DELAY = "ottt_released_code.npz", "ottt_delay.npz"
GOLDEN: dict[str, tuple[str, dict[str, Any]]] = {
    "vgg_ottt_a": (RELEASED, {"rule": "ottt_a"}),
    "vgg_ottt_o": (RELEASED, {}),
    "vgg_ottt_o_delay1": (DELAY, {"error_delay": 1}),
    "vgg_ottt_o_delay3": (DELAY, {"error_delay": 3}),
    "vgg_ottt_o_delay2_snapshot": (DELAY, {"error_delay": 2, "delay_mode": "snapshot"}),
    "vgg_ottt_o_input_trace": (DELAY, {}),
}
LAYERS = {
    "features.0": "conv1",
    "features.3.op": "conv2",
    "features.7.op": "conv3",
    "conv1": "conv1",
    "features.2.op": "conv2",
    "features.6.op": "conv3",
    "classifier.0.op": "readout",
}
FAST = EngineConfig(engine="fast")


def our_name(recorded: str) -> str:
    layer, _, parameter = recorded.rpartition(".")
    return f"{LAYERS[layer]}.{parameter}"


def centred(name: str, value: Tensor) -> Tensor:
    """A convolution's weights without the means of their rows, which act on nothing under standardization."""
    if not name.startswith("conv") or not name.endswith("weight"):
        return value
    return value - value.mean((1, 2, 3), keepdim=True)


class OpenSGD(SGD):
    """SGD by another name: the fast engine then gives its gradients out instead of stepping by itself."""


def golden_case(name: str, folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / GOLDEN[name][0]) as z:
        return {k.removeprefix(f"{name}/"): z[k] for k in z.files if k.startswith(f"{name}/")}


def golden_learner(
    name: str, case: dict[str, np.ndarray], engine: EngineConfig, optimizer: type[SGD] = SGD
) -> OnlineLearner:
    config = LearnerConfig(lr=0.1, momentum=0.9, time_steps=len(case["x"]), alpha=0.05, **GOLDEN[name][1])
    network = build_network(
        NetworkConfig(layers=(6, 8, "AP2", 8), input_trace=name.endswith("input_trace")),
        input_shape=(2, 8, 8),
        classes=4,
        dtype=torch.float64,
    )
    for key, value in case.items():
        if key.startswith("init/"):
            network.parameters[our_name(key.removeprefix("init/"))].copy_(torch.from_numpy(value))
    network.weights_changed()
    return build_learner(network, optimizer(config), config, engine=engine)


def check_golden(name: str, case: dict[str, np.ndarray], learner: OnlineLearner) -> None:
    target = torch.from_numpy(case["y"])
    logits = []
    for t in range(len(case["x"])):
        frame = torch.from_numpy(case["x"][t])
        logits.append(learner.forward(frame[None], t)[0].clone())
        before = {k: v.clone() for k, v in learner.optimizer.state().items()}
        assert learner.learn(t, target)
        parameters = learner.network.parameters  # of an update under way, its end
        if learner.config.rule == "ottt_o" and t >= learner.config.error_delay:
            for key, value in learner.optimizer.state().items():
                ours = key.removeprefix("momentum/")
                gradient = value - 0.9 * before.get(key, torch.zeros_like(value))
                recorded = next(v for k, v in case.items() if k.startswith("grad/") and our_name(k[5:]) == ours)
                np.testing.assert_allclose(gradient.numpy(), recorded[t], rtol=0, atol=1e-10, err_msg=ours)
            assert len(learner.optimizer.state()) == len(parameters)
    np.testing.assert_allclose(torch.stack(logits).numpy(), case["logits"], rtol=0, atol=1e-10)
    after = {our_name(k.removeprefix("after/")): v for k, v in case.items() if k.startswith("after/")}
    assert set(after) == set(learner.network.parameters)
    for key, value in learner.network.parameters.items():
        expected = centred(key, torch.from_numpy(after[key]))
        np.testing.assert_allclose(value.numpy(), expected.numpy(), rtol=0, atol=1e-10, err_msg=key)


@pytest.mark.parametrize("optimizer", [SGD, OpenSGD])
@pytest.mark.parametrize("name", GOLDEN)
def test_agrees_with_recorded_truth(name: str, optimizer: type[SGD], golden_dir: Path) -> None:
    case = golden_case(name, golden_dir)
    check_golden(name, case, golden_learner(name, case, FAST, optimizer))


# --- against the plain engine ----------------------------------------------------------------------------------------


def pair(
    network: dict[str, Any],
    learner: dict[str, Any],
    *,
    shape: tuple[int, int, int] = (2, 7, 6),
    dtype: torch.dtype = torch.float64,
    engine: EngineConfig = FAST,
    seed: int = 0,
) -> tuple[OnlineLearner, OnlineLearner]:
    config = LearnerConfig(**learner)

    def build(engine: EngineConfig) -> OnlineLearner:
        net = build_network(NetworkConfig(**network), input_shape=shape, classes=3, seed=seed, dtype=dtype)
        return build_learner(net, build_optimizer(config), config, engine=engine)

    return build(EngineConfig(engine="plain")), build(engine)


def assert_same_weights(plain: OnlineLearner, fast: OnlineLearner, tolerance: float) -> None:
    standardized = any(name.endswith("gain") for name in plain.network.parameters)
    for name, value in plain.network.parameters.items():
        expected = centred(name, value) if standardized else value
        torch.testing.assert_close(fast.network.parameters[name], expected, rtol=0, atol=tolerance)


NETWORKS = st.fixed_dictionaries(
    {
        "layers": st.sampled_from([(4, 5), (3, "AP2", 4), ("AP2", 4, 4), (4, "3C1", "AP3"), ("3C5", "AP2", "AP2", 4)]),
        "weight_standardization": st.booleans(),
        "readout": st.sampled_from(["gap", "flatten"]),
        "surrogate": st.sampled_from(["sigmoid", "rectangular"]),
        "input_trace": st.booleans(),
        "decay": st.sampled_from([0.0, 0.5, 0.9]),
    }
)
LEARNERS = st.fixed_dictionaries(
    {
        "rule": st.sampled_from(["ottt_o", "ottt_o", "ottt_a"]),
        "error_delay": st.sampled_from([0, 0, 1, 2, 3]),
        "delay_mode": st.sampled_from(["paper", "snapshot"]),
        "history": st.sampled_from([0, 2, 4]),
        "momentum": st.sampled_from([0.9, 0.0]),
        "weight_decay": st.sampled_from([0.0, 0.01]),
        "time_steps": st.just(4),
        "lr": st.just(0.1),
    }
)
# What happens after a timestep: (how many steps back its label is, or None), a reset before, learn=False, a detour.
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 1, 2, 5, None]),
        st.integers(0, 9).map(lambda n: n == 0),
        st.integers(0, 9).map(lambda n: n == 0),
        st.integers(0, 9).map(lambda n: n == 0),
    ),
    min_size=20,
    max_size=30,
)


def drive(learner: OnlineLearner, steps: list[tuple[int | None, bool, bool, bool]], seed: int) -> list[Tensor]:
    """A stream with late and missing labels, resets, watched-only steps and remembered stretches between."""
    generator = torch.Generator().manual_seed(seed)
    plane = learner.network.input_shape

    def frame() -> Tensor:
        return torch.poisson(torch.full((1, *plane), 0.7), generator=generator).to(learner._dtype)

    logits = []
    for t, (back, fresh, watch, detour) in enumerate(steps):
        if fresh:
            learner.reset()
        logits.append(learner.forward(frame(), t, learn=not watch))
        if back is not None and t >= back:
            learner.learn(t - back, torch.tensor([t % 3]))
        if detour:
            with learner.set_aside():
                for i in range(3):
                    logits.append(learner.forward(frame(), i))
                    learner.learn(i, torch.tensor([i % 3]))
    learner.reset()
    return logits


@settings(max_examples=40, deadline=None)
@given(network=NETWORKS, rule=LEARNERS, steps=STEPS, seed=st.integers(0, 99))
def test_agrees_with_the_plain_engine(
    network: dict[str, Any], rule: dict[str, Any], steps: list[Any], seed: int
) -> None:
    plain, fast = pair(network, rule, seed=seed)
    ours, theirs = drive(fast, steps, seed), drive(plain, steps, seed)
    torch.testing.assert_close(torch.cat(ours), torch.cat(theirs), rtol=0, atol=1e-10)
    assert fast.counts == plain.counts
    assert_same_weights(plain, fast, 1e-10)
