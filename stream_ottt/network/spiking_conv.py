"""The convolution onto spiking neurons, forward and down, and the feedback connection that may add to its current."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stream_ottt.network.layers import Layer, Memo, Signal
from stream_ottt.network.neurons import NeuronModel, NeuronState, lif_step, surrogate_derivative
from stream_ottt.network.weights import ScaledStandardization

SWS_SCALE = 2.74
"""Factor on spikes and traces after each spiking layer of a network with scaled weight standardization."""


class SpikingConv(Layer):
    """A convolution onto leaky integrate-and-fire neurons.

    Args:
        weight: [out, in, k, k]; the convolution is padded to keep the size.
        bias: [out].
        neuron: neuron constants.
        gain: [out, 1, 1, 1] for scaled weight standardization, None for plain weights.
        generator: draws the dropout masks.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        neuron: NeuronModel,
        *,
        gain: Tensor | None,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.parameters = {"weight": weight, "bias": bias}
        if gain is not None:
            self.parameters["gain"] = gain
        self.neuron = neuron
        self.scale = 1.0 if gain is None else SWS_SCALE
        self.standard = None if gain is None else ScaledStandardization(weight, gain)
        self.padding = weight.shape[-1] // 2
        self.generator = generator
        self.feedback: FeedbackConv | None = None
        self._state: NeuronState | None = None
        self._mask: Tensor | None = None

    @property
    def effective_weight(self) -> Tensor:
        """Ŵ, or W itself without standardization."""
        return self.parameters["weight"] if self.standard is None else self.standard.weight

    def forward(self, below: Signal, memo: Memo | None) -> Signal:
        p = self.parameters
        current = F.conv2d(below.spikes, self.effective_weight, p["bias"], padding=self.padding)
        if self.feedback is not None:
            feedback = self.feedback.current(memo)
            if feedback is not None:
                current += feedback
        n = self.neuron
        self._state = lif_step(current, self._state, decay=n.decay, threshold=n.threshold, track=memo is not None)
        if memo is not None:
            memo.pre = below.trace
            memo.f = surrogate_derivative(self._state.u, kind=n.surrogate, threshold=n.threshold, slope=n.slope)
            factor = self._output_factor()
            if factor is not None:
                memo.f *= factor
            return self._output(factor)
        return self._output(None if self.scale == 1 else self.scale)

    def _output_factor(self) -> Tensor | float | None:
        """Dropout mask times output scale, or None when both are one."""
        if self.neuron.dropout == 0 or self._state is None:
            return None if self.scale == 1 else self.scale
        if self._mask is None:
            keep = 1 - self.neuron.dropout
            u = self._state.u
            drawn = torch.rand(u.shape, dtype=u.dtype, generator=self.generator) < keep
            self._mask = drawn.to(u.dtype).mul_(self.scale / keep).to(u.device)
        return self._mask

    def _output(self, factor: Tensor | float | None) -> Signal:
        assert self._state is not None
        s, trace = self._state.s, self._state.trace
        if factor is None:
            return Signal(s, trace)
        return Signal(s * factor, None if trace is None else trace * factor)

    def last_output(self) -> Signal | None:
        """Spikes and traces as the layer above saw them at the latest timestep; None at the start of a sample."""
        if self._state is None:
            return None
        learning = self._state.trace is not None
        return self._output(self._output_factor() if learning else self.scale)

    def credit(self, delta: Tensor, memo: Memo, *, down: bool) -> tuple[Tensor, Tensor | None]:
        if not down:
            return delta, None
        assert memo.pre is not None and memo.f is not None
        return delta, conv_gradients(
            delta * memo.f, memo.pre, self.effective_weight, self.padding, (True, False, False)
        )[0]

    def gradient(self, delta: Tensor, memo: Memo) -> dict[str, Tensor]:
        assert memo.pre is not None and memo.f is not None
        error = delta * memo.f
        _, weight, bias = conv_gradients(error, memo.pre, self.effective_weight, self.padding, (False, True, True))
        gradient = {"weight": weight, "bias": bias}
        if self.standard is not None:
            gradient["weight"], gradient["gain"] = self.standard.backward(weight)
        if self.feedback is not None:
            gradient |= self.feedback.gradient(error, memo)
        return gradient

    def set_parameters(self, parameters: dict[str, Tensor]) -> None:
        super().set_parameters(parameters)
        if self.standard is not None:
            self.standard = ScaledStandardization(parameters["weight"], parameters["gain"])
        if self.feedback is not None:
            self.feedback.weight = parameters["feedback.weight"]
            self.feedback.bias = parameters["feedback.bias"]

    def weights_changed(self) -> None:
        if self.standard is not None:
            self.standard.changed()

    def reset(self) -> None:
        self._state = None
        self._mask = None

    def state(self) -> Any:
        return self._state, self._mask

    def set_state(self, state: Any) -> None:
        self._state, self._mask = state


class FeedbackConv:
    """The connection from the last spiking layer back to the first (VGG-F): upsampling, then a plain convolution.

    It carries the last layer's spikes of the timestep before, from the second step of a sample on. Its presynaptic
    factor is their trace at that step; no gradient flows back through it in time.

    Args:
        weight: [first layer's channels, last layer's channels, 3, 3].
        bias: [first layer's channels].
        top: the last spiking layer.
        size: (height, width) of the first layer.
    """

    def __init__(self, weight: Tensor, bias: Tensor, top: SpikingConv, size: tuple[int, int]) -> None:
        self.weight = weight
        self.bias = bias
        self.top = top
        self.size = size

    def current(self, memo: Memo | None) -> Tensor | None:
        """Input current that it adds to the first layer, [batch, channels, height, width], or None at a first step."""
        signal = self.top.last_output()
        if signal is None:
            return None
        if memo is not None and signal.trace is not None:
            memo.feedback_pre = F.interpolate(signal.trace, size=self.size, mode="nearest")
        spikes = F.interpolate(signal.spikes, size=self.size, mode="nearest")
        return F.conv2d(spikes, self.weight, self.bias, padding=1)

    def gradient(self, error: Tensor, memo: Memo) -> dict[str, Tensor]:
        """Gradient of its weights from the first layer's error at the membrane."""
        if memo.feedback_pre is None:
            return {
                "feedback.weight": torch.zeros_like(self.weight),
                "feedback.bias": torch.zeros_like(self.bias),
            }
        _, weight, bias = conv_gradients(error, memo.feedback_pre, self.weight, 1, (False, True, True))
        return {"feedback.weight": weight, "feedback.bias": bias}


def conv_gradients(
    error: Tensor, pre: Tensor, weight: Tensor, padding: int, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of a stride-1 convolution with respect to (input, weight, bias), each only where ``wanted``.

    ``pre`` stands in for the convolution's input: giving the trace there makes the weight gradient Eq. 4's.
    """
    grads = torch.ops.aten.convolution_backward(
        error, pre, weight, [weight.shape[0]], [1, 1], [padding, padding], [1, 1], False, [0, 0], 1, wanted
    )
    return grads[0], grads[1], grads[2]
