"""Products of bfloat16 by the library; everything between stays float32."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stream_ottt.compiled import Array
from stream_ottt.engine.images import Image
from stream_ottt.engine.products import Buffers, Products, Shape
from stream_ottt.engine.rows import Rows


class BFloat16Buffers:
    """Patches and errors as bfloat16, as large as the largest connection needs."""

    def __init__(self, shapes: Sequence[Shape]) -> None:
        self.columns = torch.zeros(max(s.pixels * s.fan_in for s in shapes), dtype=torch.bfloat16)
        self.error = torch.zeros(max(s.pixels * s.out for s in shapes), dtype=torch.bfloat16)


class BFloat16Products(Products):
    """Products of bfloat16; with ``forward``, that of the forward pass too."""

    def __init__(self, shape: Shape, space: Buffers, half: BFloat16Buffers, *, forward: bool) -> None:
        super().__init__(shape, space)
        s = shape
        self._forward = forward
        self._half_columns = half.columns[: s.pixels * s.fan_in].view(s.pixels, s.fan_in)
        self._half_patches = self._half_columns.view(self._four)
        self._half_error = half.error[: s.pixels * s.out].view(s.pixels, s.out)

    def make_current(self, image: Image, rows: Rows) -> Array:
        if not self._forward:
            return super().make_current(image, rows)
        self._half_patches.copy_(image.patches(self.shape.kernel, self.shape.stride))
        assert rows.half is not None
        torch.mm(self._half_columns, rows.half.t(), out=self._half_error)
        self._error.copy_(self._half_error)
        return self.error

    def take_error(self) -> None:
        self._half_error.copy_(self._error)

    def make_columns(self, rows: Rows) -> Array:
        assert rows.half is not None
        torch.mm(self._half_error, rows.half, out=self._half_columns)
        self._columns.copy_(self._half_columns)
        return self.columns

    def take_trace(self, trace: Image) -> None:
        self._half_patches.copy_(trace.patches(self.shape.kernel, self.shape.stride))

    def make_block(self, block: int) -> Array:
        rows = self._half_error.t()[self._slices[block]]
        self._gradients[block].copy_(torch.mm(rows, self._half_columns))
        return self.blocks[block][1]

    def make_gradient(self) -> Tensor:
        return torch.mm(self._half_error.t(), self._half_columns).to(self._error.dtype)
