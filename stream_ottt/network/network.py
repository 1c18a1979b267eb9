"""A spiking network: a stack of layers with named parameters, one forward pass a timestep, one sweep down an error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stream_ottt.network.layers import AvgPool, Layer, Memo, Signal
from stream_ottt.network.optimizer import Optimizer
from stream_ottt.network.spiking_conv import FeedbackConv, SpikingConv


@dataclass(slots=True)
class Gradient:
    """The gradient of one layer's parameters, as the sweep reaches that layer.

    Attributes:
        layer: the layer, whose ``weights_changed`` is to be called after an update.
        items: (full name, parameter, gradient) of each of its parameters.
    """

    layer: Layer
    items: list[tuple[str, Tensor, Tensor]]

    def apply(self, optimizer: Optimizer) -> None:
        """Update the layer's parameters, within an optimizer step that has begun."""
        for name, parameter, value in self.items:
            optimizer.update(name, parameter, value)
        self.layer.weights_changed()


class Network:
    """Layers from the input to the read-out.

    Args:
        layers: (name, layer) in forward order; parameter names are ``<layer>.<parameter>``.
        input_shape: (polarities, height, width) of a timestep's frame.
        input_trace: True takes the λ-filtered input as the first layer's presynaptic factor (Eq. 4 as printed), False
            the input itself (the authors' released code).
        decay: λ, for the input's trace.
        input_scale: factor on the frames.
    """

    def __init__(
        self,
        layers: Sequence[tuple[str, Layer]],
        *,
        input_shape: tuple[int, int, int],
        input_trace: bool,
        decay: float,
        input_scale: float = 1.0,
    ) -> None:
        self.names = [name for name, _ in layers]
        self.layers = [layer for _, layer in layers]
        self.input_shape = input_shape
        self.input_trace = input_trace
        self.decay = decay
        self.input_scale = input_scale
        self._trace: Tensor | None = None

    @property
    def parameters(self) -> dict[str, Tensor]:
        """All trainable tensors by full name; updates are in place."""
        return {
            f"{name}.{key}": value
            for name, layer in zip(self.names, self.layers, strict=True)
            for key, value in layer.parameters.items()
        }

    @property
    def size(self) -> int:
        """Number of trainable weights."""
        return sum(p.numel() for p in self.parameters.values())

    def connect_feedback(self, weight: Tensor, bias: Tensor) -> None:
        """Add a feedback connection from the last spiking layer to the first, see :class:`FeedbackConv`."""
        spiking = [layer for layer in self.layers if isinstance(layer, SpikingConv)]
        first, top = spiking[0], spiking[-1]
        height, width = self.input_shape[1:]
        for layer in self.layers[: self.layers.index(first)]:
            if isinstance(layer, AvgPool):
                height, width = height // layer.size, width // layer.size
        first.feedback = FeedbackConv(weight, bias, top, (height, width))
        first.parameters |= {"feedback.weight": weight, "feedback.bias": bias}

    def to(self, device: torch.device) -> None:
        """Move the weights to a device, before anything is predicted or learned."""
        for layer in self.layers:
            layer.set_parameters({name: value.to(device) for name, value in layer.parameters.items()})

    def compile(self) -> None:
        """Have torch compile the forward pass when it is first called."""
        self.forward = torch.compile(self.forward)  # type: ignore[method-assign]

    def forward(self, frame: Tensor, *, learn: bool) -> tuple[Tensor, list[Memo]]:
        """Advance by one timestep.

        Args:
            frame: [batch, polarities, height, width].
            learn: whether to advance the traces and keep what learning needs.

        Returns:
            Logits [batch, classes], and one memo per layer (none without ``learn``).
        """
        if self.input_scale != 1:
            frame = frame * self.input_scale
        trace = frame if learn else None
        if self.input_trace:
            if trace is not None and self._trace is not None:
                trace = torch.add(trace, self._trace, alpha=self.decay)
            self._trace = trace
        signal = Signal(frame, trace)
        memos: list[Memo] = []
        for layer in self.layers:
            memo = Memo() if learn else None
            signal = layer.forward(signal, memo)
            if memo is not None:
                memos.append(memo)
        return signal.spikes, memos

    def credits(self, error: Tensor, memos: list[Memo]) -> list[Tensor]:
        """The error signal δ of each layer, first layer first, from ∂L/∂logits [batch, classes]."""
        deltas: list[Tensor] = []
        delta: Tensor | None = error
        for i in reversed(range(len(self.layers))):
            assert delta is not None
            own, delta = self.layers[i].credit(delta, memos[i], down=i > 0)
            deltas.append(own)
        return deltas[::-1]

    def sweep(self, error: Tensor, memos: list[Memo]) -> Iterator[Gradient]:
        """Gradients layer by layer from the top, each error passed down before its layer may be updated."""
        delta: Tensor | None = error
        for i in reversed(range(len(self.layers))):
            assert delta is not None
            own, delta = self.layers[i].credit(delta, memos[i], down=i > 0)
            yield self._gradient(i, own, memos[i])

    def meet(self, deltas: list[Tensor], memos: list[Memo]) -> Iterator[Gradient]:
        """Gradients from error signals formed at one step and the memos of another, from the top."""
        for i in reversed(range(len(self.layers))):
            yield self._gradient(i, deltas[i], memos[i])

    def _gradient(self, i: int, delta: Tensor, memo: Memo) -> Gradient:
        layer, name = self.layers[i], self.names[i]
        grads = layer.gradient(delta, memo)
        return Gradient(layer, [(f"{name}.{key}", layer.parameters[key], g) for key, g in grads.items()])

    def weights_changed(self) -> None:
        """Called after parameters were changed from outside, such as by loading a model."""
        for layer in self.layers:
            layer.weights_changed()

    def reset(self) -> None:
        """All neurons and traces to rest, for a new sample."""
        self._trace = None
        for layer in self.layers:
            layer.reset()

    def state(self) -> Any:
        """All that is remembered between timesteps; cheap, nothing is copied."""
        return self._trace, [layer.state() for layer in self.layers]

    def set_state(self, state: Any) -> None:
        """Put back what :meth:`state` gave."""
        self._trace, states = state
        for layer, own in zip(self.layers, states, strict=True):
            layer.set_state(own)
