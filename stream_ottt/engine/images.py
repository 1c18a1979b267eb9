"""Images with their channels last, and reused memory for what a timestep leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor

from stream_ottt.compiled import Array

T = TypeVar("T")


class Image:
    """One image [height + 2 pad, width + 2 pad, channels] with a border of zeros.

    Attributes:
        array: the whole of it.
        inside: without the border, [height, width, channels].
        patches: [height, width, k, k·channels] for a convolution of kernel k = 2 pad + 1; no copy.
    """

    def __init__(self, height: int, width: int, channels: int, pad: int, dtype: torch.dtype) -> None:
        self.pad = pad
        tensor = torch.zeros(height + 2 * pad, width + 2 * pad, channels, dtype=dtype)
        self.array: Array = tensor.numpy()
        self.inside = tensor[pad : pad + height, pad : pad + width]
        k, row = 2 * pad + 1, (width + 2 * pad) * channels
        self.patches: Tensor = tensor.as_strided((height, width, k, k * channels), (row, channels, row, 1))


class Pool(Generic[T]):
    """Buffers that come back by themselves when the last holder lets go of them.

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
