"""Leaky integrate-and-fire neurons, their surrogate derivative and their traces."""

from __future__ import annotations

from stream_ottt.compiled import Array, jit


@jit
def lif(
    current: Array,
    k: Array,
    bias: Array,
    v: Array,
    spikes: Array,
    pad: int,
    decay: float,
    threshold: float,
) -> None:
    """One timestep of leaky integrate-and-fire neurons.

    u = λ v + k·current + bias;  s = 1[u >= V_th];  v = u - V_th s

    Args:
        current: [H·W, C]; becomes u.
        k: [C], what the weights of each output channel are multiplied by.
        bias: [C].
        v: [H, W, C], the membrane after reset, in place.
        spikes: [H + 2 pad, W + 2 pad, C], out; its border is left alone.
    """
    height, width, channels = v.shape
    n, edge = width * channels, pad * channels
    one, zero = v.dtype.type(1), v.dtype.type(0)
    decay, threshold = v.dtype.type(decay), v.dtype.type(threshold)
    for y in range(height):
        for x in range(width):
            u, before = current[y * width + x], v[y, x]
            for c in range(channels):
                u[c] = decay * before[c] + (k[c] * u[c] + bias[c])
        row = current[y * width : (y + 1) * width].ravel()
        after = v[y].ravel()
        s = spikes[y + pad].ravel()[edge : edge + n]
        for i in range(n):
            fired = one if row[i] >= threshold else zero
            s[i] = fired
            after[i] = row[i] - threshold * fired


@jit
def surrogate(u: Array, f: Array, threshold: float, slope: float, rectangular: bool) -> None:
    """What the surrogate derivative is made of, [H·W, C]: the rectangle itself, or the argument of the sigmoid."""
    n = u.size
    source, out = u.ravel(), f.ravel()
    one, zero = u.dtype.type(1), u.dtype.type(0)
    threshold, slope = u.dtype.type(threshold), u.dtype.type(slope)
    if rectangular:
        for i in range(n):
            out[i] = one if abs(source[i] - threshold) < threshold else zero
    else:
        for i in range(n):
            out[i] = slope * (source[i] - threshold)


@jit
def track(spikes: Array, old: Array, new: Array, decay: float) -> None:
    """Traces of the same neurons: new = λ old + spikes, over whole padded images (a border of zeros stays zero)."""
    n = spikes.size
    s, before, after = spikes.ravel(), old.ravel(), new.ravel()
    decay = spikes.dtype.type(decay)
    for i in range(n):
        after[i] = decay * before[i] + s[i]


@jit
def membrane_error(delta: Array, f: Array, k: Array, e: Array, bias: Array, factor: float, rectangular: bool) -> None:
    """The error at the membrane, δ·f·factor, summed into the bias's gradient and multiplied by k.

    With k in it, one e serves both products: Wᵀe passes the error down, and e × trace is k times the gradient of Ŵ.

    Args:
        delta: ∂L/∂(spikes as the layer above saw them) [H·W, C].
        f: [H·W, C]: the rectangle, or the sigmoid σ, whose derivative is σ - σ².
        k: [C].
        e: [H·W, C], out.
        bias: [C], out.
    """
    pixels, channels = delta.shape
    factor = e.dtype.type(factor)
    bias[:] = 0
    for p in range(pixels):
        d, s, out = delta[p], f[p], e[p]
        if rectangular:
            for c in range(channels):
                a = d[c] * s[c] * factor
                bias[c] += a
                out[c] = a * k[c]
        else:
            for c in range(channels):
                a = d[c] * (s[c] - s[c] * s[c]) * factor
                bias[c] += a
                out[c] = a * k[c]
