"""Classifiers on frozen random features, whose read-out has a closed form. Base of NCM and SLDA."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor

from stream_ottt.learning.config import LearnerConfig
from stream_ottt.network.network import Network
from stream_ottt.network.optimizer import Optimizer
from stream_ottt.replay.config import MethodConfig
from stream_ottt.replay.methods.base import Method
from stream_ottt.state import State, take

UNSEEN = -1e9
"""Logit of a class of which no sample was seen."""


class OnFeatures(Method):
    """What is known of each class is kept up to date, and the read-out's weights follow from it after each batch.

    The features z of a sample are the read-out's inputs, averaged over its timesteps. Layers below stay as drawn.

    Attributes:
        counts: samples per class, float64 [classes].
        means: mean features per class, float64 [classes, features].
    """

    alone = True

    def __init__(
        self, network: Network, optimizer: Optimizer, config: LearnerConfig, options: MethodConfig, *, batch_size: int
    ) -> None:
        super().__init__(network, optimizer, config, options, batch_size=batch_size)
        self._readout = list(network.connections.values())[-1]
        weight = self._readout.parameters["weight"]
        self.counts = torch.zeros(len(weight), dtype=torch.float64, device=weight.device)
        self.means = torch.zeros_like(weight, dtype=torch.float64)

    def learn(self, frames: Iterable[Tensor], targets: Tensor) -> Tensor:
        seen: list[Tensor] = []
        self._readout.watch = lambda z, weight: seen.append(z)
        try:
            logits = self.predict(frames)
        finally:
            self._readout.watch = None
        for z, label in zip(torch.stack(seen).double().mean(0), targets.tolist(), strict=True):
            self.see(z, label)
        self.optimizer.begin()
        weight, bias = self.solve()
        unseen = self.counts == 0
        self._readout.parameters["weight"].copy_(weight.masked_fill(unseen[:, None], 0))
        self._readout.parameters["bias"].copy_(bias.masked_fill(unseen, UNSEEN))
        self.network.weights_changed()
        return logits

    def see(self, z: Tensor, label: int) -> None:
        """Take one sample's features [features], float64, into what is known of its class."""
        self.counts[label] += 1
        self.means[label] += (z - self.means[label]) / self.counts[label]

    @abstractmethod
    def solve(self) -> tuple[Tensor, Tensor]:
        """Weight [classes, features] and bias [classes] of the read-out."""

    def state_dict(self) -> State:
        return super().state_dict() | {"counts": self.counts, "means": self.means}

    def load_state_dict(self, state: State) -> None:
        super().load_state_dict(state)
        self.counts.copy_(take(state, "counts"))
        self.means.copy_(take(state, "means"))
