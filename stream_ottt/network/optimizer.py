"""Optimizers that update one parameter at a time, in place, as the backward pass reaches it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from stream_ottt.errors import UsageError
from stream_ottt.network.config import OptimizerConfig
from stream_ottt.network.growth import with_zero_rows


class GradientSink(Protocol):
    """What takes a layer's gradients.

    Attributes:
        updates: whether the parameters have changed when :meth:`update` returns.
    """

    updates: bool

    def update(self, name: str, parameter: Tensor, gradient: Tensor) -> None:
        """Take the gradient of the parameter of this full name."""


class GradientSum:
    """Adds gradients up.

    Attributes:
        sums: the sum by full name.
    """

    updates = False

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}

    def update(self, name: str, parameter: Tensor, gradient: Tensor) -> None:
        self.sums[name] = self.sums[name] + gradient if name in self.sums else gradient


class Optimizer(ABC):
    """Base of the optimizers. One optimizer step is :meth:`begin`, then :meth:`update` once a parameter.

    Args:
        config: settings; ``schedule_steps`` must be positive with the cosine schedule.

    Attributes:
        config: the settings.
        steps: optimizer steps begun.
        lr: the learning rate of the current step.
        scale: factor on all learning rates.
        buffers: what is remembered of each parameter: kind → full name → tensor; another dictionary after
            :meth:`set_state`.
    """

    updates = True
    kinds: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: OptimizerConfig) -> None:
        if config.schedule == "cosine" and not config.schedule_steps:
            raise UsageError(
                "learner.schedule: 'cosine' needs learner.schedule_steps, the optimizer steps until the rate is 0; "
                "set it, or use schedule = 'constant'"
            )
        self.config = config
        self.steps = 0
        self.lr = config.lr
        self.scale = 1.0
        self.buffers: dict[str, dict[str, Tensor]] = {kind: {} for kind in self.kinds}

    def begin(self) -> None:
        """Start one optimizer step."""
        c = self.config
        if c.schedule == "cosine":
            done = min(self.steps / c.schedule_steps, 1.0)
            self.lr = self.scale * c.lr * 0.5 * (1 + math.cos(math.pi * done))
        self.steps += 1

    def set_scale(self, scale: float) -> None:
        """From now on the learning rates are those of the settings times ``scale``."""
        self.scale = scale
        self.lr = scale * self.config.lr

    @abstractmethod
    def update(self, name: str, parameter: Tensor, gradient: Tensor) -> None:
        """Update ``parameter`` in place. ``gradient`` may be overwritten."""

    def grow(self, parameters: dict[str, Tensor]) -> None:
        """Some of the parameters, by full name, have more rows than before: of these nothing is remembered."""
        for held in self.buffers.values():
            for name, value in parameters.items():
                if name in held and len(held[name]) < len(value):  # others may be in use by kernels, just as they are
                    held[name] = with_zero_rows(held[name], len(value))

    def state(self) -> dict[str, Tensor]:
        """Buffers by ``kind/name``, for a checkpoint."""
        return {f"{kind}/{name}": value for kind, held in self.buffers.items() for name, value in held.items()}

    def set_state(self, state: dict[str, Tensor], steps: int) -> None:
        """Put back the buffers (copied: they are updated in place) and the count of steps."""
        self.buffers = {kind: {} for kind in self.kinds}
        for key, value in state.items():
            kind, _, name = key.partition("/")
            if kind in self.buffers:
                self.buffers[kind][name] = value.clone()
        self.steps = steps


class SGD(Optimizer):
    """m ← μ m + ∇ + wd·W,  W ← W - lr·m (PyTorch's momentum without dampening)."""

    kinds = ("momentum",)

    def update(self, name: str, parameter: Tensor, gradient: Tensor) -> None:
        c = self.config
        if c.weight_decay:
            gradient = gradient.add(parameter, alpha=c.weight_decay)
        if c.momentum:
            buffer = self.buffers["momentum"].get(name)
            if buffer is None:
                buffer = self.buffers["momentum"][name] = gradient.clone()
            else:
                buffer.mul_(c.momentum).add_(gradient)
            gradient = buffer
        parameter.add_(gradient, alpha=-self.lr)


class Adam(Optimizer):
    """Adam (Kingma and Ba, ICLR 2015) with PyTorch's conventions; ε = 1e-8."""

    kinds = ("first", "second")
    EPSILON = 1e-8

    def update(self, name: str, parameter: Tensor, gradient: Tensor) -> None:
        c = self.config
        if c.weight_decay:
            gradient = gradient.add(parameter, alpha=c.weight_decay)
        for held in self.buffers.values():
            if name not in held:
                held[name] = torch.zeros_like(parameter)
        first, second = (held[name] for held in self.buffers.values())
        b1, b2 = c.betas
        first.lerp_(gradient, 1 - b1)
        second.mul_(b2).addcmul_(gradient, gradient, value=1 - b2)
        rate, scale = self.corrections()
        denominator = (second / scale).sqrt_().add_(self.EPSILON)
        parameter.addcdiv_(first, denominator, value=-rate)

    def corrections(self) -> tuple[float, float]:
        """(lr / (1 - β₁ᵗ), 1 - β₂ᵗ) of the current step."""
        b1, b2 = self.config.betas
        return self.lr / (1 - b1**self.steps), 1 - b2**self.steps


def build_optimizer(config: OptimizerConfig | None = None) -> Optimizer:
    """The optimizer that ``config`` names; None for the defaults."""
    config = config or OptimizerConfig()
    return {"sgd": SGD, "adam": Adam}[config.optimizer](config)
