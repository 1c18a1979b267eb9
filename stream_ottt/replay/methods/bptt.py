"""Backpropagation through time with surrogate gradients, by autograd over the same network."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from stream_ottt.network.optimizer import GradientSum
from stream_ottt.replay.methods.base import Method, loss


class Bptt(Method):
    """The exact gradient of the mean loss over T timesteps, but for the detached reset; one optimizer step a batch.

    With ``method.truncation`` = k the graph is cut after every k timesteps; the gradients still add up.
    """

    name = "bptt"

    @property
    def window(self) -> int | None:
        """How many timesteps gradients reach back over; None for all."""
        return self.options.truncation

    def trainable(self, parameters: dict[str, Tensor]) -> list[str]:
        """The parameters that are learned."""
        return list(parameters)

    def learn(self, frames: Iterable[Tensor], targets: Tensor) -> Tensor:
        logits, gradients = self.gradients(frames, targets)
        self.update(gradients)
        return logits

    def gradients(self, frames: Iterable[Tensor], targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits [T, batch, classes] and the gradient by parameter name."""
        sums = GradientSum()
        logits: list[Tensor] = []
        pending: list[Tensor] = []
        network = self.network
        network.reset()
        with network.differentiable(self.trainable(network.parameters)) as leaves:
            for frame in frames:
                out, _ = network.forward(frame, learn=False)
                logits.append(out.detach())
                pending.append(loss(out, targets, alpha=self.config.alpha, time_steps=self.config.time_steps))
                if len(pending) == self.window:
                    self._backward(pending, leaves, sums)
                    network.detach()
            self._backward(pending, leaves, sums)
        return torch.stack(logits), sums.sums

    @staticmethod
    def _backward(pending: list[Tensor], leaves: dict[str, Tensor], sums: GradientSum) -> None:
        if not pending:
            return
        total = torch.stack(pending).sum()
        found = torch.autograd.grad(total, list(leaves.values()), materialize_grads=True)
        for (name, leaf), gradient in zip(leaves.items(), found, strict=True):
            sums.update(name, leaf, gradient)
        pending.clear()
