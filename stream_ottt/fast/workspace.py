"""Flat buffers for what is needed only within one layer's turn, shared by all layers; one workspace per thread.

This is why learning needs no gradient buffers for the whole network: each layer's gradient is made, used, and
overwritten by the next layer's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from stream_ottt.fast.kernels import Array

Precision = Literal["float32", "bf16-backward", "bf16"]

BLOCK = 600_000
"""Numbers of a gradient that are made at a time: 2.4 MB of float32, about a core's own cache."""


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
        exact: the forward product is in full precision.
    """

    exact = True

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
        self._slices = [slice(first, min(first + rows, s.out)) for first in range(0, s.out, rows)]
        self._gradients = [space.gradient[: (x.stop - x.start) * s.fan_in].view(-1, s.fan_in) for x in self._slices]
        self.blocks: list[tuple[int, Array]] = [
            (x.start, g.numpy()) for x, g in zip(self._slices, self._gradients, strict=True)
        ]
        self.bias, self.along, self.gain = space.vectors[:, : s.out].numpy()
        self.found: Array = space.found

    def make_current(self, patches: Tensor, weights: Tensor) -> None:
        """``current`` [pixels, out] = patches · Wᵀ, given Wᵀ [fan_in, out]."""
        self._patches.copy_(patches)
        torch.mm(self._columns, weights, out=self._error)

    def make_columns(self, weights: Tensor) -> None:
        """``columns`` [pixels, fan_in] = error · W, the error per patch, given W [out, fan_in]."""
        torch.mm(self._error, weights, out=self._columns)

    def take_trace(self, patches: Tensor) -> None:
        """Hold the patches of the trace ready for :meth:`make_block` or :meth:`make_gradient`."""
        self._patches.copy_(patches)

    def make_block(self, block: int) -> None:
        """A block of rows of the gradient [out, fan_in] = errorᵀ · patches of the trace.

        A few rows at a time, they are still in the cache when the update reads them.
        """
        torch.mm(self._error_rows[self._slices[block]], self._columns, out=self._gradients[block])

    def make_gradient(self) -> Tensor:
        """All rows of the gradient, in memory of their own."""
        return torch.mm(self._error_rows, self._columns)


class HalfTurn(Turn):
    """The products in bfloat16, all of them or only those of the backward pass; everything between stays float32."""

    def __init__(self, shape: Shape, space: Workspace, *, forward: bool) -> None:
        super().__init__(shape, space)
        s = shape
        self.exact = not forward
        self._half_columns = space.half_columns[: s.pixels * s.fan_in].view(s.pixels, s.fan_in)
        self._half_patches = self._half_columns.view(self._four)
        self._half_error = space.half_error[: s.pixels * s.out].view(s.pixels, s.out)

    def make_current(self, patches: Tensor, weights: Tensor) -> None:
        if self.exact:
            super().make_current(patches, weights)
            return
        self._half_patches.copy_(patches)
        torch.mm(self._half_columns, weights.bfloat16(), out=self._half_error)
        self._error.copy_(self._half_error)

    def make_columns(self, weights: Tensor) -> None:
        self._half_error.copy_(self._error)
        torch.mm(self._half_error, weights.bfloat16(), out=self._half_columns)
        self._columns.copy_(self._half_columns)

    def take_trace(self, patches: Tensor) -> None:
        self._half_error.copy_(self._error)
        self._half_patches.copy_(patches)

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
        precision: of the matrix products.
    """

    def __init__(self, shapes: Sequence[Shape | None], dtype: torch.dtype, precision: Precision) -> None:
        given = [s for s in shapes if s is not None]
        columns = max(s.pixels * s.fan_in for s in given)
        error = max(s.pixels * s.out for s in given)
        self.columns = torch.zeros(columns, dtype=dtype)
        self.error = torch.zeros(error, dtype=dtype)
        self.gradient = torch.zeros(max(BLOCK, *(s.fan_in for s in given)), dtype=dtype)
        self.vectors = torch.zeros(3, max(s.out for s in given), dtype=dtype)
        inputs = max((s.height + s.kernel) * (s.width + s.kernel) * s.channels for s in given)
        self.found: Array = np.zeros(inputs + 1, np.int32)
        if precision != "float32":
            self.half_columns = torch.zeros(columns, dtype=torch.bfloat16)
            self.half_error = torch.zeros(error, dtype=torch.bfloat16)
        self._precision = precision
        self.turns = [None if s is None else self._turn(s) for s in shapes]

    def _turn(self, shape: Shape) -> Turn:
        if self._precision == "float32":
            return Turn(shape, self)
        return HalfTurn(shape, self, forward=self._precision == "bf16")
