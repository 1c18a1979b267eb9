"""Pre-activation NF-ResNet with spiking neurons: layers that pass currents, and blocks that fire inside.

    block:  spikes₁ = 2.74 · LIF(x / β)        x: the current from below, β = sqrt(its expected variance)
            spikes₂ = 2.74 · LIF(conv₁ spikes₁)
            out     = shortcut + 0.2 · g · conv₂ spikes₂

with sWS convolutions and a learnable gain g, zero at the start. The shortcut is x itself, or in a block that
downsamples a 1×1 sWS convolution of spikes₁, after which the expected variance begins anew at 1 + 0.2². (Brock et
al., ICLR
2021; Xiao et al., NeurIPS 2022.) Currents carry no trace: what learns from one takes the current itself as its
presynaptic factor.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stream_ottt.network.layers import Layer, Memo, ReadOut, Signal
from stream_ottt.network.neurons import NeuronModel, NeuronState, lif_step, surrogate_derivative
from stream_ottt.network.spiking_conv import SWS_SCALE
from stream_ottt.network.weights import ScaledStandardization

if TYPE_CHECKING:
    from stream_ottt.network.network import Network
    from stream_ottt.network.topologies import Builder

ALPHA = 0.2
"""Share of a block's residual branch in its output."""

STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
"""Blocks per stage of the two depths."""

WIDTHS = (64, 128, 256, 512)


class _Weights:
    """A standardized convolution within a layer: parameters ``<prefix>weight``, ``<prefix>bias``, ``<prefix>gain``."""

    def __init__(self, prefix: str, parameters: dict[str, Tensor], stride: int) -> None:
        self.prefix = prefix
        self.stride = stride
        self.weight, self.bias = parameters[f"{prefix}weight"], parameters[f"{prefix}bias"]
        self.standard = ScaledStandardization(self.weight, parameters[f"{prefix}gain"])
        self.padding = self.weight.shape[-1] // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.standard.weight, self.bias, stride=self.stride, padding=self.padding)

    def _backward(self, error: Tensor, pre: Tensor, wanted: tuple[bool, bool, bool]) -> tuple[Tensor, Tensor, Tensor]:
        grads = torch.ops.aten.convolution_backward(
            error,
            pre,
            self.standard.weight,
            [len(self.bias)],
            [self.stride] * 2,
            [self.padding] * 2,
            [1, 1],
            False,
            [0, 0],
            1,
            wanted,
        )
        return grads[0], grads[1], grads[2]

    def down(self, error: Tensor, pre: Tensor) -> Tensor:
        """∂L/∂input from ∂L/∂output; ``pre`` only gives the input's shape."""
        return self._backward(error, pre, (True, False, False))[0]

    def gradient(self, error: Tensor, pre: Tensor) -> dict[str, Tensor]:
        """Gradient per parameter, with ``pre`` as the presynaptic factor."""
        _, weight, bias = self._backward(error, pre, (False, True, True))
        raw, gain = self.standard.backward(weight)
        return {f"{self.prefix}weight": raw, f"{self.prefix}bias": bias, f"{self.prefix}gain": gain}


class StemConv(Layer):
    """A standardized convolution whose output is a current: no neurons.

    Args:
        parameters: ``weight`` [out, in, k, k], ``bias`` [out], ``gain`` [out, 1, 1, 1].
        stride: of the convolution.
    """

    def __init__(self, parameters: dict[str, Tensor], *, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.set_parameters(parameters)

    def set_parameters(self, parameters: dict[str, Tensor]) -> None:
        super().set_parameters(parameters)
        self._conv = _Weights("", parameters, self.stride)

    def forward(self, below: Signal, memo: Memo | None) -> Signal:
        current = self._conv.forward(below.spikes)
        if memo is not None:
            memo.pre = below.trace
        return Signal(current, None if memo is None else current)

    def credit(self, delta: Tensor, memo: Memo, *, down: bool) -> tuple[Tensor, Tensor | None]:
        assert memo.pre is not None
        return delta, self._conv.down(delta, memo.pre) if down else None

    def gradient(self, delta: Tensor, memo: Memo) -> dict[str, Tensor]:
        assert memo.pre is not None
        return self._conv.gradient(delta, memo.pre)

    def weights_changed(self) -> None:
        self._conv.standard.changed()


class StemPool(Layer):
    """The stem's average pooling: 3×3, stride 2, padded by 1 with zeros that count."""

    def forward(self, below: Signal, memo: Memo | None) -> Signal:
        if memo is not None:
            memo.pre = below.spikes
        current = F.avg_pool2d(below.spikes, 3, stride=2, padding=1)
        return Signal(current, None if memo is None else current)

    def credit(self, delta: Tensor, memo: Memo, *, down: bool) -> tuple[Tensor, Tensor | None]:
        if not down:
            return delta, None
        assert memo.pre is not None
        spread = torch.ops.aten.avg_pool2d_backward(delta, memo.pre, [3, 3], [2, 2], [1, 1], False, True, None)
        return delta, spread


class NFBlock(Layer):
    """A residual block with two populations of neurons.

    Args:
        parameters: ``first_weight``, ``first_bias``, ``first_gain``, the same of ``second_`` and, where the block
            downsamples or widens, of ``shortcut_``; ``skip_gain`` [1].
        neuron: neuron constants.
        beta: β.
        stride: of the first convolution and the shortcut.
        generator: draws the dropout masks.
    """

    def __init__(
        self,
        parameters: dict[str, Tensor],
        neuron: NeuronModel,
        *,
        beta: float,
        stride: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.neuron = neuron
        self.beta = beta
        self.stride = stride
        self.scale = SWS_SCALE
        self.generator = generator
        self.set_parameters(parameters)
        self.reset()

    def set_parameters(self, parameters: dict[str, Tensor]) -> None:
        super().set_parameters(parameters)
        self._first = _Weights("first_", parameters, self.stride)
        self._second = _Weights("second_", parameters, 1)
        self._shortcut = _Weights("shortcut_", parameters, self.stride) if self.downsamples else None

    @property
    def downsamples(self) -> bool:
        """Whether the shortcut is a convolution."""
        return "shortcut_weight" in self.parameters

    def forward(self, below: Signal, memo: Memo | None) -> Signal:
        x = below.spikes
        inner = (Memo(), Memo(), Memo()) if memo is not None else (None, None, None)
        spikes = self._fire(0, x / self.beta, inner[0])
        current = self._first.forward(spikes)
        shortcut = x if self._shortcut is None else self._shortcut.forward(spikes)
        residual = self._second.forward(self._fire(1, current, inner[1]))
        if memo is not None:
            assert inner[2] is not None
            inner[2].pre = residual
            memo.inner = inner
            memo.shape = tuple(x.shape)
        out = torch.addcmul(shortcut, residual, self.parameters["skip_gain"], value=ALPHA)
        return Signal(out, None if memo is None else out)

    def _fire(self, which: int, current: Tensor, memo: Memo | None) -> Tensor:
        """The spikes of one population as the convolution above sees them; its memo holds their trace and f."""
        n = self.neuron
        state = lif_step(current, self._states[which], decay=n.decay, threshold=n.threshold, track=memo is not None)
        self._states[which] = state
        if memo is None:
            return state.s * self.scale
        factor = self._factor(which, state.u)
        assert state.trace is not None
        memo.pre = state.trace * factor
        memo.f = surrogate_derivative(state.u, kind=n.surrogate, threshold=n.threshold, slope=n.slope).mul_(factor)
        return state.s * factor

    def _factor(self, which: int, u: Tensor) -> Tensor | float:
        """Dropout mask, one per sample, times output scale."""
        if self.neuron.dropout == 0:
            return self.scale
        mask = self._masks[which]
        if mask is None:
            keep = 1 - self.neuron.dropout
            drawn = torch.rand(u.shape, dtype=u.dtype, generator=self.generator) < keep
            mask = self._masks[which] = drawn.to(u.dtype).mul_(self.scale / keep).to(u.device)
        return mask

    def credit(self, delta: Tensor, memo: Memo, *, down: bool) -> tuple[tuple[Tensor, Tensor], Tensor | None]:
        first, second, _ = memo.inner
        assert first.pre is not None and first.f is not None and second.pre is not None and second.f is not None
        at_second = self._second.down(delta * (self.parameters["skip_gain"] * ALPHA), second.pre)
        own = (delta, at_second)
        if not down:
            return own, None
        at_first = self._first.down(at_second * second.f, first.pre)
        if self._shortcut is not None:
            at_first += self._shortcut.down(delta, first.pre)
        below = at_first * first.f / self.beta
        return own, below if self._shortcut is not None else below + delta

    def gradient(self, delta: tuple[Tensor, Tensor], memo: Memo) -> dict[str, Tensor]:
        at_out, at_second = delta
        first, second, residual = memo.inner
        assert first.pre is not None and second.pre is not None and second.f is not None and residual.pre is not None
        gradient = self._first.gradient(at_second * second.f, first.pre)
        gradient |= self._second.gradient(at_out * (self.parameters["skip_gain"] * ALPHA), second.pre)
        if self._shortcut is not None:
            gradient |= self._shortcut.gradient(at_out, first.pre)
        gradient["skip_gain"] = (at_out * residual.pre).sum().mul(ALPHA).view(1)
        return gradient

    def weights_changed(self) -> None:
        for weights in (self._first, self._second, self._shortcut):
            if weights is not None:
                weights.standard.changed()

    def reset(self) -> None:
        self._states: list[NeuronState | None] = [None, None]
        self._masks: list[Tensor | None] = [None, None]

    def state(self) -> Any:
        return list(self._states), list(self._masks)

    def set_state(self, state: Any) -> None:
        states, masks = state
        self._states, self._masks = list(states), list(masks)


def nf_resnet(depth: int) -> Callable[[Builder, int], Network]:
    """The builder of NF-ResNet-18 or -34: its blocks, whatever the input's size of at least 32×32 or so."""

    def build(builder: Builder, classes: int) -> Network:
        stem = _draw(builder, "", 64, builder.channels, 7)
        builder.layers += [("stem", StemConv(stem, stride=2)), ("pool", StemPool())]
        channels, variance = 64, 1.0
        for stage, blocks in enumerate(STAGES[depth]):
            for i in range(blocks):
                out, stride = WIDTHS[stage], 2 if stage and not i else 1
                parameters = _draw(builder, "first_", out, channels, 3) | _draw(builder, "second_", out, out, 3)
                if out != channels:
                    parameters |= _draw(builder, "shortcut_", out, channels, 1)
                parameters["skip_gain"] = torch.zeros(1, dtype=builder.dtype)
                block = NFBlock(
                    parameters,
                    builder.config.neuron,
                    beta=math.sqrt(variance),
                    stride=stride,
                    generator=builder.generator,
                )
                builder.layers.append((f"block{stage + 1}_{i + 1}", block))
                variance = (1.0 if block.downsamples else variance) + ALPHA**2
                channels = out
        weight = builder.normal(classes, channels, std=0.01)
        builder.layers.append(("readout", ReadOut(weight, torch.zeros(classes, dtype=builder.dtype), pool=True)))
        return builder.network()

    return build


def _draw(builder: Builder, prefix: str, out: int, channels: int, kernel: int) -> dict[str, Tensor]:
    """Weights of one standardized convolution, Kaiming over the fan-out."""
    std = math.sqrt(2 / (out * kernel * kernel))
    return {
        f"{prefix}weight": builder.normal(out, channels, kernel, kernel, std=std),
        f"{prefix}bias": torch.zeros(out, dtype=builder.dtype),
        f"{prefix}gain": torch.ones(out, 1, 1, 1, dtype=builder.dtype),
    }
