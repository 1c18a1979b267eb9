"""Theorem 1 of Xiao et al. (NeurIPS 2022): OTTT descends along the gradient of the spike representation.

For a static input the weighted firing rates a = Σ λ^(t-τ) s[τ] / Σ λ^(t-τ) settle, layer by layer, around

    a_l = clamp((W_l a_(l-1) + b_l) / V_th, 0, 1),

an ordinary network with gradients of its own, which "spike representation" methods follow. The theorem says that OTTT's
gradient has a positive inner product with that one in each layer, under these conditions, which the test provides:

- Inputs are convergent: the input is constant, and the gradients are averaged over many timesteps, all after the
  rates have settled. A single timestep holds whichever of the neurons are near their threshold just then.
- Both sides stand at the same rates and so see the same loss: the mapping's own rates are off by the rounding of
  spikes (of the order of 1 - λ), so autograd runs at the measured rates, and the squared error keeps the mean of the
  errors the error of the mean.
- The surrogate is positive where clamp's derivative is one and zero elsewhere: exactly so for the rectangular one as
  λ → 1 (u stays within (0, 2 V_th) as long as the rate is neither 0 nor 1), where the two directions become the same;
  nearly so for λ = 0.5 and for the sigmoid-like one. What differs between f and clamp's derivative is then a positive
  factor a neuron.
- A plain stack: without standardization the layer's currents are those of the mapping.
"""

from __future__ import annotations

from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.layers import AvgPool, SpikingConv
from stream_ottt.network.network import Network
from stream_ottt.network.optimizer import SGD
from stream_ottt.network.topologies import build_network

pytestmark = pytest.mark.usefixtures("one_thread")

MEASURE, THRESHOLD, CLASSES, BATCH = 80, 0.8, 4, 4


class Summed(SGD):
    """Keeps the gradients of the one optimizer step that it is given, and changes nothing."""

    def __init__(self, config: LearnerConfig) -> None:
        super().__init__(config)
        self.gradients: dict[str, Tensor] = {}

    def update(self, name: str, parameter: Tensor, gradient: Tensor) -> None:
        assert name not in self.gradients
        self.gradients[name] = gradient.clone()


def random_network(seed: int, decay: float, surrogate: Literal["sigmoid", "rectangular"], input_trace: bool) -> Network:
    config = NetworkConfig(
        layers=(12, "AP2", 12, 12),
        weight_standardization=False,
        decay=decay,
        threshold=THRESHOLD,
        surrogate=surrogate,
        input_trace=input_trace,
    )
    network = build_network(config, input_shape=(2, 6, 6), classes=CLASSES, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    for name, p in network.parameters.items():
        noise = torch.randn(p.shape, generator=generator, dtype=p.dtype)
        if name.endswith("bias"):
            p.copy_(0.1 + 0.1 * noise)
        else:
            p.copy_(noise * (1.0 if name.startswith("readout") else (2 / p[0].numel()) ** 0.5))
    return network


def directions(network: Network, decay: float, seed: int) -> tuple[dict[str, Tensor], dict[str, Tensor], float]:
    """(OTTT's gradient, the spike representation's, mean distance of measured rates from the mapping's)."""
    config = LearnerConfig(rule="ottt_a", time_steps=MEASURE, alpha=1.0, lr=0.0, momentum=0.0)
    optimizer = Summed(config)
    learner = OnlineLearner(network, optimizer, config)
    generator = torch.Generator().manual_seed(1000 + seed)
    x = torch.rand((BATCH, 2, 6, 6), generator=generator, dtype=torch.float64)
    targets = torch.randint(CLASSES, (BATCH,), generator=generator)
    spiking = [i for i, layer in enumerate(network.layers) if isinstance(layer, SpikingConv)]
    traces: list[Tensor] = [torch.zeros((), dtype=torch.float64)] * len(spiking)
    rates: list[Tensor] = [torch.zeros(())] * len(spiking)
    settle = round(6 / (1 - decay)) + 20
    for t in range(settle + MEASURE):
        learner.forward(x, t)
        spikes = [network.state.layers[i].neurons[0].s for i in spiking]
        traces = [decay * trace + s for trace, s in zip(traces, spikes, strict=True)]
        if t >= settle:
            learner.learn(t, targets)
            rates = [r + (1 - decay) * trace / MEASURE for r, trace in zip(rates, traces, strict=True)]
    assert learner.counts.updates == 1 and learner.counts.learned == MEASURE

    p = {name: value.clone().requires_grad_() for name, value in network.parameters.items()}
    a, off, measured = x, [], iter(rates)
    for name, layer in zip(network.names[:-1], network.layers[:-1], strict=True):
        if isinstance(layer, AvgPool):
            a = F.avg_pool2d(a, layer.size)
            continue
        a = (F.conv2d(a, p[f"{name}.weight"], p[f"{name}.bias"], padding=1) / THRESHOLD).clamp(0, 1)
        rate = next(measured)
        off.append(float((rate - a.detach()).abs().mean()))
        a = a + (rate - a).detach()
    logits = F.linear(a.mean((2, 3)), p["readout.weight"], p["readout.bias"])
    loss = F.mse_loss(logits, F.one_hot(targets, CLASSES).double())
    mapping = dict(zip(p, torch.autograd.grad(loss, list(p.values())), strict=True))
    return optimizer.gradients, mapping, max(off)


@pytest.mark.parametrize("surrogate", ["sigmoid", "rectangular"])
@pytest.mark.parametrize(("decay", "cosine", "distance"), [(0.5, 0.1, 0.25), (0.9, 0.85, 0.06), (0.97, 0.85, 0.02)])
def test_descends_along_the_spike_representation(
    decay: float, cosine: float, distance: float, surrogate: Literal["sigmoid", "rectangular"]
) -> None:
    for seed in range(3):
        ottt, mapping, off = directions(random_network(seed, decay, surrogate, seed % 2 == 0), decay, seed)
        assert off < distance, "the rates have not settled on the mapping"
        assert ottt.keys() == mapping.keys()
        for name, gradient in ottt.items():
            similarity = float(F.cosine_similarity(gradient.flatten(), mapping[name].flatten(), 0))
            assert mapping[name].abs().max() > 0 and similarity > cosine, f"{name}, seed {seed}: {similarity:.2f}"
