"""OTTT_O on torch's network, open where other rules differ: in loss, traces, and how gradients are applied."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from stream_ottt.errors import UsageError
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.network.network import Network
from stream_ottt.network.optimizer import GradientSum, Optimizer
from stream_ottt.network.saved import Saved
from stream_ottt.replay.config import MethodConfig
from stream_ottt.replay.methods.base import Method, loss


class Online(Method):
    """One optimizer step at every timestep, by gradients that need no earlier timestep. Base of other rules.

    Raises:
        UsageError: ``learner.error_delay``, which is OTTT's.
    """

    every_step = True

    def __init__(
        self, network: Network, optimizer: Optimizer, config: LearnerConfig, options: MethodConfig, *, batch_size: int
    ) -> None:
        super().__init__(network, optimizer, config, options, batch_size=batch_size)
        if config.error_delay:
            raise UsageError(f"learner.error_delay is of ottt_o and ottt_a; method {self.name!r} has none: set it to 0")

    def learn(self, frames: Iterable[Tensor], targets: Tensor) -> Tensor:
        network = self.network
        network.reset()
        self.rest()
        logits: list[Tensor] = []
        for t, frame in enumerate(frames):
            out, saved = network.forward(frame, learn=True)
            logits.append(out)
            leaf = out.detach().requires_grad_()
            (error,) = torch.autograd.grad(self.loss(leaf, targets, t), leaf)
            self.update(self.gradients(error, saved))
        network.reset()
        return torch.stack(logits)

    def rest(self) -> None:
        """A new sample begins."""

    def loss(self, logits: Tensor, targets: Tensor, t: int) -> Tensor:
        """The loss of timestep t; logits [batch, classes]."""
        return loss(logits, targets, alpha=self.config.alpha, time_steps=self.config.time_steps)

    def gradients(self, error: Tensor, saved: Sequence[Saved]) -> dict[str, Tensor]:
        """The gradient by parameter name, of one timestep.

        Args:
            error: ∂L/∂logits [batch, classes].
            saved: of each layer, at this timestep.
        """
        sums = GradientSum()
        self.network.backward(error, saved, sums)
        return sums.sums
