"""The update of weights, through scaled weight standardization where they have it."""

from __future__ import annotations

import numpy as np

from stream_ottt.compiled import Array, jit


@jit
def nonzero(gain: float) -> float:
    """A gain that can be divided by; a gain of exactly zero would hide its own gradient."""
    return gain if gain != 0 else gain + 1e-20


@jit
def descend(
    gradient: Array,
    first: int,
    weights: Array,
    updated: Array,
    momentum: Array,
    inverse: Array,
    factor: float,
    standardized: bool,
    mu: float,
    weight_decay: float,
    lr: float,
    squares: Array,
    along: Array,
) -> None:
    """SGD with momentum on the rows of W, through scaled weight standardization, in one pass over memory.

        ∇ = g - mean(g) - W (g·W) N/(N-1) / (‖W‖²N/(N-1) + ε)      g = factor · gradient = k · ∂L/∂Ŵ, mean(W) = 0
        m ← μ m + ∇ + wd W,   W ← W - lr m

    A row is read once from memory; its later uses find it in the cache.

    Args:
        gradient: of some rows, [rows, N].
        first: the first of these rows.
        weights: W [out, N].
        updated: where the new W goes; ``weights`` itself or another array.
        momentum: m, in place; not used when ``mu`` is 0.
        inverse: [out], 1 / sqrt(‖W‖² N/(N-1) + ε).
        standardized: False for plain weights: ∇ = g.
        squares: [out], out: ‖W‖² of the new rows.
        along: [out], out: g·W, from which the gain's gradient follows.
    """
    rows, n = gradient.shape
    kind = weights.dtype.type
    factor, mu, weight_decay, lr = kind(factor), kind(mu), kind(weight_decay), kind(lr)
    in_place = weights.ctypes.data == updated.ctypes.data
    ratio = kind(n) / kind(max(n - 1, 1))
    for row in range(rows):
        j = first + row
        g, w = gradient[row], updated[j]
        if not in_place:
            w[:] = weights[j]
        total, dot, new = kind(0), kind(0), kind(0)
        if standardized:
            for i in range(n):
                total += g[i]
                dot += g[i] * w[i]
        mean = factor * total / kind(n)
        dot *= factor
        along[j] = dot
        pull = weight_decay - dot * inverse[j] * inverse[j] * ratio if standardized else weight_decay
        if mu != 0:
            m = momentum[j]
            for i in range(n):
                step = mu * m[i] + ((factor * g[i] - mean) + pull * w[i])
                m[i] = step
                value = w[i] - lr * step
                w[i] = value
                new += value * value
        else:
            for i in range(n):
                value = w[i] - lr * ((factor * g[i] - mean) + pull * w[i])
                w[i] = value
                new += value * value
        squares[j] = new


@jit
def descend_vector(
    values: Array, updated: Array, momentum: Array, gradient: Array, mu: float, weight_decay: float, lr: float
) -> None:
    """SGD with momentum on a bias or a gain, each [out]."""
    kind = values.dtype.type
    mu, weight_decay, lr = kind(mu), kind(weight_decay), kind(lr)
    for i in range(values.size):
        step = gradient[i] + weight_decay * values[i]
        if mu != 0:
            step += mu * momentum[i]
            momentum[i] = step
        updated[i] = values[i] - lr * step


@jit
def scales(
    gain: Array,
    squares: Array,
    n: int,
    epsilon: float,
    input_scale: float,
    inverse: Array,
    k: Array,
    k_in: Array,
) -> None:
    """What stands in for Ŵ: inverse = 1 / sqrt(‖W‖² N/(N-1) + ε) and k = gain · inverse, so that Ŵ = k W."""
    kind = gain.dtype.type
    ratio = kind(n) / kind(max(n - 1, 1))
    for j in range(gain.size):
        inverse[j] = kind(1) / np.sqrt(squares[j] * ratio + kind(epsilon))
        k[j] = nonzero(gain[j]) * inverse[j]
        k_in[j] = k[j] * kind(input_scale)


@jit
def gain_gradient(along: Array, gain: Array, out: Array) -> None:
    """∂L/∂gain = (∂L/∂Ŵ · W) · inverse = (g·W) / gain, since g = k ∂L/∂Ŵ."""
    for j in range(gain.size):
        out[j] = along[j] / nonzero(gain[j])


@jit
def standardize_back(gradient: Array, weights: Array, inverse: Array, factor: float, along: Array) -> None:
    """Only the first line of :func:`descend`: from k ∂L/∂Ŵ to ∂L/∂W, in place in ``gradient``."""
    rows, n = weights.shape
    kind = weights.dtype.type
    factor = kind(factor)
    ratio = kind(n) / kind(max(n - 1, 1))
    for j in range(rows):
        g, w = gradient[j], weights[j]
        total, dot = kind(0), kind(0)
        for i in range(n):
            total += g[i]
            dot += g[i] * w[i]
        mean = factor * total / kind(n)
        dot *= factor
        along[j] = dot
        pull = dot * inverse[j] * inverse[j] * ratio
        for i in range(n):
            g[i] = (factor * g[i] - mean) - pull * w[i]


@jit
def centre(rows: Array) -> None:
    """Take the mean out of each row."""
    for j in range(rows.shape[0]):
        row = rows[j]
        total = rows.dtype.type(0)
        for i in range(row.size):
            total += row[i]
        mean = total / rows.dtype.type(row.size)
        for i in range(row.size):
            row[i] -= mean


@jit
def squared_norms(rows: Array, squares: Array) -> None:
    """‖row‖² of each row."""
    for j in range(rows.shape[0]):
        row = rows[j]
        total = rows.dtype.type(0)
        for i in range(row.size):
            total += row[i] * row[i]
        squares[j] = total
