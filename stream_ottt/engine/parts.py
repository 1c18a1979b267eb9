"""The parts of layers for one stream on a CPU: connections, populations and poolings over reused buffers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stream_ottt.compiled import Array
from stream_ottt.engine import feedback_kernels, neuron_kernels, pixel_kernels, spike_kernels
from stream_ottt.engine.images import Delta, Image
from stream_ottt.engine.products import Buffers, Products, Shape
from stream_ottt.engine.rows import FusedStep, Rows, Slots, update_vector
from stream_ottt.network.connection import Connection, FeedbackConnection, SkipGain
from stream_ottt.network.neurons import Neurons
from stream_ottt.network.optimizer import GradientSink
from stream_ottt.network.saved import Saved, as_tensor

# In units of a dense product's time per input and output pixel: that of scattering one spike instead, and that of
# transposing the weights for it, per input channel (measured; see benchmarks/README.md).
SCATTERING, TRANSPOSING = 10, 100


class CompiledWork:
    """What the calls of one thread use.

    Attributes:
        products: of each connection, over the buffers of the thread.
        rows: the weights in use of each connection.
        into: where updates of these go.
        fed: the spikes that the feedback connection carries, or None.
    """

    fed: Image | None = None

    def __init__(self, products: list[Any], rows: list[Any], into: list[Any] | None = None) -> None:
        self.products = products
        self.rows = rows
        self.into = rows if into is None else into


class CompiledConnection:
    """A convolution as matrix products; see :class:`stream_ottt.network.connection.Connection`.

    A current is (product [pixels, out], k, bias): what takes it up computes k·product + bias in the same pass.

    Args:
        like: the connection whose parameters are taken over.
        index: of its products and its weights in :class:`CompiledWork`.
        size: (height, width, channels) of its input.
        rows: its weights.
        border: of zeros around its output, where this is an image.
    """

    def __init__(self, like: Connection, index: int, size: tuple[int, int, int], rows: Rows, border: int) -> None:
        self.name = like.name
        self.index = index
        self.decay = like.decay
        self.kernel, self.stride, self.padding = 2 * like.padding + 1, like.stride, like.padding
        self.size = size
        height, width, channels = size
        out = len(rows.array)
        self.shape = Shape(-(-height // self.stride), -(-width // self.stride), channels, self.kernel, out, self.stride)
        self.dtype = rows.rows.dtype
        self.stale = True
        self.known_centred = False
        self._ones, self._zeros = np.ones(out, rows.bias.dtype), np.zeros(out, rows.bias.dtype)
        self._border = border
        self._out: Image | None = None
        self.use(rows)
        self.slots = Slots(self.name, self.parameters)

    def use(self, rows: Rows) -> None:
        """These are the weights in use."""
        self.parameters = rows.parameters

    def weights_changed(self, *, centred: bool = False) -> None:
        """The parameters were changed from outside."""
        self.stale, self.known_centred = True, centred
        self.slots.foreign = not centred

    def products(self, space: Buffers, make: Callable[[Shape], Products]) -> Products:
        """Its products over a thread's buffers."""
        return make(self.shape)

    def new_saved(self, saved: Saved) -> None:
        """Buffers for the presynaptic factor and for the error below."""
        saved.pre = Image(*self.size, self.padding, self.dtype)
        saved.below = Delta(torch.zeros(*self.size, dtype=self.dtype))

    # --- up ---------------------------------------------------------------------------------------------------------

    def forward(self, x: Image, work: CompiledWork, add: Array | None = None) -> tuple[Array, Array, Array]:
        products, rows = work.products[self.index], work.rows[self.index]
        scattered = self.stride == 1 and self._scatter(x, products, rows)
        current = products.error if scattered else products.make_current(x, rows)
        if add is None:
            return current, rows.k_in, rows.bias
        neuron_kernels.add_current(current, rows.k_in, rows.bias, add)
        return current, self._ones, self._zeros

    def current(self, x: Image, work: CompiledWork) -> Image:
        """The current as an image, where no neurons take it up."""
        if self._out is None:
            s = self.shape
            self._out = Image(s.height, s.width, s.out, self._border, self.dtype)
        neuron_kernels.affine(*self.forward(x, work), self._out.array, self._border)
        return self._out

    def _scatter(self, x: Image, products: Products, rows: Rows) -> bool:
        """Make the current spike by spike, if so few are active that this is faster than the dense product."""
        n = spike_kernels.find_active(x.array, products.found)
        s, transpose = self.shape, rows.transpose
        dense, sparse = products.dense * s.pixels * s.channels, SCATTERING * n
        transpose.wanted = sparse + TRANSPOSING * s.channels <= dense
        if sparse > dense or not (transpose.wanted or transpose.holds(rows)):
            return False
        transpose.follow(rows)
        spike_kernels.scatter(
            x.array, x.border, products.found, n, transpose.columns, s.kernel, s.width, products.error
        )
        return True

    def presynaptic(self, x: Image, before: Saved | None, saved: Saved) -> Image:
        pre: Image = saved.pre
        if self.decay is None or before is None:
            pre.array[:] = x.array
        else:
            neuron_kernels.track(x.array, before.pre.array, pre.array, self.decay)
        return pre

    # --- down -------------------------------------------------------------------------------------------------------

    def error(self, delta: Delta, saved: Saved | None, work: CompiledWork, factor: float | None = None) -> Products:
        products: Products = work.products[self.index]
        k = work.rows[self.index].k
        if saved is not None:
            f: Derivative = saved.f
            neuron_kernels.membrane_error(
                delta.rows, f.array, k, products.error, products.bias, f.factor, f.rectangular
            )
        else:
            neuron_kernels.current_error(
                delta.rows, k, products.error, products.bias, 1.0 if factor is None else factor
            )
        products.take_error()
        return products

    def backward(self, error: Products, saved: Saved, work: CompiledWork) -> Delta:
        below: Delta = saved.below
        columns = error.make_columns(work.rows[self.index])
        if self.stride == 1:
            pixel_kernels.fold(columns, self.kernel, below.array)
        else:
            pixel_kernels.fold_strided(columns, self.kernel, self.stride, below.array)
        return below

    def plain(self, error: Products, work: CompiledWork) -> tuple[Array, Array, Array]:
        """The error at the membrane for another connection onto the same neurons: times k, k, and its sums."""
        return error.error, work.rows[self.index].k, error.bias

    def learn(self, error: Products, pre: Image, sink: GradientSink, work: CompiledWork) -> None:
        error.take_trace(pre)
        self.update(error, sink, work)

    def update(self, products: Products, sink: GradientSink, work: CompiledWork) -> None:
        """Give the gradients to ``sink``, or make the fused step."""
        rows: Rows = work.rows[self.index]
        if isinstance(sink, FusedStep):
            self.slots.adopt(sink, centre=rows.standardized and not rows.apart)
            rows.descend(products, self.slots, sink, work.into[self.index])
            return
        for key, gradient in rows.gradients(products).items():
            sink.update(f"{self.name}{key}", rows.parameters[key], gradient)
        if sink.updates:  # by SGD, rows without a mean keep having none
            rows.refresh(centred=True)


class CompiledDense(CompiledConnection):
    """A dense product, as a 1×1 convolution of one pixel that has all features."""

    def current(self, x: Image, work: CompiledWork) -> Image:
        rows: Rows = work.rows[self.index]
        if self._out is None:
            self._out = Image(1, 1, self.shape.out, 0, self.dtype)
        out, bias = self._out.inside[0], rows.parameters["bias"]
        torch.addmm(bias, x.inside[0], rows.columns, alpha=rows.input_scale, out=out)
        return self._out

    def backward(self, error: Products, saved: Saved, work: CompiledWork) -> Delta:
        below: Delta = saved.below
        torch.mm(error._error, work.rows[self.index].rows, out=below.tensor[0])
        return below


class FeedbackProducts(Products):
    """The products of a feedback connection: of the small image's pixels, see :mod:`.feedback_kernels`.

    Args:
        shape: of the convolution after upsampling.
        space: the thread's buffers.
        size: (height, width) of the small image.
    """

    def __init__(self, shape: Shape, space: Any, size: tuple[int, int]) -> None:
        super().__init__(shape, space)
        small, taps = size[0] * size[1], shape.kernel**2
        self._small, self._taps = small, taps
        new = space.error.new_zeros
        self.parts, self._rows_parts = new(small, taps, shape.out), new(small, shape.out * taps)
        self._trace = new(small, shape.channels)
        self.bias = np.zeros_like(self.bias)

    def make_parts(self, image: Image, rows: Rows) -> None:
        """``parts`` [small pixels, taps, out]: what each small pixel gives to each tap."""
        s = self.shape
        flat = image.inside.reshape(self._small, s.channels)
        torch.mm(flat, rows.rows.view(s.out * self._taps, s.channels).t(), out=self._rows_parts)
        self.parts.copy_(self._rows_parts.view(self._small, s.out, self._taps).transpose(1, 2))
        self.parts *= rows.input_scale

    def take_sums(self, trace: Image | None) -> None:
        """``parts`` are the errors' sums; without a trace, the gradient is zero."""
        s = self.shape
        self._rows_parts.view(self._small, s.out, self._taps).copy_(self.parts.transpose(1, 2))
        if trace is None:
            self._trace.zero_()
        else:
            self._trace.copy_(trace.inside.reshape(self._small, s.channels))

    def make_block(self, block: int) -> Array:
        rows, channels = self._slices[block], self.shape.channels
        error = self._rows_parts.t()[rows.start * self._taps : rows.stop * self._taps]
        torch.mm(error, self._trace, out=self._gradients[block].view(-1, channels))
        return self.blocks[block][1]

    def make_gradient(self) -> Tensor:
        return torch.mm(self._rows_parts.t(), self._trace).view(self.shape.out, self.shape.fan_in)


class CompiledFeedback(CompiledConnection):
    """The feedback connection, without upsampling; see :class:`stream_ottt.network.connection.FeedbackConnection`."""

    def __init__(
        self, like: FeedbackConnection, index: int, small: tuple[int, int, int], border: int, rows: Rows
    ) -> None:
        super().__init__(like, index, (*like.size, small[2]), rows, 0)
        s = self.shape
        self.shape = Shape(s.height, s.width, s.channels, s.kernel, s.out, patches=False)
        self._small, self._small_border = small, border
        self._nearest = [_nearest(a, b) for a, b in zip(small[:2], like.size, strict=True)]
        self._current: Array = np.zeros((s.pixels, s.out), self._ones.dtype)

    def products(self, space: Buffers, make: Callable[[Shape], Products]) -> FeedbackProducts:
        return FeedbackProducts(self.shape, space, self._small[:2])

    def new_saved(self, saved: Saved) -> None:
        saved.room = Image(*self._small, self._small_border, self.dtype)

    def forward(self, x: Image, work: CompiledWork, add: Array | None = None) -> Array:  # type: ignore[override]
        products, rows = work.products[self.index], work.rows[self.index]
        products.make_parts(x, rows)
        parts = products.parts.numpy()
        feedback_kernels.spread(parts, *self._nearest, self.kernel, self._small[1], rows.bias, self._current)
        return self._current

    def presynaptic(self, x: Image, before: Saved | None, saved: Saved) -> Image:
        pre: Image = saved.room
        if before is None or before.fed is None:
            pre.array[:] = x.array
        else:
            neuron_kernels.track(x.array, before.fed.array, pre.array, self.decay)
        return pre

    def learn(self, error: Any, pre: Image | None, sink: GradientSink, work: CompiledWork) -> None:
        products: FeedbackProducts = work.products[self.index]
        times_k, k, bias = error
        feedback_kernels.gather(times_k, k, *self._nearest, self.kernel, self._small[1], products.parts.numpy())
        products.take_sums(pre)
        products.bias[:] = bias if pre is not None else 0
        self.update(products, sink, work)


def _nearest(small: int, large: int) -> Array:
    """The pixel of ``small`` under each of ``large``, as torch's nearest neighbours."""
    ramp = torch.arange(small, dtype=torch.float64).view(1, 1, -1)
    return F.interpolate(ramp, size=large, mode="nearest").view(-1).long().numpy()


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

    def potential(self, neuron: int, threshold: float) -> float:
        """One neuron's membrane potential before reset."""
        return float(self.v.reshape(-1)[neuron] + threshold * (self.spikes()[neuron] > 0))

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


class CompiledPooling:
    """Average pooling; see :class:`stream_ottt.network.pooling.Pooling`."""

    def __init__(self, like: Any, size: tuple[int, int, int], border: int, dtype: torch.dtype) -> None:
        self.size, self.stride, self.padding = like.size, like.stride, like.padding
        self._plain = self.size == self.stride and not self.padding
        self._input = size
        self._dtype = dtype
        height, width = like.output_size(*size[:2])
        self.out = Image(height, width, size[2], border, dtype)

    def new_saved(self, saved: Saved) -> None:
        """A buffer for the error below."""
        saved.below = Delta(torch.zeros(*self._input, dtype=self._dtype))

    def forward(self, x: Image) -> Image:
        out = self.out
        if self._plain:
            pixel_kernels.pool(x.array, self.size, out.array, out.border)
        else:
            pixel_kernels.pool_overlapping(x.array, self.size, self.stride, self.padding, out.array, out.border)
        return out

    def backward(self, delta: Delta, saved: Saved, shape: Any) -> Delta:
        below: Delta = saved.below
        if self._plain:
            pixel_kernels.unpool(delta.array, self.size, below.array)
        else:
            pixel_kernels.unpool_overlapping(delta.array, self.size, self.stride, self.padding, below.array)
        return below


class CompiledFeatures:
    """What a read-out reads; see :class:`stream_ottt.network.pooling.Features`."""

    def __init__(self, like: Any, size: tuple[int, int, int], dtype: torch.dtype) -> None:
        self.pool = like.pool
        self._input, self._dtype = size, dtype
        height, width, channels = size
        self.out = Image(1, 1, channels if self.pool else height * width * channels, 0, dtype)

    def new_saved(self, saved: Saved) -> None:
        """A buffer for the error below."""
        saved.below = Delta(torch.zeros(*self._input, dtype=self._dtype))

    def forward(self, x: Image) -> Image:
        if self.pool:
            pixel_kernels.mean_pixels(x.array, self.out.array[0, 0])
        else:
            ordered = x.inside.permute(2, 0, 1)  # the order of the weights
            self.out.inside.view(ordered.shape).copy_(ordered)
        return self.out

    def backward(self, delta: Delta, saved: Saved, shape: Any) -> Delta:
        below: Delta = saved.below
        if self.pool:
            pixel_kernels.spread(delta.rows[0], below.array)
        else:
            height, width, channels = self._input
            below.tensor.copy_(delta.tensor.view(channels, height, width).permute(1, 2, 0))
        return below


class GainSet:
    """One set of a skip gain."""

    standardized = False

    def __init__(self, parameters: dict[str, Tensor]) -> None:
        self.parameters = parameters
        self.array: Array = parameters["gain"].numpy()

    def copy(self) -> GainSet:
        """A second set."""
        return GainSet({"gain": self.parameters["gain"].clone()})

    def refresh(self, *, centred: bool) -> None:
        """Nothing follows from it."""


class CompiledSkip:
    """The gain of a residual block; see :class:`stream_ottt.network.connection.SkipGain`."""

    decay = None
    stale = False
    shape = None

    def __init__(self, like: SkipGain, index: int, size: tuple[int, int, int], rows: GainSet, border: int) -> None:
        self.name, self.factor, self.index = like.name, like.factor, index
        self._size = size
        dtype = rows.parameters["gain"].dtype
        self.out = Image(*size, border, dtype)
        self._dtype = dtype
        self._gradient: Array = np.zeros(1, rows.array.dtype)
        self.use(rows)
        self.slots = Slots(self.name, self.parameters)

    def use(self, rows: GainSet) -> None:
        """This is the gain in use."""
        self.parameters = rows.parameters

    def weights_changed(self, *, centred: bool = False) -> None:
        """Nothing follows from it."""

    def new_saved(self, saved: Saved) -> None:
        """A buffer for the branch's output."""
        saved.residual = torch.zeros(*self._size, dtype=self._dtype)

    def keep(self, residual: Image, saved: Saved) -> Tensor:
        kept: Tensor = saved.residual
        return kept.copy_(residual.inside)

    def value(self, work: CompiledWork) -> float:
        return self.factor * float(work.rows[self.index].array[0])

    def forward(self, shortcut: Image, residual: Image, work: CompiledWork) -> Image:
        torch.add(shortcut.inside, residual.inside, alpha=self.value(work), out=self.out.inside)
        return self.out

    def add(self, a: Delta, b: Delta) -> Delta:
        a.tensor += b.tensor
        return a

    def learn(self, delta: Delta, residual: Tensor, sink: GradientSink, work: CompiledWork) -> None:
        rows: GainSet = work.rows[self.index]
        gradient = torch.dot(delta.tensor.view(-1), residual.view(-1)).mul(self.factor).view(1)
        if isinstance(sink, FusedStep):
            self.slots.adopt(sink, centre=False)
            update_vector(rows.array, work.into[self.index].array, self.slots.gain, gradient.numpy(), sink)
        else:
            sink.update(f"{self.name}gain", rows.parameters["gain"], gradient)
