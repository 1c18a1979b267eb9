"""Optimizers that update one parameter at a time, in place, as the backward sweep reaches it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from stream_ottt.network.config import OptimizerConfig


class Optimizer(ABC):
    """Base of the optimizers. One optimizer step is :meth:`begin`, then :meth:`update` once a parameter.

    Args:
        config: settings; ``schedule_steps`` must be positive with the cosine schedule.

    Attributes:
        config: the settings.
        steps: optimizer steps begun.
        lr: the learning rate of the current step.
    """

    def __init__(self, config: OptimizerConfig) -> None:
        self.config = config
        self.steps = 0
        self.lr = config.lr

    def begin(self) -> None:
        """Start one optimizer step."""
        c = self.config
        if c.schedule == "cosine":
            done = min(self.steps / max(c.schedule_steps, 1), 1.0)
            self.lr = c.lr * 0.5 * (1 + math.cos(math.pi * done))
        self.steps += 1

    @abstractmethod
    def update(self, name: str, parameter: Tensor, gradient: Tensor) -> None:
        """Update ``parameter`` in place. ``gradient`` may be overwritten."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Buffers by name, for a checkpoint."""

    @abstractmethod
    def set_state(self, state: dict[str, Tensor], steps: int) -> None:
        """Put back the buffers (copied) and the count of steps."""


class SGD(Optimizer):
    """m ← μ m + ∇ + wd·W,  W ← W - lr·m (PyTorch's momentum without dampening).

    Attributes:
        momentum: m of each parameter that was updated, by name; another dictionary after :meth:`set_state`.
    """

    def __init__(self, config: OptimizerConfig) -> None:
        super().__init__(config)
        self.momentum: dict[str, Tensor] = {}

    def update(self, name: str, parameter: Tensor, gradient: Tensor) -> None:
        c = self.config
        if c.weight_decay:
            gradient = gradient.add(parameter, alpha=c.weight_decay)
        if c.momentum:
            buffer = self.momentum.get(name)
            if buffer is None:
                buffer = self.momentum[name] = gradient.clone()
            else:
                buffer.mul_(c.momentum).add_(gradient)
            gradient = buffer
        parameter.add_(gradient, alpha=-self.lr)

    def state(self) -> dict[str, Tensor]:
        return {f"momentum/{k}": v for k, v in self.momentum.items()}

    def set_state(self, state: dict[str, Tensor], steps: int) -> None:
        self.momentum = _own(state, "momentum/")
        self.steps = steps


class Adam(Optimizer):
    """Adam (Kingma and Ba, ICLR 2015) with PyTorch's conventions; ε = 1e-8."""

    EPSILON = 1e-8

    def __init__(self, config: OptimizerConfig) -> None:
        super().__init__(config)
        self._first: dict[str, Tensor] = {}
        self._second: dict[str, Tensor] = {}

    def update(self, name: str, parameter: Tensor, gradient: Tensor) -> None:
        c = self.config
        if c.weight_decay:
            gradient = gradient.add(parameter, alpha=c.weight_decay)
        if name not in self._first:
            self._first[name], self._second[name] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        first, second = self._first[name], self._second[name]
        b1, b2 = c.betas
        first.lerp_(gradient, 1 - b1)
        second.mul_(b2).addcmul_(gradient, gradient, value=1 - b2)
        scale = 1 - b2**self.steps
        denominator = (second / scale).sqrt_().add_(self.EPSILON)
        parameter.addcdiv_(first, denominator, value=-self.lr / (1 - b1**self.steps))

    def state(self) -> dict[str, Tensor]:
        return {f"first/{k}": v for k, v in self._first.items()} | {f"second/{k}": v for k, v in self._second.items()}

    def set_state(self, state: dict[str, Tensor], steps: int) -> None:
        self._first, self._second = _own(state, "first/"), _own(state, "second/")
        self.steps = steps


def _own(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Copies of the buffers under ``prefix``: they are updated in place."""
    return {k.removeprefix(prefix): v.clone() for k, v in state.items() if k.startswith(prefix)}


def build_optimizer(config: OptimizerConfig | None = None) -> Optimizer:
    """The optimizer that ``config`` names; None for the defaults."""
    config = config or OptimizerConfig()
    return {"sgd": SGD, "adam": Adam}[config.optimizer](config)
