"""The leaky integrate-and-fire neuron, its presynaptic trace, and the surrogate derivatives of its spike.

    u[t] = λ (u[t-1] - V_th s[t-1]) + I[t]        membrane potential, reset by subtraction
    s[t] = 1 if u[t] >= V_th else 0               spike
    â[t] = λ â[t-1] + s[t]                        tracked activity, the presynaptic factor of the synapses above

(Xiao et al., "Online Training Through Time for Spiking Neural Networks", NeurIPS 2022, Eq. 2 and Sec. 4.1.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

SurrogateName = Literal["sigmoid", "rectangular"]


@dataclass(frozen=True, slots=True)
class NeuronModel:
    """Constants shared by all neurons of a network.

    Attributes:
        decay: λ.
        threshold: V_th.
        surrogate: which surrogate derivative.
        slope: k of the sigmoid surrogate.
        dropout: share of neurons silenced, one mask per sample, while learning.
    """

    decay: float = 0.5
    threshold: float = 1.0
    surrogate: SurrogateName = "sigmoid"
    slope: float = 4.0
    dropout: float = 0.0


@dataclass(slots=True)
class NeuronState:
    """What one layer of neurons remembers between two timesteps; each tensor [batch, channels, height, width].

    Attributes:
        u: membrane potential before reset.
        s: spikes, 0 or 1.
        trace: â, tracked spikes; None while nothing is learned.
    """

    u: Tensor
    s: Tensor
    trace: Tensor | None


def lif_step(current: Tensor, state: NeuronState | None, *, decay: float, threshold: float, track: bool) -> NeuronState:
    """Advance leaky integrate-and-fire neurons by one timestep.

    Args:
        current: I[t], the input current, any shape.
        state: the state after the timestep before; None for rest (u, s, â all zero).
        decay: λ.
        threshold: V_th.
        track: whether to advance the trace.

    Returns:
        The new state; its tensors are fresh, so that older ones stay valid for late labels.
    """
    u = current
    if state is not None:
        u = torch.add(current, torch.sub(state.u, state.s, alpha=threshold), alpha=decay)
    s = torch.ge(u, threshold).to(u.dtype)
    trace = None
    if track:
        old = None if state is None else state.trace
        trace = s if old is None else torch.add(s, old, alpha=decay)
    return NeuronState(u, s, trace)


def surrogate_derivative(u: Tensor, *, kind: SurrogateName, threshold: float, slope: float) -> Tensor:
    """f(u) in place of the spike's derivative ∂s/∂u.

    Args:
        u: membrane potential.
        kind: ``"sigmoid"``: f = k σ(k (u - V_th)) (1 - σ(k (u - V_th))); ``"rectangular"``: f = 1[|u - V_th| < V_th].
        threshold: V_th.
        slope: k of the sigmoid (the paper's a₂ = 1/k).
    """
    if kind == "rectangular":
        return torch.lt((u - threshold).abs_(), threshold).to(u.dtype)
    sigma = torch.sub(u, threshold).mul_(slope).sigmoid_()
    return torch.addcmul(sigma, sigma, sigma, value=-1).mul_(slope)
