"""Flat buffers for what is needed only within one layer's turn, shared by all layers; one workspace per thread.

This is why learning needs no gradient buffers for the whole network: each layer's gradient is made, used, and
overwritten by the next layer's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from stream_ottt.fast import rounding_kernels
from stream_ottt.fast.images import Image
from stream_ottt.fast.jit import Array
from stream_ottt.fast.precision import Products

BLOCK = 600_000
"""Numbers of a gradient that are made at a time: 2.4 MB of float32, about a core's own cache."""


WEIGHTS = 150_000
"""Weights that are widened at a time: 0.6 MB of float32, a third of such a cache."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of one convolution.

    Attributes:
        height, width: of its image.
        channels: of its input.
        kernel: edge of a patch.
        out: output channels.
    """

    height: int
    width: int
    channels: int
    kernel: int
    out: int

    @property
    def pixels(self) -> int:
        return self.height * self.width

    @property
    def fan_in(self) -> int:
        return self.channels * self.kernel**2


class Weights(Protocol):
    """The weights of a layer.

    Attributes:
        rows: W [out, fan_in].
        half: W as bfloat16, where a product wants it rounded; ``bits`` is its memory, uint16.
    """

    rows: Tensor
    half: Tensor
    bits: Array


class Turn:
    """One layer's views into a workspace, and the three matrix products of its turn.

    A convolution is a product with the patches of its image (im2col). Channels last, a patch is ``kernel`` runs of
    kernel·channels numbers, so taking patches is a cheap strided copy, and the product runs at the speed of the BLAS.

    Attributes:
        columns: patches, [pixels, fan_in].
        error: at the membrane, [pixels, out]; ``current`` is the same memory, for the forward pass.
        blocks: the gradient of the weights a few rows at a time: (first row, buffer [rows, fan_in]).
        bias, along, gain: gradient of the bias, what the gain's follows from, gradient of the gain, [out].
        found: indices of active inputs.
    """

    def __init__(self, shape: Shape, space: Workspace) -> None:
        s = shape
        self._four = (s.height, s.width, s.kernel, s.kernel * s.channels)
        self._columns = space.columns[: s.pixels * s.fan_in].view(s.pixels, s.fan_in)
        self._patches = self._columns.view(self._four)
        self._error = space.error[: s.pixels * s.out].view(s.pixels, s.out)
        self._error_rows = self._error.t()
        self.columns: Array = self._columns.numpy()
        self.error: Array = self._error.numpy()
        self.current: Array = self.error
        rows = max(space.gradient.numel() // s.fan_in, 1)
        self._slices = parts(s.out, rows)
        self._gradients = [space.gradient[: (x.stop - x.start) * s.fan_in].view(-1, s.fan_in) for x in self._slices]
        self.blocks: list[tuple[int, Array]] = [
            (x.start, g.numpy()) for x, g in zip(self._slices, self._gradients, strict=True)
        ]
        self.bias, self.along, self.gain = space.vectors[:, : s.out].numpy()
        self.found: Array = space.found

    def make_current(self, image: Image, weights: Weights) -> None:
        """``current`` [pixels, out] = patches · Wᵀ."""
        self._patches.copy_(image.patches)
        torch.mm(self._columns, weights.rows.t(), out=self._error)

    def make_columns(self, weights: Weights) -> None:
        """``columns`` [pixels, fan_in] = error · W, the error per patch."""
        torch.mm(self._error, weights.rows, out=self._columns)

    def take_trace(self, trace: Image) -> None:
        """Hold the patches of the trace ready for :meth:`make_block` or :meth:`make_gradient`."""
        self._patches.copy_(trace.patches)

    def make_block(self, block: int) -> None:
        """A block of rows of the gradient [out, fan_in] = errorᵀ · patches of the trace.

        A few rows at a time, they are still in the cache when the update reads them.
        """
        torch.mm(self._error_rows[self._slices[block]], self._columns, out=self._gradients[block])

    def make_gradient(self) -> Tensor:
        """All rows of the gradient, in memory of their own."""
        return torch.mm(self._error_rows, self._columns)


class RoundedTurn(Turn):
    """Products of numbers rounded to bfloat16, as float32: where bfloat16 itself is slow.

    Weights are widened a part at a time, which is still in the cache when it is multiplied: less is read from memory
    than of float32. An image is rounded before its patches are taken, which are nine times as many numbers.
    """

    def __init__(self, shape: Shape, space: Workspace, *, forward: bool) -> None:
        super().__init__(shape, space)
        s = shape
        self._forward = forward
        self._rounded = Image(s.height, s.width, s.channels, s.kernel // 2, space.error.dtype)
        room = space.weights
        most_in, most_out = (max(room.numel() // n // 32 * 32, 1) for n in (s.out, s.fan_in))
        self._in = []
        for x in parts(s.fan_in, most_in):
            part = room[: s.out * (x.stop - x.start)].view(s.out, -1)
            self._in.append((x.start, part, part.numpy(), self._columns[:, x]))
        self._out = []
        for x in parts(s.out, most_out):
            part = room[: (x.stop - x.start) * s.fan_in].view(-1, s.fan_in)
            self._out.append((x.start, part.t(), part.numpy(), self._error[:, x]))

    def make_current(self, image: Image, weights: Weights) -> None:
        if not self._forward:
            super().make_current(image, weights)
            return
        self._patches.copy_(self._round(image).patches)
        for first, part, array, current in self._out:
            rounding_kernels.widen(weights.bits, first, 0, array)
            torch.mm(self._columns, part, out=current)

    def make_columns(self, weights: Weights) -> None:
        rounding_kernels.round_half(self.error, self.error)
        for first, part, array, columns in self._in:
            rounding_kernels.widen(weights.bits, 0, first, array)
            torch.mm(self._error, part, out=columns)

    def take_trace(self, trace: Image) -> None:
        rounding_kernels.round_half(self.error, self.error)
        super().take_trace(self._round(trace))

    def _round(self, image: Image) -> Image:
        rounding_kernels.round_half(image.array, self._rounded.array)
        return self._rounded


class HalfTurn(Turn):
    """Products of bfloat16 by the library; everything between stays float32."""

    def __init__(self, shape: Shape, space: Workspace, *, forward: bool) -> None:
        super().__init__(shape, space)
        s = shape
        self._forward = forward
        self._half_columns = space.half_columns[: s.pixels * s.fan_in].view(s.pixels, s.fan_in)
        self._half_patches = self._half_columns.view(self._four)
        self._half_error = space.half_error[: s.pixels * s.out].view(s.pixels, s.out)

    def make_current(self, image: Image, weights: Weights) -> None:
        if not self._forward:
            super().make_current(image, weights)
            return
        self._half_patches.copy_(image.patches)
        torch.mm(self._half_columns, weights.half.t(), out=self._half_error)
        self._error.copy_(self._half_error)

    def make_columns(self, weights: Weights) -> None:
        self._half_error.copy_(self._error)
        torch.mm(self._half_error, weights.half, out=self._half_columns)
        self._columns.copy_(self._half_columns)

    def take_trace(self, trace: Image) -> None:
        self._half_error.copy_(self._error)
        self._half_patches.copy_(trace.patches)

    def make_block(self, block: int) -> None:
        rows = self._half_error.t()[self._slices[block]]
        self._gradients[block].copy_(torch.mm(rows, self._half_columns))

    def make_gradient(self) -> Tensor:
        return torch.mm(self._half_error.t(), self._half_columns).to(self._error.dtype)


class Workspace:
    """The buffers of one thread, as large as the largest layer needs.

    Args:
        shapes: of each layer; None for one without weights.
        dtype: of the buffers.
        products: how their operands are rounded.
    """

    def __init__(self, shapes: Sequence[Shape | None], dtype: torch.dtype, products: Products) -> None:
        given = [s for s in shapes if s is not None]
        columns = max(s.pixels * s.fan_in for s in given)
        error = max(s.pixels * s.out for s in given)
        self.columns = torch.zeros(columns, dtype=dtype)
        self.error = torch.zeros(error, dtype=dtype)
        self.gradient = torch.zeros(max(BLOCK, *(s.fan_in for s in given)), dtype=dtype)
        self.vectors = torch.zeros(3, max(s.out for s in given), dtype=dtype)
        inputs = max((s.height + s.kernel) * (s.width + s.kernel) * s.channels for s in given)
        self.found: Array = np.zeros(inputs + 1, np.int32)
        if products.native:
            self.half_columns = torch.zeros(columns, dtype=torch.bfloat16)
            self.half_error = torch.zeros(error, dtype=torch.bfloat16)
        elif products.backward:
            most = max(max(s.out, s.fan_in) for s in given)
            self.weights = torch.zeros(max(WEIGHTS, most), dtype=dtype)
        self._products = products
        self.turns = [None if s is None else self._turn(s) for s in shapes]

    def _turn(self, shape: Shape) -> Turn:
        if not self._products.backward:
            return Turn(shape, self)
        kind = HalfTurn if self._products.native else RoundedTurn
        return kind(shape, self, forward=self._products.forward)


def parts(whole: int, most: int) -> list[slice]:
    """0 to ``whole`` in slices of at most ``most``."""
    return [slice(first, min(first + most, whole)) for first in range(0, whole, most)]
