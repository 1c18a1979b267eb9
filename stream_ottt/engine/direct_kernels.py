"""The products of a small convolution straight from its padded image, without patches, tile by tile in registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from stream_ottt.compiled import Array, jit

VECTOR_BYTES = 64
HIGH, LOW = 8, 4
"""Rows of a tile; no side of a product that is cut into tiles may be shorter than ``LOW``."""


def tile(height: int, vectors: int) -> Callable[..., Any]:
    """A function for compiled loops that makes ``height`` rows of C, ``vectors`` vectors wide.

        C[i, j] = Σ_r Σ_k A[r·a_run + k·a_step + i·a_row] B[r·b_run + k·b_step + j]

    It takes (A, a_run, a_step, a_row, B, b_run, b_step, C, c_row, runs, steps, zero): A, B, C are addresses in bytes,
    distances and lengths count numbers, ``zero`` is of their type. Nothing is checked. LLVM does not keep the sums in
    registers where they are a loop over an array, so they are written out here one by one.
    """

    @intrinsic
    def made(
        context: Any, a: Any, a_run: Any, a_step: Any, a_row: Any, b: Any, b_run: Any, b_step: Any, c: Any, c_row: Any,
        runs: Any, steps: Any, zero: Any,
    ) -> Any:  # fmt: skip
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            number, index = context.get_value_type(zero), ir.IntType(64)
            size = zero.bitwidth // 8
            lanes = VECTOR_BYTES // size
            vector = ir.VectorType(number, lanes)
            undefined, nothing = ir.Constant(vector, ir.Undefined), ir.Constant(vector, [0.0] * lanes)
            first = ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)
            a, a_run, a_step, a_row, b, b_run, b_step, c, c_row, runs, steps, _ = args

            def pointer(base: Any, distance: Any, times: Any, kind: Any) -> Any:
                address = builder.add(base, builder.mul(builder.mul(distance, times), index(size)))
                return address if kind is None else builder.inttoptr(address, kind.as_pointer())

            def vectors_at(base: Any) -> list[Any]:
                return [builder.gep(base, [index(v)]) for v in range(vectors)]

            sums = [
                [
                    cgutils.alloca_once_value(builder, nothing)  # type: ignore[no-untyped-call]
                    for _ in range(vectors)
                ]
                for _ in range(height)
            ]
            with cgutils.for_range(builder, runs) as run:
                a_from, b_from = pointer(a, run.index, a_run, None), pointer(b, run.index, b_run, None)
                with cgutils.for_range(builder, steps) as step:
                    column = pointer(a_from, step.index, a_step, None)
                    lines = vectors_at(pointer(b_from, step.index, b_step, vector))
                    factors = [builder.load(line, align=size) for line in lines]
                    for i in range(height):
                        one = builder.load(pointer(column, a_row, index(i), number))
                        held = builder.insert_element(undefined, one, ir.IntType(32)(0))
                        every = builder.shuffle_vector(held, undefined, first)
                        for place, factor in zip(sums[i], factors, strict=True):
                            product = builder.fmul(every, factor, flags=("contract",))
                            builder.store(builder.fadd(builder.load(place), product, flags=("contract",)), place)
            for i in range(height):
                for place, out in zip(sums[i], vectors_at(pointer(c, c_row, index(i), vector)), strict=True):
                    builder.store(builder.load(place), out, align=size)
            return context.get_dummy_value()

        return types.none(*[types.intp] * 11, zero), codegen

    return made


HIGH_WIDE, HIGH_NARROW, LOW_WIDE, LOW_NARROW = tile(HIGH, 2), tile(HIGH, 1), tile(LOW, 2), tile(LOW, 1)


@jit
def tiles(
    a: int, a_run: int, a_step: int, a_row: int, b: int, c: int, n: int, runs: int, steps: int, high: int, size: int,
    zero: Any,
) -> None:  # fmt: skip
    """``high`` rows of C [·, n], n whole vectors, of numbers of ``size`` bytes; the others as of :func:`tile`, B
    [runs·steps, n]."""
    lanes = VECTOR_BYTES // size
    j = 0
    while j < n:
        wide = n - j >= 2 * lanes
        b_from, c_from = b + j * size, c + j * size
        if high == HIGH and wide:
            HIGH_WIDE(a, a_run, a_step, a_row, b_from, steps * n, n, c_from, n, runs, steps, zero)
        elif high == HIGH:
            HIGH_NARROW(a, a_run, a_step, a_row, b_from, steps * n, n, c_from, n, runs, steps, zero)
        elif wide:
            LOW_WIDE(a, a_run, a_step, a_row, b_from, steps * n, n, c_from, n, runs, steps, zero)
        else:
            LOW_NARROW(a, a_run, a_step, a_row, b_from, steps * n, n, c_from, n, runs, steps, zero)
        j += 2 * lanes if wide else lanes


@jit
def correlate(image: Array, corner: int, weights: Array, taps: int, width: int, out: Array) -> None:
    """out[y, x, j] = Σ image[y + ky + corner, x + kx + corner, i] · weights[ky, kx, i, j]

    Args:
        image: [H + 2 border, W + 2 border, C].
        corner: rows and columns of the border that no patch reaches.
        weights: [taps·taps·C, N], N whole vectors.
        taps: edge of the kernel.
        width: W, at least ``LOW``.
        out: [H·W, N].
    """
    channels, n, row = image.shape[2], out.shape[1], image.shape[1] * image.shape[2]
    size, zero = out.itemsize, out.dtype.type(0)
    first = image.ctypes.data + corner * (row + channels) * size
    high = HIGH if width >= HIGH else LOW
    for y in range(out.shape[0] // width):
        for block in range(0, width, high):
            x = min(block, width - high)  # the last tile may lie over the one before: it says the same
            a, c = first + (y * row + x * channels) * size, out.ctypes.data + (y * width + x) * n * size
            tiles(a, row, 1, channels, weights.ctypes.data, c, n, taps, taps * channels, high, size, zero)


@jit
def outer(image: Array, corner: int, error: Array, taps: int, width: int, out: Array) -> None:
    """out[ky, kx, i, j] = Σ_yx image[y + ky + corner, x + kx + corner, i] · error[y, x, j]

    Args:
        image, corner, taps, width: as in :func:`correlate`; taps·C at least ``LOW``.
        error: [H·W, N], N whole vectors.
        out: [taps·taps·C, N].
    """
    channels, n, row = image.shape[2], out.shape[1], image.shape[1] * image.shape[2]
    size, zero, run = out.itemsize, out.dtype.type(0), taps * channels
    first = image.ctypes.data + corner * (row + channels) * size
    high = HIGH if run >= HIGH else LOW
    for ky in range(taps):
        for block in range(0, run, high):
            i = min(block, run - high)
            a, c = first + (ky * row + i) * size, out.ctypes.data + (ky * run + i) * n * size
            tiles(a, row, channels, 1, error.ctypes.data, c, n, error.shape[0] // width, width, high, size, zero)


@jit
def turn(weights: Array, out: Array) -> None:
    """W [N, taps·taps·C] as the weights of the way down, [taps·taps·N, C]: the kernel turned by half a circle."""
    n, channels = weights.shape[0], out.shape[1]
    squares = weights.shape[1] // channels
    for tap in range(squares):
        first = (squares - 1 - tap) * channels
        for j in range(n):
            line, source = out[tap * n + j], weights[j]
            for i in range(channels):
                line[i] = source[first + i]


@jit
def place(error: Array, width: int, out: Array) -> None:
    """An error [H·W, N] into the inside of an image [H + 2 border, W + 2 border, N]."""
    n, border = error.shape[1], (out.shape[1] - width) // 2
    for y in range(error.shape[0] // width):
        line = out[y + border].ravel()[border * n : (border + width) * n]
        source = error[y * width : (y + 1) * width].ravel()
        for i in range(line.size):
            line[i] = source[i]
