"""The leaky integrate-and-fire neuron, and the surrogate derivatives of its spike.

    u[t] = λ (u[t-1] - V_th s[t-1]) + I[t]        membrane potential, reset by subtraction
    s[t] = 1 if u[t] >= V_th else 0               spike

(Xiao et al., "Online Training Through Time for Spiking Neural Networks", NeurIPS 2022, Eq. 2.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy.typing as npt
import torch
from torch import Tensor

from stream_ottt.network.saved import Saved

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


class NeuronState:
    """What a population remembers between two timesteps; each [batch, channels, height, width], None at rest.

    Attributes:
        u: membrane potential before reset.
        s: spikes, 0 or 1.
        mask: the sample's dropout mask, times the scale of the output.
        output: the spikes as the layer above sees them.
    """

    FIELDS = ("u", "s", "mask", "output")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Back to rest, for a new sample."""
        self.u: Tensor | None = None
        self.s: Tensor | None = None
        self.mask: Tensor | None = None
        self.output: Tensor | None = None

    def spikes(self) -> npt.NDArray[Any]:
        """[neurons] of the first of the batch, above 0 where a neuron fired; not at rest."""
        assert self.s is not None
        return self.s[0].reshape(-1).cpu().numpy()

    def spike_image(self) -> npt.NDArray[Any]:
        """:meth:`spikes` as [channels, height, width], on a CPU without a copy; not at rest."""
        assert self.s is not None
        return self.s[0].cpu().numpy()

    def potential(self, place: tuple[int, ...], threshold: float) -> float:
        """Membrane potential before reset of the neuron at (channel, row, column) of the first of the batch; not at
        rest."""
        assert self.u is not None
        return float(self.u[0][place])


class Neurons:
    """A population of leaky integrate-and-fire neurons, for batches, on any device, differentiable by autograd.

    Args:
        model: constants.
        scale: factor on the spikes that the layer above sees.
        generator: draws the dropout masks.
        input_scale: factor on the input current.

    Attributes:
        always_drop: dropout also where nothing is learned by this package's own rule, for gradients through time.
        watch: called with the membrane potential and the spikes of each timestep, if not None.
    """

    def __init__(
        self, model: NeuronModel, *, scale: float, generator: torch.Generator, input_scale: float = 1.0
    ) -> None:
        self.model = model
        self.scale = scale
        self.generator = generator
        self.input_scale = input_scale
        self.always_drop = False
        self.watch: Callable[[Tensor, Tensor], None] | None = None

    def rest(self) -> NeuronState:
        """The state at rest."""
        return NeuronState()

    def new_saved(self, saved: Saved) -> None:
        """Prepare what one timestep's learning needs."""

    def forward(self, current: Tensor, state: NeuronState, saved: Saved | None) -> Tensor:
        """Advance by one timestep.

        Args:
            current: I[t] [batch, channels, height, width].
            state: replaced by the new one; its tensors are fresh, so that older ones stay valid for late labels.
            saved: where the surrogate derivative is left, times the dropout mask and the scale of the output.

        Returns:
            The spikes, dropped out and scaled.
        """
        m = self.model
        u = current if self.input_scale == 1 else current * self.input_scale
        if state.u is not None and state.s is not None:
            u = torch.add(u, torch.sub(state.u, state.s, alpha=m.threshold), alpha=m.decay)
        s: Tensor = Spike.apply(u, m) if u.requires_grad else torch.ge(u, m.threshold).to(u.dtype)  # type: ignore[no-untyped-call]
        state.u, state.s = u, s.detach()
        if self.watch is not None:
            self.watch(u, s)
        factor: Tensor | float = self.scale
        if m.dropout and (saved is not None or self.always_drop):
            factor = self._mask(state)
        if saved is not None:
            f = surrogate_derivative(u, kind=m.surrogate, threshold=m.threshold, slope=m.slope)
            saved.f = f if isinstance(factor, float) and factor == 1 else f.mul_(factor)
        state.output = s if isinstance(factor, float) and factor == 1 else s * factor
        return state.output

    def _mask(self, state: NeuronState) -> Tensor:
        """The sample's dropout mask, drawn at its first timestep, times the scale of the output."""
        if state.mask is None:
            assert state.u is not None
            keep = 1 - self.model.dropout
            u = state.u
            drawn = torch.rand(u.shape, dtype=u.dtype, generator=self.generator) < keep
            state.mask = drawn.to(u.dtype).mul_(self.scale / keep).to(u.device)
        return state.mask

    def backward(self, delta: Any, saved: Saved) -> Any:
        """∂L/∂(input current) from ∂L/∂(output), both of this timestep."""
        error = delta * saved.f
        return error if self.input_scale == 1 else error * self.input_scale


class Spike(torch.autograd.Function):
    """s = 1 if u >= V_th, with the surrogate derivative f(u) backward."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, model: NeuronModel) -> Tensor:
        ctx.save_for_backward(u)
        ctx.model = model
        return torch.ge(u, model.threshold).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        m: NeuronModel = ctx.model
        return grads[0] * surrogate_derivative(u, kind=m.surrogate, threshold=m.threshold, slope=m.slope), None


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
