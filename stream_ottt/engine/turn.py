"""The matrix products of one layer's turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from stream_ottt.compiled import Array
from stream_ottt.engine.images import Image

if TYPE_CHECKING:
    from stream_ottt.engine.weights import Rows

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
    def outer(self) -> bool:
        """One pixel: its products are outer ones, or with one row, and bound by memory in any format."""
        return self.pixels == 1

    @property
    def fan_in(self) -> int:
        return self.channels * self.kernel**2


class Buffers(Protocol):
    """Flat buffers as large as the largest layer needs: patches, error, a block of a gradient, vectors, indices."""

    columns: Tensor
    error: Tensor
    gradient: Tensor
    vectors: Tensor
    found: Array


class Turn:
    """One layer's views into a workspace, and the three matrix products of its turn.

    A convolution is a product with the patches of its image (im2col). Channels last, a patch is ``kernel`` runs of
    kernel·channels numbers, so taking patches is a cheap strided copy, and the product runs at the speed of the BLAS.

    Attributes:
        shape: of the layer.
        columns: patches, [pixels, fan_in].
        error: at the membrane, [pixels, out]; ``current`` is the same memory, for the forward pass.
        blocks: the gradient of the weights a few rows at a time: (first row, buffer [rows, fan_in]).
        bias, along, gain: gradient of the bias, what the gain's follows from, gradient of the gain, [out].
        found: indices of active inputs.
    """

    dense = 1.0
    """Time of a dense product in the forward pass, in units of that of float32."""

    def __init__(self, shape: Shape, space: Buffers) -> None:
        s = shape
        self._four = (s.height, s.width, s.kernel, s.kernel * s.channels)
        self.shape = shape
        self._columns = space.columns[: s.pixels * s.fan_in].view(s.pixels, s.fan_in)
        self._patches = self._columns.view(self._four)
        self._error = space.error[: s.pixels * s.out].view(s.pixels, s.out)
        self._error_rows = self._error.t()
        self.columns: Array = self._columns.numpy()
        self.error: Array = self._error.numpy()
        self.current: Array = self.error
        self._slices = parts(s.out, max(space.gradient.numel() // s.fan_in, 1))
        self._gradients = [space.gradient[: (x.stop - x.start) * s.fan_in].view(-1, s.fan_in) for x in self._slices]
        self.blocks: list[tuple[int, Array]] = [
            (x.start, g.numpy()) for x, g in zip(self._slices, self._gradients, strict=True)
        ]
        self.bias, self.along, self.gain = space.vectors[:, : s.out].numpy()
        self.found: Array = space.found

    def make_current(self, image: Image, rows: Rows) -> None:
        """``current`` [pixels, out] = patches · Wᵀ."""
        self._patches.copy_(image.patches)
        torch.mm(self._columns, rows.rows.t(), out=self._error)

    def take_error(self) -> None:
        """``error`` is filled in: bring it into the form in which it is multiplied."""

    def make_columns(self, rows: Rows) -> None:
        """``columns`` [pixels, fan_in] = error · W, the error per patch."""
        torch.mm(self._error, rows.rows, out=self._columns)

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


def parts(whole: int, most: int) -> list[slice]:
    """0 to ``whole`` in slices of at most ``most``."""
    return [slice(first, min(first + most, whole)) for first in range(0, whole, most)]
