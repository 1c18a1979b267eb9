"""Continual backprop: channels that are of least use are drawn anew, a few at a time, so that learning stays fast.

    u_c ← η u_c + (1 - η) · rate_c · Σ |W_out|,    û_c = u_c / (1 - η^age_c)

Of the channels that are older than ``method.maturity`` samples, a share of ``method.renew`` is renewed after each
sample, those with the smallest û: weights into them are drawn as at the start, weights out of them are 0, so that what
the network says changes by no more than their loss. Dohare et al.: "Loss of plasticity in deep continual learning",
Nature 2024, Algorithm 1, η = 0.99; there a unit is a neuron of a dense layer, here a channel. Under scaled weight
standardization an outgoing weight of no effect is its row's mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from stream_ottt.errors import UsageError
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.network.connection import Connection
from stream_ottt.network.layers import AvgPool, ReadOut, SpikingConv
from stream_ottt.network.network import Network
from stream_ottt.network.optimizer import Optimizer
from stream_ottt.network.saved import Saved
from stream_ottt.replay.config import MethodConfig
from stream_ottt.replay.methods.online import Online
from stream_ottt.state import State, part, take, under

ETA = 0.99


class ContinualBackprop(Online):
    """OTTT_O that renews channels.

    Raises:
        UsageError: a network with residual blocks or feedback.
    """

    name = "cbp"
    alone = True

    def __init__(
        self, network: Network, optimizer: Optimizer, config: LearnerConfig, options: MethodConfig, *, batch_size: int
    ) -> None:
        super().__init__(network, optimizer, config, options, batch_size=batch_size)
        kinds = (SpikingConv, AvgPool, ReadOut)
        if not all(isinstance(k, kinds) and getattr(k, "feedback", None) is None for k in network.layers):
            raise UsageError("method 'cbp' is for network.topology 'layers' or 'vgg', without blocks and feedback")
        self._spiking = [i for i, layer in enumerate(network.layers) if isinstance(layer, SpikingConv)]
        parts = list(network.connections.values())
        self.channels = [Channels(into, out) for into, out in pairwise(parts)]

    def learn(self, frames: Iterable[Tensor], targets: Tensor) -> Tensor:
        self._rates = [torch.zeros(len(own.utility)) for own in self.channels]
        logits = super().learn(frames, targets)
        renewed = False
        for own, rate in zip(self.channels, self._rates, strict=True):
            own.follow(rate / len(logits))
            for channel in own.due(self.options.renew, self.options.maturity):
                own.renew(channel, self.rng, self.optimizer)
                renewed = True
        if renewed:
            self.network.weights_changed()
        return logits

    def gradients(self, error: Tensor, saved: Sequence[Saved]) -> dict[str, Tensor]:
        for rate, i in zip(self._rates, self._spiking, strict=True):
            rate += self.network.state.layers[i].neurons[0].s.mean((0, 2, 3)).cpu()
        return super().gradients(error, saved)

    def state_dict(self) -> State:
        own = {f"{i}": channels.state_dict() for i, channels in enumerate(self.channels)}
        return super().state_dict() | {key: value for i, state in own.items() for key, value in under(i, state).items()}

    def load_state_dict(self, state: State) -> None:
        super().load_state_dict(state)
        for i, channels in enumerate(self.channels):
            channels.load_state_dict(part(state, f"{i}"))


class Channels:
    """The channels of one layer, between the weights into them and those out of them.

    Args:
        into, out: the connections below and above, with the weights of the start.

    Attributes:
        utility: u, float [channels].
        age: samples since each was drawn, [channels].
    """

    def __init__(self, into: Connection, out: Connection) -> None:
        self.into, self.out = into, out
        weight = into.parameters["weight"]
        self.utility = torch.zeros(len(weight))
        self.age = torch.zeros(len(weight))
        self._owed = 0.0
        self._mean, self._deviation = float(weight.mean()), float(weight.std())

    def follow(self, rate: Tensor) -> None:
        """Take one sample's firing rates [channels] into the utilities."""
        weight = self._outgoing(self.out.parameters["weight"])
        size = weight.abs().sum((0, 2)).cpu().float()
        self.utility.mul_(ETA).add_(rate * size, alpha=1 - ETA)
        self.age += 1

    def due(self, share: float, maturity: int) -> list[int]:
        """The channels to renew now; what is less than a whole one is owed."""
        mature = (self.age > maturity).nonzero().flatten()
        self._owed += share * len(mature)
        n = min(int(self._owed), len(mature))
        self._owed -= n
        useful = self.utility[mature] / (1 - ETA ** self.age[mature])
        return [int(c) for c in mature[useful.argsort()[:n]]]

    def renew(self, channel: int, rng: np.random.Generator, optimizer: Optimizer) -> None:
        """Draw a channel anew, and forget what the optimizer knew of its weights."""
        weight = self.into.parameters["weight"]
        drawn = rng.normal(self._mean, self._deviation, tuple(weight[channel].shape))
        weight[channel] = torch.from_numpy(drawn).to(weight)
        self.into.parameters["bias"][channel] = 0
        if "gain" in self.into.parameters:
            self.into.parameters["gain"][channel] = 1
        above = self._outgoing(self.out.parameters["weight"])
        above[:, channel] = 0
        if self.out.standard is not None:
            others = above.shape[1] * above.shape[2] - above.shape[2]
            above[:, channel] = (above.sum((1, 2)) / others)[:, None]
        for held in optimizer.buffers.values():
            for key in self.into.parameters:
                if f"{self.into.name}{key}" in held:
                    held[f"{self.into.name}{key}"][channel] = 0
            if f"{self.out.name}weight" in held:
                self._outgoing(held[f"{self.out.name}weight"])[:, channel] = 0
        self.utility[channel] = self.age[channel] = 0

    def _outgoing(self, weight: Tensor) -> Tensor:
        """A view [outputs, channels, weights between the two] of the weights above."""
        return weight.view(len(weight), len(self.utility), -1)

    def state_dict(self) -> State:
        """All that is known of the channels."""
        first = [self._mean, self._deviation]
        return {"utility": self.utility, "age": self.age, "owed": self._owed, "first": first}

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.utility.copy_(take(state, "utility"))
        self.age.copy_(take(state, "age"))
        self._owed = take(state, "owed")
        self._mean, self._deviation = take(state, "first")
