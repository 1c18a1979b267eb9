"""Matrix products in float16, and what brings their operands into the order in which they are read.

What one step of a tile reads of the right operand is WIDTH numbers of a row. Of weights these are brought together as
they are multiplied, in panels [DEPTH, WIDTH], which then come from the core's own cache.
"""

from __future__ import annotations

import numpy as np

from stream_ottt.fast.float16_tiles import (
    EDGE,
    ROWS,
    WIDTH,
    float16_bits,
    tile_by_columns,
    tile_by_rows,
    turn_tile,
)
from stream_ottt.fast.jit import Array, jit

STEPS = 128
"""Products that are added up as float16: their sum loses about as much as its operands did by rounding."""

DEPTH = 512
"""Steps for which all tiles are made before the next ones, so that A's numbers come from the core's own cache."""

PANELS = 4
"""Panels of weights that are made at a time: 1 kB of a row."""


@jit
def multiply_panel(
    a: Array, first: int, last: int, b: Array, column: int, out: Array, scale: float, edge: Array
) -> None:
    """out[:, column:] (+)= scale · A[:, first:last] B, where B has WIDTH columns; added unless ``first`` is 0.

    Args:
        a: A, uint32 [rows or more, depth], numbers of float16 twice; its own or its transpose's rows are contiguous.
        b: from B's row ``first`` on, uint16 [rows, WIDTH or fewer]; WIDTH numbers are read from the beginning of each.
        out: float32 [rows, columns].
        edge: float32 [ROWS, WIDTH], for tiles that do not lie whole in ``out``.
    """
    rows, columns = out.shape
    by_rows = a.strides[1] == 4
    b_stride = b.strides[0]
    for row in range(0, rows, ROWS):
        whole = row + ROWS <= rows and column + WIDTH <= columns
        c = out.ctypes.data + row * out.strides[0] + column * 4 if whole else edge.ctypes.data
        c_stride = out.strides[0] if whole else 4 * WIDTH
        for k in range(first, last, STEPS):
            steps = min(STEPS, last - k)
            from_a = a.ctypes.data + row * a.strides[0] + k * a.strides[1]
            from_b = b.ctypes.data + (k - first) * b_stride
            add = k > 0 if whole else k > first
            if by_rows:
                tile_by_rows(from_a, a.strides[0], from_b, b_stride, steps, c, c_stride, scale, add)
            else:
                tile_by_columns(from_a, a.strides[1], from_b, b_stride, steps, c, c_stride, scale, add)
        if not whole:
            for r in range(min(ROWS, rows - row)):
                for n in range(min(WIDTH, columns - column)):
                    before = out[row + r, column + n] if first else np.float32(0)
                    out[row + r, column + n] = before + edge[r, n]


@jit
def multiply(a: Array, b: Array, out: Array, scale: float, edge: Array) -> None:
    """out = scale · A B for B uint16 [depth, columns], with memory of WIDTH numbers beyond it."""
    depth, columns = b.shape
    undo = np.float32(scale)
    for first in range(0, depth, DEPTH):
        last = min(first + DEPTH, depth)
        for column in range(0, columns, WIDTH):
            multiply_panel(a, first, last, b[first:, column:], column, out, undo, edge)


@jit
def multiply_rows(a: Array, rows: Array, factor: float, out: Array, scale: float, edge: Array, room: Array) -> None:
    """out = scale · A (factor · W) for W float32 [depth, columns]; ``room``: uint16 [PANELS, DEPTH, WIDTH]."""
    depth, columns = rows.shape
    by, undo = np.float32(factor), np.float32(scale)
    for first in range(0, depth, DEPTH):
        last = min(first + DEPTH, depth)
        for column in range(0, columns, PANELS * WIDTH):
            count = min(PANELS, (columns - column + WIDTH - 1) // WIDTH)
            for k in range(first, last):
                for panel in range(count):
                    start = column + panel * WIDTH
                    source, to = rows[k, start : start + WIDTH], room[panel, k - first]
                    if source.size == WIDTH:
                        for i in range(WIDTH):
                            to[i] = float16_bits(source[i] * by)
                    else:
                        for i in range(source.size):
                            to[i] = float16_bits(source[i] * by)
            for panel in range(count):
                multiply_panel(a, first, last, room[panel], column + panel * WIDTH, out, undo, edge)


@jit
def multiply_transposed(
    a: Array, rows: Array, factor: float, out: Array, scale: float, edge: Array, room: Array
) -> None:
    """out = scale · A (factor · W)ᵀ for W float32 [columns, depth]; ``room``: uint16 [PANELS, DEPTH, WIDTH]."""
    columns, depth = rows.shape
    by, undo = np.float32(factor), np.float32(scale)
    for first in range(0, depth, DEPTH):
        last = min(first + DEPTH, depth)
        for column in range(0, columns, WIDTH):
            panel = room[0]
            for n in range(0, min(WIDTH, columns - column), EDGE):
                for k in range(0, last - first, EDGE):
                    if column + n + EDGE <= columns and first + k + EDGE <= last:
                        source = rows.ctypes.data + ((column + n) * depth + first + k) * 4
                        turn_tile(source, 4 * depth, by, panel.ctypes.data + 2 * (k * WIDTH + n), 2 * WIDTH)
                    else:
                        for i in range(min(EDGE, columns - column - n)):
                            for j in range(min(EDGE, last - first - k)):
                                panel[k + j, n + i] = float16_bits(rows[column + n + i, first + k + j] * by)
            multiply_panel(a, first, last, panel, column, out, undo, edge)


@jit
def power_of_two(most: float, value: float) -> float:
    """The one that brings a number to between ``most`` / 2 and ``most``; 1 for zero and what is not finite."""
    return 2.0 ** np.floor(np.log2(most / value)) if 0 < value < np.inf else 1.0


@jit
def fitting(numbers: Array, most: float) -> float:
    """The power of two that brings the largest of the numbers, float32, to between ``most`` / 2 and ``most``.

    It is 1 if all are zero, or if one is not finite.
    """
    largest = np.uint32(0)
    for bits in numbers.ravel().view(np.uint32):
        largest = max(largest, bits & np.uint32(0x7FFFFFFF))  # as a whole number, it is ordered as the float is
    return float(power_of_two(most, np.float64(np.uint32(largest).view(np.float32))))


@jit
def twice(numbers: Array, scale: float, out: Array) -> None:
    """Numbers of float32 as float16, each twice in 32 bits."""
    flat, words = numbers.ravel(), out.ravel()
    by = np.float32(scale)
    for i in range(flat.size):
        bits = np.uint32(float16_bits(flat[i] * by))
        words[i] = bits | (bits << np.uint32(16))


@jit
def halves(numbers: Array, scale: float, out: Array) -> None:
    """Numbers of float32 as float16."""
    flat, bits = numbers.ravel(), out.ravel()
    by = np.float32(scale)
    for i in range(flat.size):
        bits[i] = float16_bits(flat[i] * by)
