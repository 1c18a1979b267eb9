"""A network written out for autograd: the same parameters and the same forward pass as the online learner's.

This is what the methods that differentiate through a graph use, and an independent check of the hand-written backward
pass. The reset is detached, as in the paper's BPTT: u[t] = λ (u[t-1] - V_th detach(s[t-1])) + I[t].
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from stream_ottt.network.layers import AvgPool, Layer, ReadOut
from stream_ottt.network.network import Network
from stream_ottt.network.neurons import NeuronModel, surrogate_derivative
from stream_ottt.network.nf_resnet import ALPHA, NFBlock, StemConv, StemPool
from stream_ottt.network.spiking_conv import FeedbackConv, SpikingConv
from stream_ottt.network.weights import SWS_EPSILON


class Probe(Protocol):
    """Watches a network at work."""

    def neurons(self, name: str, u: Tensor, s: Tensor) -> None:
        """Spikes s (0 or 1) of one population at one timestep, and its membrane u; [batch, channels, height, width]."""

    def synapses(self, name: str, x: Tensor, weight: Tensor, *, stride: int) -> None:
        """What one weighted connection was given at one timestep, and its effective weight."""


class Spike(torch.autograd.Function):
    """s = 1 if u ≥ V_th, with the surrogate derivative f(u) backward."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, neuron: NeuronModel) -> Tensor:
        ctx.save_for_backward(u)
        ctx.neuron = neuron
        return torch.ge(u, neuron.threshold).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        n: NeuronModel = ctx.neuron
        return grads[0] * surrogate_derivative(u, kind=n.surrogate, threshold=n.threshold, slope=n.slope), None


def standardize(weight: Tensor, gain: Tensor) -> Tensor:
    """sWS: Ŵ = gain · (W - mean) / sqrt(var · N + ε), differentiable; shapes as in :class:`ScaledStandardization`."""
    rows = weight.flatten(1)
    centred = rows - rows.mean(1, keepdim=True)
    scale = (rows.var(1, keepdim=True) * rows.shape[1] + SWS_EPSILON).rsqrt()
    return (centred * scale).view_as(weight) * gain


class Unroll:
    """Runs a network timestep by timestep on a graph, from a state at rest.

    Args:
        network: the network, of which only the structure and the parameters are used; its own state is left alone.
        parameters: the tensors to compute with, by full name; None for the network's own.
        train: whether neuron dropout is applied, one mask for the whole run.
        probe: sees spikes and synapses.
    """

    def __init__(
        self,
        network: Network,
        parameters: Mapping[str, Tensor] | None = None,
        *,
        train: bool = False,
        probe: Probe | None = None,
    ) -> None:
        self.network = network
        self.parameters = network.parameters if parameters is None else parameters
        self.train = train
        self.probe = probe
        self._effective: dict[str, Tensor] = {}
        self._membranes: dict[str, tuple[Tensor, Tensor]] = {}
        self._masks: dict[str, Tensor] = {}
        self._carried: dict[int, Tensor] = {}  # output of each layer at the step before, for feedback

    def step(self, frame: Tensor) -> Tensor:
        """Advance by one timestep: frame [batch, polarities, height, width] to logits [batch, classes]."""
        x = frame * self.network.input_scale if self.network.input_scale != 1 else frame
        carried: dict[int, Tensor] = {}
        for name, layer in zip(self.network.names, self.network.layers, strict=True):
            x = advance(layer, self, name, x)
            carried[id(layer)] = x
        self._carried = carried
        return x

    def detach(self) -> None:
        """Cut the graph here: gradients do not pass to earlier timesteps, and parameters may change."""
        self._membranes = {k: (u.detach(), s.detach()) for k, (u, s) in self._membranes.items()}
        self._carried = {k: v.detach() for k, v in self._carried.items()}
        self._effective = {}

    # --- for the layers --------------------------------------------------------------------------------------------

    def parameter(self, name: str) -> Tensor:
        """A parameter by full name."""
        return self.parameters[name]

    def weight(self, name: str) -> Tensor:
        """The effective weight of the connection ``name``: standardized when it has a gain."""
        if name not in self._effective:
            raw = self.parameters[f"{name}weight"]
            gain = self.parameters.get(f"{name}gain")
            self._effective[name] = raw if gain is None else standardize(raw, gain)
        return self._effective[name]

    def conv(self, name: str, x: Tensor, *, stride: int = 1) -> Tensor:
        """The convolution whose parameters are ``<name>weight``, ``<name>bias``; padded by half its kernel."""
        weight = self.weight(name)
        if self.probe is not None:
            self.probe.synapses(name.rstrip("._"), x, weight, stride=stride)
        return F.conv2d(x, weight, self.parameters[f"{name}bias"], stride=stride, padding=weight.shape[-1] // 2)

    def fire(
        self, name: str, current: Tensor, neuron: NeuronModel, scale: float, generator: torch.Generator | None
    ) -> Tensor:
        """Neurons driven by ``current``: their spikes, dropped out and scaled as the layer above sees them."""
        u = current
        if name in self._membranes:
            before, spikes = self._membranes[name]
            u = torch.add(current, before - neuron.threshold * spikes.detach(), alpha=neuron.decay)
        s: Tensor = Spike.apply(u, neuron)  # type: ignore[no-untyped-call]
        self._membranes[name] = (u, s)
        if self.probe is not None:
            self.probe.neurons(name.rstrip("._"), u, s)
        if not self.train or neuron.dropout == 0 or generator is None:
            return s if scale == 1 else s * scale
        if name not in self._masks:
            keep = 1 - neuron.dropout
            drawn = torch.rand(u.shape, dtype=u.dtype, generator=generator) < keep
            self._masks[name] = drawn.to(u.dtype).mul_(scale / keep).to(u.device)
        return s * self._masks[name]

    def carried(self, layer: Layer) -> Tensor | None:
        """What ``layer`` gave at the timestep before; None at the first."""
        return self._carried.get(id(layer))


@singledispatch
def advance(layer: Layer, unroll: Unroll, name: str, x: Tensor) -> Tensor:
    """One layer's forward pass at one timestep. A new kind of layer registers its own."""
    raise NotImplementedError(f"no graph form of {type(layer).__name__}")


@advance.register
def _(layer: SpikingConv, unroll: Unroll, name: str, x: Tensor) -> Tensor:
    current = unroll.conv(f"{name}.", x)
    if layer.feedback is not None:
        feedback = _feedback(layer.feedback, unroll, f"{name}.feedback.")
        current = current if feedback is None else current + feedback
    return unroll.fire(f"{name}.", current, layer.neuron, layer.scale, layer.generator)


def _feedback(feedback: FeedbackConv, unroll: Unroll, name: str) -> Tensor | None:
    before = unroll.carried(feedback.top)
    return None if before is None else unroll.conv(name, F.interpolate(before, size=feedback.size, mode="nearest"))


@advance.register
def _(layer: AvgPool, unroll: Unroll, name: str, x: Tensor) -> Tensor:
    return F.avg_pool2d(x, layer.size)


@advance.register
def _(layer: ReadOut, unroll: Unroll, name: str, x: Tensor) -> Tensor:
    features = x.mean((2, 3)) if layer.pool else x.flatten(1)
    return F.linear(features, unroll.parameter(f"{name}.weight"), unroll.parameter(f"{name}.bias"))


@advance.register
def _(layer: StemConv, unroll: Unroll, name: str, x: Tensor) -> Tensor:
    return unroll.conv(f"{name}.", x, stride=layer.stride)


@advance.register
def _(layer: StemPool, unroll: Unroll, name: str, x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=2, padding=1)


@advance.register
def _(layer: NFBlock, unroll: Unroll, name: str, x: Tensor) -> Tensor:
    spikes = unroll.fire(f"{name}.first_", x / layer.beta, layer.neuron, layer.scale, layer.generator)
    shortcut = unroll.conv(f"{name}.shortcut_", spikes, stride=layer.stride) if layer.downsamples else x
    inner = unroll.conv(f"{name}.first_", spikes, stride=layer.stride)
    spikes = unroll.fire(f"{name}.second_", inner, layer.neuron, layer.scale, layer.generator)
    residual = unroll.conv(f"{name}.second_", spikes)
    return shortcut + residual * (unroll.parameter(f"{name}.skip_gain") * ALPHA)
