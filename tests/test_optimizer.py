"""The optimizers against PyTorch's own, their schedule, their state."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from stream_ottt.errors import UsageError
from stream_ottt.network.config import OptimizerConfig
from stream_ottt.network.optimizer import Optimizer, build_optimizer

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPES = {"conv.weight": (3, 2, 3, 3), "conv.bias": (3,), "readout.weight": (2, 3)}
CONFIGS: list[dict[str, Any]] = [
    {"optimizer": "sgd", "lr": 0.1, "momentum": 0.0},
    {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9},
    {"optimizer": "sgd", "lr": 0.1, "momentum": 0.8, "weight_decay": 0.02},
    {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "schedule": "cosine", "schedule_steps": 12},
    {"optimizer": "adam", "lr": 0.01},
    {"optimizer": "adam", "lr": 0.01, "betas": (0.8, 0.99), "weight_decay": 0.02},
    {"optimizer": "adam", "lr": 0.01, "schedule": "cosine", "schedule_steps": 12},
]


def fresh() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {k: torch.randn(s, generator=generator, dtype=torch.float64) for k, s in SHAPES.items()}


def drawn(step: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(100 + step)
    return {k: torch.randn(s, generator=generator, dtype=torch.float64) for k, s in SHAPES.items()}


def advance(optimizer: Optimizer, parameters: dict[str, Tensor], steps: range) -> None:
    for step in steps:
        optimizer.begin()
        for name, gradient in drawn(step).items():
            optimizer.update(name, parameters[name], gradient)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_agrees_with_torch(config: dict[str, Any]) -> None:
    c = OptimizerConfig(**config)
    ours, theirs = fresh(), fresh()
    kwargs: dict[str, Any] = {"lr": c.lr, "weight_decay": c.weight_decay}
    reference: torch.optim.Optimizer
    if c.optimizer == "sgd":
        reference = torch.optim.SGD(list(theirs.values()), momentum=c.momentum, **kwargs)
    else:
        reference = torch.optim.Adam(list(theirs.values()), betas=c.betas, **kwargs)
    optimizer = build_optimizer(c)
    for step in range(20):
        advance(optimizer, ours, range(step, step + 1))
        if c.schedule == "cosine":
            rate = c.lr * (1 + math.cos(math.pi * min(step, c.schedule_steps) / c.schedule_steps)) / 2
            reference.param_groups[0]["lr"] = rate
        for parameter, gradient in zip(theirs.values(), drawn(step).values(), strict=True):
            parameter.grad = gradient
        reference.step()
        for name in SHAPES:
            torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-12)


def test_cosine_falls_to_zero_and_stays() -> None:
    optimizer = build_optimizer(OptimizerConfig(lr=0.4, schedule="cosine", schedule_steps=4))
    rates = []
    for _ in range(7):
        optimizer.begin()
        rates.append(optimizer.lr)
    expected = [0.4, 0.2 + 0.2 * math.sqrt(0.5), 0.2, 0.2 - 0.2 * math.sqrt(0.5), 0, 0, 0]
    assert rates == pytest.approx(expected, abs=1e-15)


def test_a_constant_rate_stays() -> None:
    optimizer = build_optimizer(OptimizerConfig(lr=0.3))
    advance(optimizer, fresh(), range(5))
    assert optimizer.lr == 0.3 and optimizer.steps == 5


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_goes_on_from_its_state_as_if_it_had_not_stopped(config: dict[str, Any]) -> None:
    first, parameters = build_optimizer(OptimizerConfig(**config)), fresh()
    advance(first, parameters, range(7))
    second, copies = build_optimizer(OptimizerConfig(**config)), {k: v.clone() for k, v in parameters.items()}
    second.set_state(first.state(), first.steps)
    # Both go on: the one must not run on the other's buffers.
    for step in range(7, 15):
        advance(first, parameters, range(step, step + 1))
        advance(second, copies, range(step, step + 1))
    for name in SHAPES:
        assert torch.equal(parameters[name], copies[name])
    assert first.lr == second.lr and first.steps == second.steps == 15
    assert first.state().keys() == second.state().keys()


def test_the_state_of_another_optimizer_is_not_taken() -> None:
    adam, sgd = (build_optimizer(OptimizerConfig(optimizer=name)) for name in ("adam", "sgd"))
    advance(adam, fresh(), range(2))
    sgd.set_state(adam.state(), adam.steps)
    assert sgd.state() == {}


def test_a_wrong_setting_is_named() -> None:
    with pytest.raises(UsageError, match=r"unknown key 'learner\.momentun'; did you mean 'momentum'\?"):
        OptimizerConfig.load({"momentun": 0.9}, where="learner")
    with pytest.raises(UsageError, match=r"key 'learner\.lr'"):
        OptimizerConfig.load({"lr": -1}, where="learner")


@pytest.mark.parametrize(
    "wrong",
    [
        {"lr": math.inf},
        {"lr": math.nan},
        {"weight_decay": math.inf},
        {"betas": [1.5, 2]},
        {"betas": [0.9, 1.0]},
        {"betas": [-0.1, 0.9]},
    ],
    ids=str,
)
def test_numbers_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        OptimizerConfig.load(wrong)


def test_a_cosine_needs_its_length() -> None:
    config = OptimizerConfig(schedule="cosine")  # the replay fills it in
    with pytest.raises(UsageError, match=r"'cosine' needs learner\.schedule_steps"):
        build_optimizer(config)


@pytest.mark.parametrize("schedule", [{}, {"schedule": "cosine", "schedule_steps": 12}])
def test_a_scale_is_on_all_rates_from_then_on(schedule: dict[str, Any]) -> None:
    plain, scaled = (build_optimizer(OptimizerConfig(lr=0.1, **schedule)) for _ in range(2))
    scaled.set_scale(0.5)
    assert scaled.lr == 0.05
    for _ in range(5):
        plain.begin()
        scaled.begin()
        assert scaled.lr == pytest.approx(0.5 * plain.lr)
