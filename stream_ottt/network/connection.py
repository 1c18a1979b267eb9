"""Weights between two layers: a convolution or a dense product, forward, down, and the gradient of its weights.

The three factors of Eq. 4 meet here: ∇W_ij = â_i e_j, with e_j = f(u_j) δ_j the error at the membrane and

    â[t] = λ â[t-1] + x[t]

the tracked activity of the connection's own input x.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stream_ottt.network.optimizer import GradientSink
from stream_ottt.network.saved import Saved
from stream_ottt.network.weights import ScaledStandardization


class Connection:
    """A convolution, or with a weight of two dimensions a dense product; for batches, on any device, differentiable.

    Args:
        weight: [out, in, k, k], padded by half the kernel, or [out, in].
        bias: [out].
        gain: [out, 1, 1, 1] for scaled weight standardization, None for plain weights.
        stride: of the convolution.
        decay: λ of the presynaptic trace; None takes the input itself as the presynaptic factor.

    Attributes:
        name: first part of the full names of its parameters; the network gives it.
        parameters: its trainable tensors by the last part of their names.
        watch: called with the input and the effective weight of each timestep, if not None.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor, gain: Tensor | None = None, *, stride: int = 1, decay: float | None
    ) -> None:
        self.name = ""
        self.stride = stride
        self.decay = decay
        self.padding = weight.shape[-1] // 2 if weight.dim() == 4 else 0
        self.watch: Callable[[Tensor, Tensor], None] | None = None
        parameters = {"weight": weight, "bias": bias}
        self.set_parameters(parameters if gain is None else parameters | {"gain": gain})

    def set_parameters(self, parameters: dict[str, Tensor]) -> None:
        """Use these tensors, of the same names and shapes, from now on."""
        self.parameters = parameters
        gain = parameters.get("gain")
        self.standard = None if gain is None else ScaledStandardization(parameters["weight"], gain)

    def weights_changed(self, *, centred: bool = False) -> None:
        """Called after the parameters were changed; ``centred`` is for the compiled connection."""
        if self.standard is not None:
            self.standard.changed()

    @property
    def effective_weight(self) -> Tensor:
        """Ŵ, or W itself without standardization."""
        return self.parameters["weight"] if self.standard is None else self.standard.weight

    def new_saved(self, saved: Saved) -> None:
        """Prepare what one timestep's learning needs."""

    # --- up ---------------------------------------------------------------------------------------------------------

    def forward(self, x: Tensor, work: Any, add: Tensor | None = None) -> Tensor:
        """The current W x + b (+ ``add``)."""
        weight, bias = self.effective_weight, self.parameters["bias"]
        if self.watch is not None:
            self.watch(x, weight)
        if weight.dim() == 2:
            return F.linear(x, weight, bias)
        current = F.conv2d(x, weight, bias, stride=self.stride, padding=self.padding)
        return current if add is None else current + add

    current = forward
    """The same where no neurons take the current up."""

    def presynaptic(self, x: Tensor, before: Saved | None, saved: Saved) -> Tensor:
        """â of this timestep from the input and what was saved of the timestep before."""
        return x if self.decay is None or before is None else torch.add(x, before.pre, alpha=self.decay)

    # --- down -------------------------------------------------------------------------------------------------------

    def error(self, delta: Tensor, saved: Saved | None, work: Any, factor: Any = None) -> Tensor:
        """The error at the membrane, δ times the saved surrogate derivative, or at a current, δ times ``factor``."""
        factor = factor if saved is None else saved.f
        return delta if factor is None else delta * factor

    def backward(self, error: Tensor, saved: Saved, work: Any) -> Tensor:
        """∂L/∂x; ``saved`` of the same timestep."""
        if error.dim() == 2:
            return error @ self.effective_weight
        return self._gradients(error, saved.pre, (True, False, False))[0]

    def plain(self, error: Tensor, work: Any) -> Tensor:
        """The error at the membrane for another connection onto the same neurons."""
        return error

    def learn(self, error: Tensor, pre: Tensor | None, sink: GradientSink, work: Any) -> None:
        """Give the gradient of each parameter to ``sink``; ``pre`` None stands for zeros."""
        p = self.parameters
        if pre is None:
            found = {"weight": torch.zeros_like(p["weight"]), "bias": torch.zeros_like(p["bias"])}
        elif error.dim() == 2:
            found = {"weight": error.T @ pre, "bias": error.sum(0)}
        else:
            _, weight, bias = self._gradients(error, pre, (False, True, True))
            found = {"weight": weight, "bias": bias}
        if self.standard is not None:
            found["weight"], found["gain"] = self.standard.backward(found["weight"])
        for key, gradient in found.items():
            sink.update(f"{self.name}{key}", p[key], gradient)
        if sink.updates:
            self.weights_changed()

    def _gradients(self, error: Tensor, x: Tensor, wanted: tuple[bool, bool, bool]) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients with respect to (input, weight, bias), each only where ``wanted``.

        The trace in the place of the input makes the weight's gradient Eq. 4's.
        """
        w = self.effective_weight
        stride, padding = [self.stride] * 2, [self.padding] * 2
        grads = torch.ops.aten.convolution_backward(
            error, x, w, [w.shape[0]], stride, padding, [1, 1], False, [0, 0], 1, wanted
        )
        return grads[0], grads[1], grads[2]


class FeedbackConnection(Connection):
    """From the last spiking layer back to the first (VGG-F): nearest-neighbour upsampling, then a plain convolution.

    It carries the last layer's spikes of the timestep before, from the second step of a sample on. Its presynaptic
    factor is their trace at that step; no gradient flows back through it in time.

    Args:
        weight: [first layer's channels, last layer's channels, k, k].
        bias: [first layer's channels].
        size: (height, width) of the first layer.
        decay: λ of the presynaptic trace.
    """

    def __init__(self, weight: Tensor, bias: Tensor, size: tuple[int, int], *, decay: float) -> None:
        super().__init__(weight, bias, decay=decay)
        self.size = size

    def forward(self, x: Tensor, work: Any, add: Tensor | None = None) -> Tensor:
        return super().forward(self._spread(x), work, add)

    def presynaptic(self, x: Tensor, before: Saved | None, saved: Saved) -> Tensor:
        trace = None if before is None else before.fed
        return x if trace is None else torch.add(x, trace, alpha=self.decay or 0)

    def learn(self, error: Tensor, pre: Tensor | None, sink: GradientSink, work: Any) -> None:
        super().learn(error, None if pre is None else self._spread(pre), sink, work)

    def _spread(self, x: Tensor) -> Tensor:
        return F.interpolate(x, size=self.size, mode="nearest")


class SkipGain:
    """The learnable gain g of a residual block: out = shortcut + factor · g · residual.

    Args:
        gain: [1].
        factor: constant share of the branch.
    """

    def __init__(self, gain: Tensor, factor: float) -> None:
        self.name = ""
        self.factor = factor
        self.parameters = {"gain": gain}

    def set_parameters(self, parameters: dict[str, Tensor]) -> None:
        """Use this tensor from now on."""
        self.parameters = parameters

    def weights_changed(self, *, centred: bool = False) -> None:
        """Nothing follows from it."""

    def new_saved(self, saved: Saved) -> None:
        """Prepare what one timestep's learning needs."""

    def keep(self, residual: Tensor, saved: Saved) -> Tensor:
        """The branch's output, to be kept for the gain's gradient."""
        return residual

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        """The sum of two errors."""
        return a + b

    def value(self, work: Any) -> Any:
        """factor · g."""
        return self.parameters["gain"] * self.factor

    def forward(self, shortcut: Tensor, residual: Tensor, work: Any) -> Tensor:
        """shortcut + factor · g · residual."""
        return torch.addcmul(shortcut, residual, self.parameters["gain"], value=self.factor)

    def learn(self, delta: Tensor, residual: Tensor, sink: GradientSink, work: Any) -> None:
        """Give the gain's gradient to ``sink``."""
        gradient = (delta * residual).sum().mul(self.factor).view(1)
        sink.update(f"{self.name}gain", self.parameters["gain"], gradient)
