"""The average of the weights over the latest updates, which predicts while the weights themselves learn."""

from __future__ import annotations

from torch import Tensor

from stream_ottt.network.network import Network
from stream_ottt.network.network_state import NetworkState

EVERY = 25
"""Updates between two of the average's own."""


class Average:
    """An exponential moving average of a network's weights, in a second network of the same shape.

        W̄ ← (1 - b) W̄ + b W    every 25 updates, after n in all, with b = min(1, max(25/n, 25/horizon))

    A single update follows one timestep of one thing; the average changes with all of the latest ones. Until n reaches
    the horizon it is the plain mean of what was.

    Args:
        network: as the other one was when it was built; it only predicts.
        horizon: updates after which an old weight counts 1/e.
    """

    def __init__(self, network: Network, horizon: int) -> None:
        self.network = network
        self.horizon = horizon

    def follow(self, learning: Network, updates: int) -> None:
        """Called after each update of the other network, with their number so far."""
        if updates % EVERY:
            return
        share = min(1.0, max(EVERY / updates, EVERY / self.horizon))
        weights = learning.parameters
        for name, mean in self.network.parameters.items():
            mean.lerp_(weights[name], share)
        self.network.weights_changed(centred=learning.centred)

    def take(self, weights: dict[str, Tensor], *, centred: bool) -> None:
        """Begin with these weights, by full name."""
        for name, mean in self.network.parameters.items():
            mean.copy_(weights[name])
        self.network.weights_changed(centred=centred)

    def predict(self, frames: Tensor, state: NetworkState) -> Tensor:
        """Logits [batch, classes] of one timestep [batch, polarities, height, width]; ``state`` is advanced."""
        self.network.state = state
        logits, _ = self.network.forward(frames, learn=False)
        return logits
