"""A population of neurons of one stream on a CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from stream_ottt.compiled import Array
from stream_ottt.engine import neuron_kernels
from stream_ottt.engine.images import Delta, Image
from stream_ottt.network.neurons import Neurons
from stream_ottt.network.saved import Saved, as_tensor


class Derivative:
    """What the surrogate derivative of a population is made of, [pixels, channels].

    Attributes:
        tensor: the rectangle itself, or the sigmoid σ, whose derivative is σ - σ²; ``array`` is the same memory.
        factor: what it is multiplied by: slope, scale of the output and dropout.
    """

    __slots__ = ("array", "factor", "rectangular", "tensor")

    def __init__(self, shape: tuple[int, int], dtype: torch.dtype, factor: float, *, rectangular: bool) -> None:
        self.tensor = torch.zeros(shape, dtype=dtype)
        self.array: Array = self.tensor.numpy()
        self.factor = factor
        self.rectangular = rectangular


class CompiledNeuronState:
    """What a population remembers.

    Attributes:
        v: membrane potential after reset [height, width, channels].
        image: room for its spikes, 0 or 1, times the dropout mask.
        mask: the sample's dropout mask [height, width, channels]; None while none was drawn.
    """

    FIELDS = ("v", "output", "mask")

    def __init__(self, v: Array, image: Image) -> None:
        self.v = v
        self.image = image
        self.mask: Tensor | None = None
        self.fired = False

    @property
    def output(self) -> Image | None:
        """The spikes of the latest timestep; None at rest."""
        return self.image if self.fired else None

    @output.setter
    def output(self, value: Tensor | None) -> None:
        self.fired = value is not None
        if value is not None:
            self.image.tensor.copy_(as_tensor(value))

    def spikes(self) -> Array:
        """[neurons], above 0 where a neuron fired (and was not dropped out)."""
        return self.image.inside.reshape(-1).numpy()

    def spike_image(self) -> Array:
        """:meth:`spikes` as [height, width, channels], without a copy."""
        return self.image.inside_array

    def potential(self, place: tuple[int, ...], threshold: float) -> float:
        """Membrane potential before reset of the neuron at (row, column, channel)."""
        return float(self.v[place] + threshold * (self.image.inside_array[place] > 0))

    def reset(self) -> None:
        """Back to rest, for a new sample."""
        self.v.fill(0)
        self.mask, self.fired = None, False


class CompiledNeurons:
    """A population of neurons; see :class:`stream_ottt.network.neurons.Neurons`.

    Args:
        like: the population whose constants it has.
        size: (height, width, channels).
        border: of zeros around its spikes.
        dtype: of the numbers.
    """

    def __init__(self, like: Neurons, size: tuple[int, int, int], border: int, dtype: torch.dtype) -> None:
        m = self.model = like.model
        self.generator = like.generator
        self.scale = like.scale
        self._size, self._border, self._dtype = size, border, dtype
        self.rectangular = m.surrogate == "rectangular"
        # The sigmoid's derivative is slope · σ (1 - σ).
        self._factor = like.scale * (1.0 if self.rectangular else m.slope) / (1 - m.dropout)
        self._input_scale = like.input_scale
        self._current: Tensor | None = None

    def rest(self) -> CompiledNeuronState:
        v = torch.zeros(*self._size, dtype=self._dtype).numpy()
        return CompiledNeuronState(v, Image(*self._size, self._border, self._dtype))

    def new_saved(self, saved: Saved) -> None:
        """A buffer for the surrogate derivative."""
        height, width, channels = self._size
        saved.f = Derivative((height * width, channels), self._dtype, self._factor, rectangular=self.rectangular)

    def forward(self, current: Any, state: CompiledNeuronState, saved: Saved | None) -> Image:
        m = self.model
        u, k, bias = self._take(current) if isinstance(current, Image) else current
        image = state.image
        neuron_kernels.lif(u, k, bias, state.v, image.array, image.border, m.decay, m.threshold)
        if saved is not None:
            f: Derivative = saved.f
            neuron_kernels.surrogate(u, f.array, m.threshold, m.slope, self.rectangular)
            if not self.rectangular:
                f.tensor.sigmoid_()
            if m.dropout:
                if state.mask is None:
                    state.mask = self._draw()
                neuron_kernels.drop(f.array, state.mask.numpy())
                image.inside.mul_(state.mask)
        state.fired = True
        return image

    def _take(self, image: Image) -> tuple[Array, Array, Array]:
        """A current that comes as an image, copied, as u takes its place."""
        if self._current is None:
            channels = self._size[2]
            self._current = torch.zeros(*self._size, dtype=self._dtype)
            self._u = self._current.numpy().reshape(-1, channels)
            self._k = np.full(channels, self._input_scale, self._u.dtype)
            self._zeros = np.zeros(channels, self._u.dtype)
        self._current.copy_(image.inside)
        return self._u, self._k, self._zeros

    def _draw(self) -> Tensor:
        """A dropout mask, 0 or 1 / (1 - dropout), in the order in which torch's neurons draw theirs."""
        height, width, channels = self._size
        keep = 1 - self.model.dropout
        drawn = torch.rand((1, channels, height, width), dtype=self._dtype, generator=self.generator) < keep
        return drawn[0].permute(1, 2, 0).to(self._dtype).div_(keep).contiguous()

    def backward(self, delta: Delta, saved: Saved) -> Delta:
        f: Derivative = saved.f
        neuron_kernels.through_neurons(delta.rows, f.array, f.factor * self._input_scale, f.rectangular)
        return delta
