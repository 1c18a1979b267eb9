"""Average pooling, forward and down; for batches, on any device, differentiable."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stream_ottt.network.saved import Saved


class Pooling:
    """Average pooling over squares.

    Args:
        size: edge of the square, pixels.
        stride: from one square to the next.
        padding: border of zeros, which count.
    """

    def __init__(self, size: int, stride: int, padding: int = 0) -> None:
        self.size, self.stride, self.padding = size, stride, padding

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the output."""
        h, w = ((n + 2 * self.padding - self.size) // self.stride + 1 for n in (height, width))
        return h, w

    def new_saved(self, saved: Saved) -> None:
        """Prepare what one timestep's learning needs."""

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width] to the same with smaller images."""
        return F.avg_pool2d(x, self.size, self.stride, self.padding)

    def backward(self, delta: Tensor, saved: Saved, shape: Any) -> Tensor:
        """∂L/∂(input) of this shape."""
        like = delta.new_empty(()).expand(shape)
        size, stride, padding = [self.size] * 2, [self.stride] * 2, [self.padding] * 2
        found: Tensor = torch.ops.aten.avg_pool2d_backward(delta, like, size, stride, padding, False, True, None)
        return found


class Features:
    """What a read-out reads: each channel's mean over the image (GAP), or every pixel.

    Args:
        pool: True for the mean.
    """

    def __init__(self, *, pool: bool) -> None:
        self.pool = pool

    def new_saved(self, saved: Saved) -> None:
        """Prepare what one timestep's learning needs."""

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width] to [batch, features]."""
        return x.mean((2, 3)) if self.pool else x.flatten(1)

    def backward(self, delta: Tensor, saved: Saved, shape: Any) -> Tensor:
        """∂L/∂(input) of this shape."""
        if not self.pool:
            return delta.view(shape)
        spread: Tensor = (delta / math.prod(shape[2:])).view(*shape[:2], 1, 1).expand(shape)
        return spread
