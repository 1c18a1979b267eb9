"""The feedback connection of one stream on a CPU, without upsampling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stream_ottt.compiled import Array
from stream_ottt.engine import feedback_kernels, neuron_kernels
from stream_ottt.engine.connection import CompiledConnection, CompiledWork
from stream_ottt.engine.images import Image
from stream_ottt.engine.products import Buffers, Products, Shape
from stream_ottt.engine.rows import Rows
from stream_ottt.network.connection import FeedbackConnection
from stream_ottt.network.optimizer import GradientSink
from stream_ottt.network.saved import Saved


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
