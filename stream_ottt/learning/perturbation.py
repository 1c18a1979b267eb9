"""Shrink and perturb: weights go back to chance a little at all times, so that what is new is learned as fast later on.

    W ← (1 - a) W + σ √(1 - (1 - a)²) ε    every 25 updates, with a = 1 - (1 - perturb)²⁵ and ε normal

σ is the standard deviation of a connection's weights as they were drawn, so that weights that learn nothing stay as
they were drawn. Gains go towards 1, biases towards 0, without noise. (Ash and Adams: "On warm-starting neural network
training", NeurIPS 2020, where it is done once, before new data.)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stream_ottt.network.network import Network

EVERY = 25
"""Updates between two times."""


class Perturbation:
    """Shrinks and perturbs a network's weights as it learns.

    Args:
        network: with the weights as they were drawn.
        share: of a weight that is lost at each update.
    """

    def __init__(self, network: Network, share: float) -> None:
        self.share = 1 - (1 - share) ** EVERY
        self._deviations = {
            name: float(value.double().std(correction=0))
            for name, value in network.parameters.items()
            if name.endswith("weight")
        }

    def follow(self, network: Network, updates: int) -> None:
        """Called after each update, with their number so far, which is the seed of what is drawn."""
        if updates % EVERY:
            return
        generator = torch.Generator().manual_seed(updates)
        kept = 1 - self.share
        parameters = network.parameters
        for name, value in parameters.items():
            value.mul_(kept)
            if name in self._deviations:
                noise = self._noise(value, generator, standardized=name.replace("weight", "gain") in parameters)
                value.add_(noise, alpha=self._deviations[name] * math.sqrt(1 - kept**2))
            elif name.endswith("gain"):
                value.add_(self.share)
        network.weights_changed(centred=network.centred)

    @staticmethod
    def _noise(weight: Tensor, generator: torch.Generator, *, standardized: bool) -> Tensor:
        """Normal numbers of a weight's shape; those of a standardized row have no mean, as it would act on nothing."""
        noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        if standardized:
            noise -= noise.mean(tuple(range(1, noise.dim())), keepdim=True)
        return noise.to(weight)
