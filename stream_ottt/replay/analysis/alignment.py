"""How OTTT's gradient stands to BPTT's and to that of the spike representation, layer by layer.

The spike representation (Meng et al., CVPR 2022; the paper's Sec. 3.2 and Theorem 1) takes a network's λ-weighted
firing rates

    a[T] = Σ_t λ^(T-t) s[t] / Σ_t λ^(T-t)        a_above ≈ clamp((W a + b) / V_th, 0, 1)

and differentiates through that map, at the rates that the spiking network really had.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.network.config import OptimizerConfig
from stream_ottt.network.layers import AvgPool, ReadOut
from stream_ottt.network.network import Network
from stream_ottt.network.neurons import NeuronModel
from stream_ottt.network.optimizer import Optimizer
from stream_ottt.network.spiking_conv import SpikingConv
from stream_ottt.replay.config import MethodConfig
from stream_ottt.replay.methods.base import loss
from stream_ottt.replay.methods.bptt import Bptt
from stream_ottt.replay.unroll import Unroll

Gradients = dict[str, Tensor]


class _Summing(Optimizer):
    """Adds gradients up and changes nothing."""

    def __init__(self) -> None:
        super().__init__(OptimizerConfig())
        self.sums: Gradients = {}

    def update(self, name: str, parameter: Tensor, gradient: Tensor) -> None:
        self.sums[name] = self.sums[name] + gradient if name in self.sums else gradient.clone()

    def state(self) -> dict[str, Tensor]:
        return {}

    def set_state(self, state: dict[str, Tensor], steps: int) -> None:
        self.steps = steps


def ottt_gradient(network: Network, frames: Tensor, targets: Tensor, config: LearnerConfig) -> Gradients:
    """OTTT's gradient summed over the T timesteps of one batch, weights held."""
    optimizer = _Summing()
    learner = OnlineLearner(network, optimizer, config.model_copy(update={"rule": "ottt_o", "error_delay": 0}))
    learner.reset()
    for t, frame in enumerate(frames):
        learner.forward(frame, t)
        learner.learn(t, targets)
    learner.reset()
    return optimizer.sums


def bptt_gradient(network: Network, frames: Tensor, targets: Tensor, config: LearnerConfig) -> Gradients:
    """BPTT's gradient of the same loss."""
    method = Bptt(network, _Summing(), config, MethodConfig(name="bptt"), batch_size=frames.shape[1])
    return method.gradients(frames, targets)[1]


class _Rates:
    """λ-weighted firing rates of every population, and λ-weighted input."""

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.sums: dict[str, Tensor] = {}

    def neurons(self, name: str, u: Tensor, s: Tensor) -> None:
        self.add(name, s)

    def synapses(self, name: str, x: Tensor, weight: Tensor, *, stride: int) -> None:
        """Not looked at."""

    def add(self, name: str, s: Tensor) -> None:
        old = self.sums.get(name)
        self.sums[name] = s if old is None else torch.add(s, old, alpha=self.decay)


class _RateUnroll(Unroll):
    """One pass over rates instead of spikes: clamped linear neurons whose values are the rates measured."""

    def __init__(self, network: Network, parameters: Mapping[str, Tensor], rates: dict[str, Tensor]) -> None:
        super().__init__(network, parameters)
        self.rates = rates

    def fire(
        self, name: str, current: Tensor, neuron: NeuronModel, scale: float, generator: torch.Generator | None
    ) -> Tensor:
        mapped = (current / neuron.threshold).clamp(0, 1)
        measured = self.rates[name.rstrip("._")]
        return (mapped + (measured - mapped).detach()) * scale


def representation_gradient(
    network: Network, frames: Tensor, targets: Tensor, config: LearnerConfig
) -> Gradients | None:
    """The spike representation's gradient of the loss on the weighted rates; None for networks that it does not
    describe (feedback, residual blocks)."""
    for layer in network.layers:
        known = isinstance(layer, (SpikingConv, AvgPool, ReadOut))
        if not known or (isinstance(layer, SpikingConv) and layer.feedback is not None):
            return None
    decay = network.decay
    rates = _Rates(decay)
    with torch.no_grad():
        unroll = Unroll(network, probe=rates)
        for frame in frames:
            unroll.step(frame)
            rates.add("input", frame)
    total = sum(decay**t for t in range(len(frames)))
    means = {name: value / total for name, value in rates.sums.items()}
    leaves = {k: v.detach().requires_grad_() for k, v in network.parameters.items()}
    logits = _RateUnroll(network, leaves, means).step(means["input"])
    value = loss(logits, targets, alpha=config.alpha, time_steps=1)
    return dict(zip(leaves, torch.autograd.grad(value, list(leaves.values())), strict=True))


def cosine(a: Tensor, b: Tensor) -> float | None:
    """Cosine of the angle between two gradients; None when one is zero."""
    a, b = a.flatten().double(), b.flatten().double()
    norms = float(a.norm() * b.norm())
    return float(a @ b) / norms if norms > 0 else None


def measure_alignment(network: Network, frames: Tensor, targets: Tensor, config: LearnerConfig) -> dict[str, Any]:
    """Cosines for one batch.

    Returns:
        For ``bptt`` and ``representation``: the cosine with OTTT's gradient per weight tensor, and of ``all`` of them
        as one.
    """
    ottt = ottt_gradient(network, frames, targets, config)
    others = {
        "bptt": bptt_gradient(network, frames, targets, config),
        "representation": representation_gradient(network, frames, targets, config),
    }
    names = [name for name in ottt if name.endswith("weight")]
    out: dict[str, Any] = {}
    for other, gradient in others.items():
        if gradient is not None:
            out[other] = {name: cosine(ottt[name], gradient[name]) for name in names}
            out[other]["all"] = cosine(
                torch.cat([ottt[n].flatten() for n in names]), torch.cat([gradient[n].flatten() for n in names])
            )
    return out
