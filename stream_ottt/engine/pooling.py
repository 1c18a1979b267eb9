"""Average pooling, and what a read-out reads, of one stream on a CPU."""

from __future__ import annotations

from typing import Any

import torch

from stream_ottt.engine import pixel_kernels
from stream_ottt.engine.images import Delta, Image
from stream_ottt.network.saved import Saved


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
