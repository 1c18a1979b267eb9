"""The update of weights, through scaled weight standardization where they have it."""

from __future__ import annotations

from typing import Any

import numpy as np

from stream_ottt.compiled import Array, jit


@jit
def nonzero(gain: float) -> float:
    """A gain that can be divided by; a gain of exactly zero would hide its own gradient."""
    return gain if gain != 0 else gain + 1e-20


@jit
def squared_norm(row: Array) -> Any:
    """‖row‖². One function for updates and for weights that were loaded, so that both give the same bits."""
    total = row.dtype.type(0)
    for i in range(row.size):
        total += row[i] * row[i]
    return total


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
        total, dot = kind(0), kind(0)
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
                w[i] -= lr * step
        else:
            for i in range(n):
                w[i] -= lr * ((factor * g[i] - mean) + pull * w[i])
        squares[j] = squared_norm(w)


@jit
def adam(
    gradient: Array,
    first: int,
    weights: Array,
    updated: Array,
    centred: Array,
    means: Array,
    variances: Array,
    inverse: Array,
    factor: float,
    standardized: bool,
    beta1: float,
    beta2: float,
    weight_decay: float,
    rate: float,
    correction: float,
    along: Array,
) -> None:
    """Adam on the rows of W, through scaled weight standardization, in one pass over memory.

        ∇ = g - mean(g) - C (g·C) N/(N-1) / (‖C‖²N/(N-1) + ε) + wd W       C = W - mean(W), g as in :func:`descend`
        m ← β₁ m + (1 - β₁) ∇,  v ← β₂ v + (1 - β₂) ∇²,  W ← W - rate m / (sqrt(v / correction) + 1e-8)

    Args:
        gradient: of some rows, [rows, N]; overwritten.
        centred: C [out, N] of the weights as they were.
        means, variances: m and v, in place.
        rate: lr / (1 - β₁ᵗ).
        correction: 1 - β₂ᵗ.
        first, weights, updated, inverse, standardized, along: as in :func:`descend`.
    """
    rows, n = gradient.shape
    kind = weights.dtype.type
    factor, weight_decay, rate = kind(factor), kind(weight_decay), kind(rate)
    beta2, rest1, rest2 = kind(beta2), kind(1 - beta1), kind(1 - beta2)
    scale, epsilon = kind(1 / correction), kind(1e-8)
    in_place = weights.ctypes.data == updated.ctypes.data
    ratio = kind(n) / kind(max(n - 1, 1))
    for row in range(rows):
        j = first + row
        g, c, w, m, v = gradient[row], centred[j], updated[j], means[j], variances[j]
        if not in_place:
            w[:] = weights[j]
        if standardized:
            total, dot = kind(0), kind(0)
            for i in range(n):
                total += g[i]
                dot += g[i] * c[i]
            mean = factor * total / kind(n)
            dot *= factor
            along[j] = dot
            pull = dot * inverse[j] * inverse[j] * ratio
            for i in range(n):
                g[i] = (factor * g[i] - mean) - pull * c[i]
        else:
            for i in range(n):
                g[i] = factor * g[i]
        if weight_decay != 0:
            for i in range(n):
                g[i] += weight_decay * w[i]
        for i in range(n):
            m[i] += rest1 * (g[i] - m[i])
        for i in range(n):
            v[i] = beta2 * v[i] + rest2 * (g[i] * g[i])
        for i in range(n):
            w[i] -= rate * m[i] / (np.sqrt(v[i] * scale) + epsilon)


@jit
def adam_vector(
    values: Array,
    updated: Array,
    means: Array,
    variances: Array,
    gradient: Array,
    beta1: float,
    beta2: float,
    weight_decay: float,
    rate: float,
    correction: float,
) -> None:
    """Adam on a bias or a gain, each [out]; arguments as in :func:`adam`."""
    kind = values.dtype.type
    weight_decay, rate, beta2 = kind(weight_decay), kind(rate), kind(beta2)
    rest1, rest2, scale, epsilon = kind(1 - beta1), kind(1 - beta2), kind(1 / correction), kind(1e-8)
    for i in range(values.size):
        g = gradient[i] + weight_decay * values[i]
        means[i] += rest1 * (g - means[i])
        variances[i] = beta2 * variances[i] + rest2 * (g * g)
        updated[i] = values[i] - rate * means[i] / (np.sqrt(variances[i] * scale) + epsilon)


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
def centre(rows: Array, centred: Array) -> None:
    """Each row without its mean, into ``centred``, which may be ``rows`` itself."""
    in_place = rows.ctypes.data == centred.ctypes.data
    for j in range(rows.shape[0]):
        row = centred[j]
        if not in_place:
            row[:] = rows[j]
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
        squares[j] = squared_norm(rows[j])
