"""One tile of a matrix product in float16, instruction by instruction: numba has no vectors of float16 on a CPU.

A processor with AVX512-FP16 multiplies 32 numbers of float16 at a time, twice as many as of float32. A tile is
ROWS × WIDTH sums that stay in registers while a column of A and a row of B are read for each step:

    C[r, n] (+)= scale · Σ_k A[r, k] B[k, n]        0 ≤ r < ROWS, 0 ≤ n < WIDTH

The sums are float16, so a tile should have few steps; its results are added up as float32. Numbers of A are stored
twice in 32 bits each: spreading 32 bits over a vector is part of loading them, spreading 16 is not.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

ROWS, VECTORS, LANES = 12, 2, 32
WIDTH = VECTORS * LANES

_HALF, _FLOAT = ir.HalfType(), ir.FloatType()
_I16, _I32, _I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_HALVES, _WORDS = ir.VectorType(_HALF, LANES), ir.VectorType(_I32, LANES // 2)
_FLOATS = ir.VectorType(_FLOAT, LANES // 2)


_function: Any = cgutils.get_or_insert_function


def compiled(generator: Any) -> Any:
    """What a kernel may call, by the instructions that ``generator`` makes for it."""
    return intrinsic(generator)


def _constant(value: int) -> Any:
    return ir.Constant(_I64, value)


def _load(builder: Any, address: Any, kind: Any, align: int) -> Any:
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=align)


def _spread(builder: Any, value: Any, kind: Any) -> Any:
    """A vector of one value."""
    nothing, first = ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(_I32, kind.count), None)
    return builder.shuffle_vector(builder.insert_element(nothing, value, ir.Constant(_I32, 0)), nothing, first)


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    kind = ir.FunctionType(a.type, [a.type] * 3)
    name = f"llvm.fma.v{a.type.count}f{16 if a.type.element == _HALF else 32}"
    return builder.call(_function(builder.module, kind, name), [a, b, c])


def _floats(builder: Any, halves: Any) -> list[Any]:
    """A vector of float16 as two of float32."""
    nothing = ir.Constant(_HALVES, ir.Undefined)
    parts = []
    for first in (0, LANES // 2):
        which = ir.Constant(_WORDS, [ir.Constant(_I32, first + i) for i in range(LANES // 2)])
        parts.append(builder.fpext(builder.shuffle_vector(halves, nothing, which), _FLOATS))
    return parts


def _sum_up(builder: Any, a: Any, b: Any, b_stride: Any, depth: Any, *, by_rows: bool, a_stride: Any) -> list[Any]:
    """The loop over k; the tile's sums, row by row."""
    step = _constant(4) if by_rows else a_stride
    twice = builder.shl(a_stride, _constant(1))
    # Three rows share a pointer: base, base + stride and base + 2 stride are addresses that an instruction can have.
    firsts = [builder.add(a, builder.mul(a_stride, _constant(r))) for r in range(0, ROWS, 3)] if by_rows else [a]
    entry = builder.block
    loop, done = builder.append_basic_block("loop"), builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    starts = [_constant(0), b, *firsts, *[ir.Constant(_HALVES, None)] * (ROWS * VECTORS)]
    now = []
    for start in starts:
        now.append(builder.phi(start.type))
        now[-1].add_incoming(start, entry)
    k, row_of_b, bases, sums = now[0], now[1], now[2 : 2 + len(firsts)], now[2 + len(firsts) :]
    vectors = [_load(builder, builder.add(row_of_b, _constant(2 * LANES * v)), _HALVES, 2) for v in range(VECTORS)]
    new = []
    for r in range(ROWS):
        if by_rows:
            further = (_constant(0), a_stride, twice)[r % 3]
            address = builder.add(bases[r // 3], further)
        else:
            address = builder.add(bases[0], _constant(4 * r))
        pair = builder.bitcast(_spread(builder, _load(builder, address, _I32, 4), _WORDS), _HALVES)
        new += [_fma(builder, pair, vectors[v], sums[r * VECTORS + v]) for v in range(VECTORS)]
    following = [builder.add(k, _constant(1)), builder.add(row_of_b, b_stride)]
    following += [builder.add(base, step) for base in bases]
    for phi, value in zip(now, following + new, strict=True):
        phi.add_incoming(value, builder.block)
    builder.cbranch(builder.icmp_signed("<", following[0], depth), loop, done)
    builder.position_at_end(done)
    return new


def _tile(*, by_rows: bool) -> Any:
    @compiled
    def tile(
        _: Any, a: Any, a_stride: Any, b: Any, b_stride: Any, depth: Any, c: Any, c_stride: Any, scale: Any, add: Any
    ) -> Any:
        """Addresses, strides in bytes; ``a_stride`` is from row to row or from k to k; ``add`` to C, or replace it."""
        signature = types.void(*[types.int64] * 7, types.float32, types.boolean)

        def generate(context: Any, builder: Any, _: Any, values: Any) -> Any:
            a, a_stride, b, b_stride, depth, c, c_stride, scale, add = values
            sums = _sum_up(builder, a, b, b_stride, depth, by_rows=by_rows, a_stride=a_stride)
            factor = _spread(builder, scale, _FLOATS)
            with builder.if_else(add) as branches:
                for branch, adding in zip(branches, (True, False), strict=True):
                    with branch:
                        for i, halves in enumerate(sums):
                            row = builder.add(c, builder.mul(c_stride, _constant(i // VECTORS)))
                            for j, floats in enumerate(_floats(builder, halves)):
                                address = builder.add(row, _constant(2 * LANES * (2 * (i % VECTORS) + j)))
                                if adding:
                                    value = _fma(builder, floats, factor, _load(builder, address, _FLOATS, 4))
                                else:
                                    value = builder.fmul(floats, factor)
                                builder.store(value, builder.inttoptr(address, _FLOATS.as_pointer()), align=4)
            return context.get_dummy_value()

        return signature, generate

    return tile


tile_by_rows = _tile(by_rows=True)
"""A's numbers follow each other within a row."""

tile_by_columns = _tile(by_rows=False)
"""A's numbers follow each other within a column."""


@compiled
def float16_bits(_: Any, value: Any) -> Any:
    """The bits of the nearest number of float16, uint16."""

    def generate(context: Any, builder: Any, _: Any, values: Any) -> Any:
        return builder.bitcast(builder.fptrunc(values[0], _HALF), _I16)

    return types.uint16(types.float32), generate


EDGE = LANES // 2
"""Rows and columns of what :func:`turn_tile` turns."""


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """EDGE vectors of EDGE numbers, transposed: off-diagonal squares change places, large ones first."""
    bit = EDGE // 2
    while bit:
        for i in (i for i in range(EDGE) if not i & bit):
            low = [lane if not lane & bit else EDGE + (lane ^ bit) for lane in range(EDGE)]
            high = [lane | bit if not lane & bit else EDGE + lane for lane in range(EDGE)]
            masks = [ir.Constant(_WORDS, [ir.Constant(_I32, lane) for lane in lanes]) for lanes in (low, high)]
            a, b = rows[i], rows[i | bit]
            rows[i], rows[i | bit] = (builder.shuffle_vector(a, b, mask) for mask in masks)
        bit //= 2
    return rows


@compiled
def turn_tile(_: Any, source: Any, stride: Any, scale: Any, target: Any, target_stride: Any) -> Any:
    """EDGE × EDGE numbers of float32, transposed, times ``scale``, as float16; addresses, and strides in bytes."""
    signature = types.void(types.int64, types.int64, types.float32, types.int64, types.int64)

    def generate(context: Any, builder: Any, _: Any, values: Any) -> Any:
        source, stride, scale, target, target_stride = values

        def row(first: Any, step: Any, r: int) -> Any:
            return builder.add(first, builder.mul(step, _constant(r)))

        factor = _spread(builder, scale, _FLOATS)
        rows = [_load(builder, row(source, stride, r), _FLOATS, 4) for r in range(EDGE)]
        for r, numbers in enumerate(_transposed(builder, rows)):
            halves = builder.fptrunc(builder.fmul(numbers, factor), ir.VectorType(_HALF, EDGE))
            address = builder.inttoptr(row(target, target_stride, r), halves.type.as_pointer())
            builder.store(halves, address, align=2)
        return context.get_dummy_value()

    return signature, generate
