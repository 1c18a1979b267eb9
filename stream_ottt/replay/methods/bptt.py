"""Backpropagation through time with surrogate gradients, by autograd over the same network."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from stream_ottt.replay.methods.base import Method, loss
from stream_ottt.replay.unroll import Unroll


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
        self.apply(gradients)
        return logits

    def gradients(self, frames: Iterable[Tensor], targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits [T, batch, classes] and the gradient by parameter name."""
        leaves, unroll = self.begin()
        sums: dict[str, Tensor] = {}
        logits: list[Tensor] = []
        pending: list[Tensor] = []
        for frame in frames:
            out = unroll.step(frame)
            logits.append(out.detach())
            pending.append(loss(out, targets, alpha=self.config.alpha, time_steps=self.config.time_steps))
            if len(pending) == self.window:
                self._backward(pending, leaves, sums)
                unroll.detach()
        self._backward(pending, leaves, sums)
        return torch.stack(logits), sums

    def begin(self) -> tuple[dict[str, Tensor], Unroll]:
        """The parameters as leaves of a graph, sharing the network's memory, and a fresh pass over them."""
        parameters = {k: v.detach() for k, v in self.network.parameters.items()}
        names = set(self.trainable(parameters))
        leaves = {k: v.requires_grad_() for k, v in parameters.items() if k in names}
        return leaves, Unroll(self.network, parameters, train=True)

    @staticmethod
    def _backward(pending: list[Tensor], leaves: dict[str, Tensor], sums: dict[str, Tensor]) -> None:
        if not pending:
            return
        total = torch.stack(pending).sum()
        found = torch.autograd.grad(total, list(leaves.values()), materialize_grads=True)
        for name, gradient in zip(leaves, found, strict=True):
            sums[name] = sums[name] + gradient if name in sums else gradient
        pending.clear()

    def apply(self, gradients: dict[str, Tensor]) -> None:
        """One optimizer step."""
        parameters = self.network.parameters
        self.optimizer.begin()
        for name, gradient in gradients.items():
            self.optimizer.update(name, parameters[name], gradient)
        self.network.weights_changed()
