"""Images with their channels last, and reused memory for what a timestep leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor

from stream_ottt.compiled import Array

T = TypeVar("T")


class Image:
    """One image [height + 2 border, width + 2 border, channels] with a border of zeros.

    Attributes:
        tensor: the whole of it; ``array`` is the same memory.
        inside: without the border, [height, width, channels]; ``inside_array`` is the same memory.
        shape: empty; layers that compute in torch keep the shapes of their inputs.
    """

    shape: tuple[int, ...] = ()

    def __init__(self, height: int, width: int, channels: int, border: int, dtype: torch.dtype) -> None:
        self.border = border
        self.tensor = torch.zeros(height + 2 * border, width + 2 * border, channels, dtype=dtype)
        self.array: Array = self.tensor.numpy()
        self.inside = self.tensor[border : border + height, border : border + width]
        self.inside_array: Array = self.inside.numpy()
        self._patches: dict[tuple[int, int], Tensor] = {}

    def patches(self, kernel: int, stride: int) -> Tensor:
        """[output height, output width, k, k·channels] for a convolution padded by half its kernel; no copy."""
        found = self._patches.get((kernel, stride))
        if found is None:
            (height, width, channels), row = self.inside.shape, self.tensor.shape[1] * self.tensor.shape[2]
            offset = self.border - kernel // 2
            size = -(-height // stride), -(-width // stride), kernel, kernel * channels
            found = self.tensor.as_strided(size, (stride * row, stride * channels, row, 1), offset * (row + channels))
            self._patches[kernel, stride] = found
        return found


class Delta:
    """An error ∂L/∂(an image), without a border.

    Attributes:
        tensor: [height, width, channels]; ``array`` and ``rows`` [height·width, channels] are the same memory.
    """

    __slots__ = ("array", "rows", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.array: Array = tensor.numpy()
        self.rows: Array = self.array.reshape(-1, tensor.shape[-1])


class Pool(Generic[T]):
    """Buffers that come back by themselves when their last holder is gone.

    Args:
        make: makes a new one, when none is free.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._free: list[T] = []

    def take(self) -> Lease[T]:
        """Buffers with whatever finite numbers are in them."""
        return Lease(self._free.pop() if self._free else self._make(), self._free)


class Lease(Generic[T]):
    """Holds buffers of a :class:`Pool` until it is dropped."""

    __slots__ = ("_free", "held")

    def __init__(self, held: T, free: list[T]) -> None:
        self.held = held
        self._free = free

    def __del__(self) -> None:
        self._free.append(self.held)
