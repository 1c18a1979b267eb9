"""A baseline: random features as they were drawn, and only the read-out learns, at every timestep."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from stream_ottt.replay.methods.base import loss
from stream_ottt.replay.methods.bptt import Bptt


class Frozen(Bptt):
    """What a trained hidden layer has to beat."""

    name = "frozen"
    every_step = True

    def trainable(self, parameters: dict[str, Tensor]) -> list[str]:
        return [k for k in parameters if k.startswith(f"{self.network.names[-1]}.")]

    def learn(self, frames: Iterable[Tensor], targets: Tensor) -> Tensor:
        logits: list[Tensor] = []
        network = self.network
        network.reset()
        with network.differentiable(self.trainable(network.parameters)) as leaves:
            for frame in frames:
                out, _ = network.forward(frame, learn=False)
                logits.append(out.detach())
                value = loss(out, targets, alpha=self.config.alpha, time_steps=self.config.time_steps)
                found = torch.autograd.grad(value, list(leaves.values()))
                self.update(dict(zip(leaves, found, strict=True)))
                network.detach()
        return torch.stack(logits)
