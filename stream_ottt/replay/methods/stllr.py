"""S-TLLR: eligibility from what follows and from what precedes a presynaptic spike, after STDP.

    e_ij[t] = Ψ(u_j[t]) Σ_{t'≤t} λ^(t-t') x_i[t']  +  α_pre x_i[t] Σ_{t'<t} λ_post^(t-1-t') Ψ(u_j[t'])
    ∇W_ij[t] = e_ij[t] δ_j[t],        ∇b_j[t] = Ψ(u_j[t]) δ_j[t]

The first term, causal, is OTTT's; the second, not causal, pairs a presynaptic spike with the postsynaptic activity
before it. Apolinario and Roy: "S-TLLR: STDP-inspired Temporal Local Learning Rule for Spiking Neural Networks", TMLR
2024, Eq. 10 and 11, as the authors' README writes them out in code; there α_post is 1, α_pre is -1 and λ_post is 0.2
for event data. Here Ψ is the network's surrogate derivative, λ that of its neurons, and δ is formed at every timestep
by backpropagation through the layers of that timestep; the paper has a narrower Ψ and learns from the last timesteps
only. The read-out has no neurons, so that it learns as in OTTT.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from stream_ottt.errors import UsageError
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.network.layers import AvgPool, ReadOut, SpikingConv
from stream_ottt.network.network import Network
from stream_ottt.network.optimizer import GradientSum, Optimizer
from stream_ottt.network.saved import Saved
from stream_ottt.replay.config import MethodConfig
from stream_ottt.replay.methods.online import Online


class Stllr(Online):
    """OTTT_O with S-TLLR's second term, for networks of convolutions and pooling without feedback.

    Raises:
        UsageError: a network with residual blocks or feedback.
    """

    name = "stllr"

    def __init__(
        self, network: Network, optimizer: Optimizer, config: LearnerConfig, options: MethodConfig, *, batch_size: int
    ) -> None:
        super().__init__(network, optimizer, config, options, batch_size=batch_size)
        self._layers = {i: layer for i, layer in enumerate(network.layers) if isinstance(layer, SpikingConv)}
        plain = all(isinstance(layer, (SpikingConv, AvgPool, ReadOut)) for layer in network.layers)
        if not plain or any(layer.feedback is not None for layer in self._layers.values()):
            raise UsageError("method 'stllr' is for network.topology 'layers' or 'vgg', without blocks and feedback")
        self._inputs: dict[int, Tensor] = {}
        self.rest()

    def rest(self) -> None:
        self._post: dict[int, Tensor] = {}

    def learn(self, frames: Any, targets: Tensor) -> Tensor:
        with self._watching():
            return super().learn(frames, targets)

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Within, each convolution's input of the latest timestep is kept."""

        def keep(i: int) -> Any:
            return lambda x, weight: self._inputs.__setitem__(i, x)

        for i, layer in self._layers.items():
            layer.connection.watch = keep(i)
        try:
            yield
        finally:
            for layer in self._layers.values():
                layer.connection.watch = None

    def gradients(self, error: Tensor, saved: Sequence[Saved]) -> dict[str, Tensor]:
        sums = GradientSum()
        self.network.backward(error, saved, sums)
        for i, layer in self._layers.items():
            post, f = self._post.get(i), saved[i].f
            if post is not None:
                sink = _Scaled(sums, self.options.alpha_pre)
                layer.connection.learn(saved[i].delta * post, self._inputs[i], sink, self.network.work)
            self._post[i] = f.clone() if post is None else torch.add(f, post, alpha=self.options.post_decay)
        return sums.sums


class _Scaled:
    """Adds weight gradients, times a factor, to a sum; biases have no presynaptic spike, so no second term."""

    updates = False

    def __init__(self, sums: GradientSum, factor: float) -> None:
        self.sums = sums
        self.factor = factor

    def update(self, name: str, parameter: Tensor, gradient: Tensor) -> None:
        if not name.endswith("bias"):
            self.sums.update(name, parameter, gradient * self.factor)
