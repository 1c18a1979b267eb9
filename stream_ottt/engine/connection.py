"""A connection of one stream on a CPU: a convolution as matrix products, or a dense product."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from stream_ottt.compiled import Array
from stream_ottt.engine import neuron_kernels, spike_kernels
from stream_ottt.engine.images import Delta, Image
from stream_ottt.engine.neurons import Derivative
from stream_ottt.engine.products import Buffers, Products, Shape
from stream_ottt.engine.rows import FusedStep, Rows, Slots
from stream_ottt.network.connection import Connection
from stream_ottt.network.optimizer import GradientSink
from stream_ottt.network.saved import Saved

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
        out = len(rows.array)
        self.shape = Shape.of(like, size, out)
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
        transpose.wanted = products.transposed or sparse + TRANSPOSING * s.channels <= dense
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
        error.pass_down(work.rows[self.index], below)
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
