"""Numbers to bfloat16 and back."""

from __future__ import annotations

import numpy as np

from stream_ottt.fast.jit import Array, jit


@jit
def half_bits(value: float) -> np.uint16:
    """The bits of the nearest number of bfloat16, the even one of two; infinity and NaN stay."""
    x = np.float32(value)
    bits = x.view(np.uint32)
    even = (bits >> np.uint32(16)) & np.uint32(1)
    bits = np.uint32(bits + np.uint32(0x7FFF) + even) if x == x else np.uint32(0x7FC00000)
    return np.uint16(bits >> np.uint32(16))


@jit
def widened(bits: np.uint16) -> np.float32:
    """The number that these bits of bfloat16 are."""
    return np.uint32(np.uint32(bits) << np.uint32(16)).view(np.float32)


@jit
def narrow(source: Array, half: Array) -> None:
    """Numbers of any dtype to the bits of bfloat16, uint16, arrays of the same shape."""
    flat, bits = source.ravel(), half.ravel()
    for i in range(flat.size):
        bits[i] = half_bits(flat[i])


@jit
def widen(half: Array, row: int, column: int, out: Array) -> None:
    """Numbers from the bits of bfloat16: the part of a matrix that begins at ``row`` and ``column``, into ``out``."""
    rows, columns = out.shape
    for j in range(rows):
        bits, numbers = half[row + j, column : column + columns], out[j]
        for i in range(columns):
            numbers[i] = widened(bits[i])


@jit
def round_half(numbers: Array, out: Array) -> None:
    """Numbers rounded to those of bfloat16, in their own dtype; ``out`` may be ``numbers``."""
    flat, rounded = numbers.ravel(), out.ravel()
    for i in range(flat.size):
        rounded[i] = widened(half_bits(flat[i]))
