"""Products of small convolutions without patches, where the processor has registers for it.

What the BLAS gains by reordering large matrices is lost on small ones, and taking their patches and folding them takes
as long as the products. Here each product reads the padded image itself.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from stream_ottt.compiled import Array
from stream_ottt.engine import direct_kernels, spike_kernels
from stream_ottt.engine.images import Delta, Image
from stream_ottt.engine.products import BLOCK, LARGE, Buffers, Products, Shape
from stream_ottt.engine.rows import Rows


@cache
def has_the_registers() -> bool:
    """Whether this processor has 32 registers of 64 bytes; with fewer, tiles would not fit, and the BLAS is faster."""
    from llvmlite import binding
    from numba import config

    if config.CPU_NAME is not None:  # type: ignore[attr-defined]  # numba was told to compile for another processor
        return "+avx512f" in (config.CPU_FEATURES or "")  # type: ignore[attr-defined]
    return bool(binding.get_host_cpu_features().get("avx512f"))


def fits(shape: Shape, dtype: torch.dtype) -> bool:
    """Whether a convolution of this shape is small enough, and can be cut into whole tiles."""
    least = min(shape.width, shape.kernel * shape.channels)
    return (
        0 < shape.work < LARGE
        and shape.stride == 1
        and shape.fan_in * shape.out <= BLOCK
        and least >= direct_kernels.LOW
        and _whole(shape.out, dtype)
    )


def _whole(n: int, dtype: torch.dtype) -> bool:
    """Whether ``n`` numbers are whole vectors."""
    return n * dtype.itemsize % direct_kernels.VECTOR_BYTES == 0


class DirectProducts(Products):
    """The three products of one connection; for shapes that :func:`fits`."""

    transposed = True
    dense = 0.4

    def __init__(self, shape: Shape, space: Buffers) -> None:
        super().__init__(shape, space)
        s, dtype = shape, space.error.dtype
        self._pad = s.kernel // 2
        self._transposed = np.zeros((s.fan_in, s.out), self.error.dtype)
        self._down = _whole(s.channels, dtype)
        if self._down:
            self._image = np.zeros((s.height + 2 * self._pad, s.width + 2 * self._pad, s.out), self.error.dtype)
            self._turned = np.zeros((s.kernel**2 * s.out, s.channels), self.error.dtype)

    def make_current(self, image: Image, rows: Rows) -> Array:
        rows.transpose.follow(rows)
        direct_kernels.correlate(
            image.array,
            image.border - self._pad,
            rows.transpose.columns,
            self.shape.kernel,
            self.shape.width,
            self.error,
        )
        return self.error

    def pass_down(self, rows: Rows, below: Delta) -> None:
        if not self._down:
            super().pass_down(rows, below)
            return
        direct_kernels.place(self.error, self.shape.width, self._image)
        direct_kernels.turn(rows.array, self._turned)
        direct_kernels.correlate(self._image, 0, self._turned, self.shape.kernel, self.shape.width, below.rows)

    def take_trace(self, trace: Image) -> None:
        self._trace = trace

    def make_block(self, block: int) -> Array:
        gradient = self.blocks[block][1]
        self._gradient(gradient)
        return gradient

    def make_gradient(self) -> Tensor:
        gradient = torch.empty(self.shape.out, self.shape.fan_in, dtype=self._error.dtype)
        self._gradient(gradient.numpy())
        return gradient

    def _gradient(self, out: Array) -> None:
        trace, s = self._trace, self.shape
        direct_kernels.outer(trace.array, trace.border - self._pad, self.error, s.kernel, s.width, self._transposed)
        spike_kernels.transpose(self._transposed, 0, out)
