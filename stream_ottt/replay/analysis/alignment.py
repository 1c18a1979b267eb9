"""How OTTT's gradient stands to BPTT's and to that of the spike representation, layer by layer.

The spike representation (Meng et al., CVPR 2022; the paper's Sec. 3.2 and Theorem 1) takes a network's λ-weighted
firing rates

    a[T] = Σ_t λ^(T-t) s[t] / Σ_t λ^(T-t)        a_above ≈ clamp((W a + b) / V_th, 0, 1)

and differentiates through that map, at the rates that the spiking network really had.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.network.config import OptimizerConfig
from stream_ottt.network.layers import AvgPool, ReadOut, SpikingConv
from stream_ottt.network.network import Network
from stream_ottt.network.neurons import Neurons, NeuronState
from stream_ottt.network.optimizer import GradientSum, Optimizer
from stream_ottt.network.saved import Saved
from stream_ottt.replay.config import MethodConfig
from stream_ottt.replay.methods.base import loss
from stream_ottt.replay.methods.bptt import Bptt

Gradients = dict[str, Tensor]


class _Summing(Optimizer):
    """Adds gradients up and changes nothing."""

    updates = False

    def __init__(self) -> None:
        super().__init__(OptimizerConfig())
        self.sum = GradientSum()

    def update(self, name: str, parameter: Tensor, gradient: Tensor) -> None:
        self.sum.update(name, parameter, gradient)


def ottt_gradient(network: Network, frames: Tensor, targets: Tensor, config: LearnerConfig) -> Gradients:
    """OTTT's gradient summed over the T timesteps of one batch, weights held."""
    optimizer = _Summing()
    learner = OnlineLearner(network, optimizer, config.model_copy(update={"rule": "ottt_o", "error_delay": 0}))
    learner.reset()
    for t, frame in enumerate(frames):
        learner.forward(frame, t)
        learner.learn(t, targets)
    learner.reset()
    return optimizer.sum.sums


def bptt_gradient(network: Network, frames: Tensor, targets: Tensor, config: LearnerConfig) -> Gradients:
    """BPTT's gradient of the same loss."""
    method = Bptt(network, _Summing(), config, MethodConfig(name="bptt"), batch_size=frames.shape[1])
    return method.gradients(frames, targets)[1]


class _Rates(Neurons):
    """Clamped linear neurons in the place of a population, whose values are its measured firing rates."""

    def __init__(self, like: Neurons, rates: Tensor) -> None:
        super().__init__(like.model, scale=like.scale, generator=like.generator)
        self.rates = rates

    def forward(self, current: Tensor, state: NeuronState, saved: Saved | None) -> Tensor:
        mapped = (current / self.model.threshold).clamp(0, 1)
        return (mapped + (self.rates - mapped).detach()) * self.scale


def representation_gradient(
    network: Network, frames: Tensor, targets: Tensor, config: LearnerConfig
) -> Gradients | None:
    """The spike representation's gradient of the loss on the weighted rates; None for networks that it does not
    describe (feedback, residual blocks)."""
    for layer in network.layers:
        known = isinstance(layer, (SpikingConv, AvgPool, ReadOut))
        if not known or (isinstance(layer, SpikingConv) and layer.feedback is not None):
            return None
    sums: dict[str, Tensor] = {}

    def add(name: str, value: Tensor) -> None:
        sums[name] = torch.add(value, sums[name], alpha=network.decay) if name in sums else value

    populations = network.populations
    for name, neurons in populations.items():
        neurons.watch = lambda u, s, name=name: add(name, s)
    network.reset()
    with torch.no_grad():
        for frame in frames:
            network.forward(frame, learn=False)
            add("input", frame)
    network.reset()
    total = sum(network.decay**t for t in range(len(frames)))
    means = {name: value / total for name, value in sums.items()}
    spiking = [layer for layer in network.layers if isinstance(layer, SpikingConv)]
    try:
        for layer, (name, neurons) in zip(spiking, populations.items(), strict=True):
            layer.neurons = _Rates(neurons, means[name])
        with network.differentiable(list(network.parameters)) as leaves:
            logits, _ = network.forward(means["input"], learn=False)
            value = loss(logits, targets, alpha=config.alpha, time_steps=1)
            return dict(zip(leaves, torch.autograd.grad(value, list(leaves.values())), strict=True))
    finally:
        for layer, neurons in zip(spiking, populations.values(), strict=True):
            layer.neurons = neurons
            neurons.watch = None


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
