"""Products of float16, by kernels for processors that have AVX512-FP16; everything between stays float32.

Operands are scaled by powers of two, so that the largest ones are far from the ends of float16's range and no sum of
STEPS products can leave it: weights by their root mean square, errors and images by their largest number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stream_ottt.fast import float16_kernels
from stream_ottt.fast.float16_kernels import DEPTH, PANELS
from stream_ottt.fast.float16_tiles import ROWS, WIDTH
from stream_ottt.fast.images import Image
from stream_ottt.fast.jit import Array
from stream_ottt.fast.turn import Buffers, Shape, Turn
from stream_ottt.fast.weights import Rows

LARGEST_ERROR, LARGEST_INPUT, MEAN_WEIGHT = 16.0, 2.0, 1 / 16


class Float16Buffers:
    """Operands as float16, as large as the largest layer needs.

    Attributes:
        columns: patches of the trace.
        pair_columns, pair_error: patches of the image, and the error at the membrane, each number twice in 32 bits.
        room: for some weights; ``edge``: for a tile.
    """

    def __init__(self, shapes: Sequence[Shape]) -> None:
        # A tile reads some rows and columns beyond the end, which are not used.
        beyond = ROWS * max(max(s.fan_in, s.out) for s in shapes) + WIDTH
        columns = max(s.pixels * s.fan_in for s in shapes) + beyond
        error = max(s.pixels * s.out for s in shapes) + beyond
        self.columns = torch.zeros(columns, dtype=torch.int16)
        self.pair_columns = torch.zeros(columns, dtype=torch.int32)
        self.pair_error: Array = np.zeros(error, np.uint32)
        self.room: Array = np.zeros((PANELS, DEPTH, WIDTH), np.uint16)
        self.edge: Array = np.zeros((ROWS, WIDTH), np.float32)


class Float16Turn(Turn):
    """A turn whose products are of float16; with ``forward``, that of the forward pass too."""

    def __init__(self, shape: Shape, space: Buffers, half: Float16Buffers, *, forward: bool) -> None:
        super().__init__(shape, space)
        s = shape
        self._forward = forward
        self._edge, self._room = half.edge, half.room
        self._pairs: Array = half.pair_error[: s.pixels * s.out].reshape(s.pixels, s.out)
        columns = half.columns[: s.pixels * s.fan_in]
        self._trace = Image(s.height, s.width, s.channels, s.kernel // 2, torch.int16)
        self._trace_patches = columns.view(self._four)
        self._trace_columns: Array = columns.view(s.pixels, s.fan_in).numpy().view(np.uint16)
        self._error_scale = self._trace_scale = 1.0
        if forward:
            self.dense = 0.6
            self._image = Image(s.height, s.width, s.channels, s.kernel // 2, torch.int32)
            columns = half.pair_columns[: s.pixels * s.fan_in]
            self._pair_patches = columns.view(self._four)
            self._pair_columns: Array = columns.view(s.pixels, s.fan_in).numpy().view(np.uint32)

    def make_current(self, image: Image, rows: Rows) -> None:
        if not self._forward:
            super().make_current(image, rows)
            return
        scale = float16_kernels.fitting(image.array, LARGEST_INPUT)
        float16_kernels.twice(image.array, scale, self._image.array.view(np.uint32))
        self._pair_patches.copy_(self._image.patches)
        factor = weight_scale(rows)
        float16_kernels.multiply_transposed(
            self._pair_columns, rows.array, factor, self.current, 1 / (scale * factor), self._edge, self._room
        )

    def take_error(self) -> None:
        self._error_scale = float16_kernels.fitting(self.error, LARGEST_ERROR)
        float16_kernels.twice(self.error, self._error_scale, self._pairs)

    def make_columns(self, rows: Rows) -> None:
        factor = weight_scale(rows)
        scale = 1 / (self._error_scale * factor)
        float16_kernels.multiply_rows(self._pairs, rows.array, factor, self.columns, scale, self._edge, self._room)

    def take_trace(self, trace: Image) -> None:
        self._trace_scale = float16_kernels.fitting(trace.array, LARGEST_INPUT)
        float16_kernels.halves(trace.array, self._trace_scale, self._trace.array.view(np.uint16))
        self._trace_patches.copy_(self._trace.patches)

    def make_block(self, block: int) -> None:
        self._multiply_trace(self._slices[block], self.blocks[block][1])

    def make_gradient(self) -> Tensor:
        gradient = torch.zeros(self.shape.out, self.shape.fan_in)
        self._multiply_trace(slice(0, self.shape.out), gradient.numpy())
        return gradient

    def _multiply_trace(self, rows: slice, out: Array) -> None:
        scale = 1 / (self._error_scale * self._trace_scale)
        float16_kernels.multiply(self._pairs.T[rows], self._trace_columns, out, scale, self._edge)


def weight_scale(rows: Rows) -> float:
    """The power of two that brings the largest root mean square of a row to about MEAN_WEIGHT."""
    mean = float(np.sqrt(rows.squares.max() / rows.array.shape[1]))
    return float(float16_kernels.power_of_two(MEAN_WEIGHT, mean))
