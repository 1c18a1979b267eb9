"""The matrix products of one connection, over flat buffers that all connections share; one workspace per thread.

This is why learning needs no gradient buffers for the whole network: each connection's gradient is made, used, and
overwritten by the next one's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from stream_ottt.compiled import Array
from stream_ottt.engine import pixel_kernels
from stream_ottt.engine.images import Delta, Image
from stream_ottt.engine.precision import Rounding, one_dnn, one_dnn_is_faster

if TYPE_CHECKING:
    from stream_ottt.engine.rows import Rows
    from stream_ottt.network.connection import Connection

BLOCK = 600_000
"""Numbers of a gradient that are made at a time: 2.4 MB of float32, about a core's own cache."""

LARGE = 2**22
"""Multiplications from which on a product is large enough for oneDNN, whose calls take some microseconds more."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of one convolution.

    Attributes:
        height, width: of its output.
        channels: of its input.
        kernel: edge of a patch.
        out: output channels.
        stride: from one patch to the next.
        patches: whether its products are with patches.
    """

    height: int
    width: int
    channels: int
    kernel: int
    out: int
    stride: int = 1
    patches: bool = True

    @classmethod
    def of(cls, like: Connection, size: tuple[int, int, int], out: int) -> Shape:
        """Those of a convolution from ``size`` (height, width, channels) to ``out`` channels."""
        height, width, channels = size
        return cls(
            -(-height // like.stride), -(-width // like.stride), channels, 2 * like.padding + 1, out, like.stride
        )

    @property
    def pixels(self) -> int:
        return self.height * self.width

    @property
    def work(self) -> int:
        """Multiplications of one product; none of patches for a feedback connection."""
        return self.pixels * self.fan_in * self.out if self.patches else 0

    @property
    def outer(self) -> bool:
        """One pixel: its products are outer ones, or with one row, and bound by memory in any format."""
        return self.pixels == 1

    @property
    def fan_in(self) -> int:
        return self.channels * self.kernel**2


class Buffers:
    """Flat buffers as large as the largest connection needs: patches, error, a block of a gradient, vectors, indices.

    Args:
        shapes: of the connections.
        dtype: of the numbers.
    """

    def __init__(self, shapes: Sequence[Shape], dtype: torch.dtype) -> None:
        patched = [s for s in shapes if s.patches]
        self.columns = torch.zeros(max(s.pixels * s.fan_in for s in patched), dtype=dtype)
        self.error = torch.zeros(max(s.pixels * s.out for s in shapes), dtype=dtype)
        self.gradient = torch.zeros(max(BLOCK, *(s.fan_in for s in shapes)), dtype=dtype)
        self.vectors = torch.zeros(3, max(s.out for s in shapes), dtype=dtype)
        inputs = max((s.height * s.stride + s.kernel) * (s.width * s.stride + s.kernel) * s.channels for s in patched)
        self.found: Array = np.zeros(inputs + 1, np.int32)


class Products:
    """One connection's views into a thread's buffers, and its three matrix products.

    A convolution is a product with the patches of its image (im2col). Channels last, a patch is ``kernel`` runs of
    kernel·channels numbers, so taking patches is a cheap strided copy, and the product runs at the speed of the BLAS.

    Attributes:
        shape: of the connection.
        columns: patches, [pixels, fan_in].
        error: at the membrane, [pixels, out]; in the forward pass, room for a current.
        blocks: the gradient of the weights a few rows at a time: (first row, buffer [rows, fan_in]).
        bias, along, gain: gradient of the bias, what the gain's follows from, gradient of the gain, [out].
        found: indices of active inputs.
    """

    dense = 1.0
    """Time of a dense product in the forward pass, in units of that of float32."""

    transposed = False
    """Whether it is with Wᵀ laid out anew, :class:`stream_ottt.engine.rows.Transpose`."""

    def __init__(self, shape: Shape, space: Buffers) -> None:
        s = shape
        self._four = (s.height, s.width, s.kernel, s.kernel * s.channels)
        self.shape = shape
        if s.patches:
            self._columns = space.columns[: s.pixels * s.fan_in].view(s.pixels, s.fan_in)
            self._patches = self._columns.view(self._four)
            self.columns: Array = self._columns.numpy()
        self._error = space.error[: s.pixels * s.out].view(s.pixels, s.out)
        self._error_rows = self._error.t()
        self.error: Array = self._error.numpy()
        self._slices = parts(s.out, max(space.gradient.numel() // s.fan_in, 1))
        self._gradients = [space.gradient[: (x.stop - x.start) * s.fan_in].view(-1, s.fan_in) for x in self._slices]
        self._error_parts = [self._error_rows[x] for x in self._slices]
        self.blocks: list[tuple[int, Array]] = [
            (x.start, g.numpy()) for x, g in zip(self._slices, self._gradients, strict=True)
        ]
        self.bias, self.along, self.gain = space.vectors[:, : s.out].numpy()
        self.found: Array = space.found

    def make_current(self, image: Image, rows: Rows) -> Array:
        """Patches · Wᵀ [pixels, out], to be overwritten by who takes it."""
        self._patches.copy_(image.patches(self.shape.kernel, self.shape.stride))
        torch.mm(self._columns, rows.columns, out=self._error)
        return self.error

    def take_error(self) -> None:
        """``error`` is filled in: bring it into the form in which it is multiplied."""

    def make_columns(self, rows: Rows) -> Array:
        """error · W [pixels, fan_in], the error per patch."""
        torch.mm(self._error, rows.rows, out=self._columns)
        return self.columns

    def pass_down(self, rows: Rows, below: Delta) -> None:
        """The error of the image below: error · W, folded."""
        columns, s = self.make_columns(rows), self.shape
        if s.stride == 1:
            pixel_kernels.fold(columns, s.kernel, below.array)
        else:
            pixel_kernels.fold_strided(columns, s.kernel, s.stride, below.array)

    def take_trace(self, trace: Image) -> None:
        """Hold the patches of the trace ready for :meth:`make_block` or :meth:`make_gradient`."""
        self._patches.copy_(trace.patches(self.shape.kernel, self.shape.stride))

    def make_block(self, block: int) -> Array:
        """A block of rows of the gradient [out, fan_in] = errorᵀ · patches of the trace, to be overwritten.

        A few rows at a time, they are still in the cache when the update reads them.
        """
        torch.mm(self._error_parts[block], self._columns, out=self._gradients[block])
        return self.blocks[block][1]

    def make_gradient(self) -> Tensor:
        """All rows of the gradient, in memory of their own."""
        return torch.mm(self._error_rows, self._columns)


class OneDnnProducts(Products):
    """Products of float32 by oneDNN, which some processors multiply faster with; it gives memory of its own."""

    def __init__(self, shape: Shape, space: Buffers) -> None:
        super().__init__(shape, space)
        self._pixels = parts(shape.pixels, max(4 * BLOCK // shape.fan_in, 1))

    def make_current(self, image: Image, rows: Rows) -> Array:
        self._patches.copy_(image.patches(self.shape.kernel, self.shape.stride))
        return one_dnn(self._columns, rows.rows).numpy()

    def make_columns(self, rows: Rows) -> Array:
        if len(self._pixels) == 1:
            return one_dnn(self._error, rows.columns).numpy()
        for pixels in self._pixels:  # of a large image some at a time, so that what oneDNN allocates stays small
            self._columns[pixels] = one_dnn(self._error[pixels], rows.columns)
        return self.columns

    def make_block(self, block: int) -> Array:
        return one_dnn(self._error_parts[block], self._columns.t()).numpy()

    def make_gradient(self) -> Tensor:
        return one_dnn(self._error_rows, self._columns.t())


def parts(whole: int, most: int) -> list[slice]:
    """0 to ``whole`` in slices of at most ``most``."""
    return [slice(first, min(first + most, whole)) for first in range(0, whole, most)]


def may_round(shape: Shape, dtype: torch.dtype) -> bool:
    """Whether rounded operands can gain anything: not where memory is the bound, nor where there are no patches."""
    return shape.patches and not shape.outer and not _is_direct(shape, dtype)


def products_over(space: Buffers, shapes: Sequence[Shape], rounding: Rounding) -> Callable[[Shape], Products]:
    """What makes the products of each of the shapes over ``space``."""
    dtype = space.error.dtype
    large = OneDnnProducts if dtype == torch.float32 and one_dnn_is_faster() else Products
    wide = {s for s in shapes if rounding.reduced and may_round(s, dtype)}
    if wide:
        from stream_ottt.engine.bfloat16 import BFloat16Buffers, BFloat16Products

        half = BFloat16Buffers(list(wide))

    def make(shape: Shape) -> Products:
        if shape in wide:
            return BFloat16Products(shape, space, half, forward=rounding.forward)
        if _is_direct(shape, dtype):
            from stream_ottt.engine.direct import DirectProducts

            return DirectProducts(shape, space)
        return (large if shape.work >= LARGE else Products)(shape, space)

    return make


def _is_direct(shape: Shape, dtype: torch.dtype) -> bool:
    from stream_ottt.engine import direct

    return direct.has_the_registers() and direct.fits(shape, dtype)
