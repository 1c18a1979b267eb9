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


@jit
def current_error(delta: Array, k: Array, e: Array, bias: Array, factor: float) -> None:
    """As :func:`membrane_error` where no neurons are: δ·factor, summed into the bias's gradient and multiplied by k."""
    pixels, channels = delta.shape
    factor = e.dtype.type(factor)
    bias[:] = 0
    for p in range(pixels):
        d, out = delta[p], e[p]
        for c in range(channels):
            a = d[c] * factor
            bias[c] += a
            out[c] = a * k[c]


@jit
def through_neurons(delta: Array, f: Array, factor: float, rectangular: bool) -> None:
    """δ·f·factor in place, both [pixels, C]; f as in :func:`membrane_error`."""
    d, s = delta.ravel(), f.ravel()
    factor = delta.dtype.type(factor)
    if rectangular:
        for i in range(d.size):
            d[i] *= s[i] * factor
    else:
        for i in range(d.size):
            d[i] *= (s[i] - s[i] * s[i]) * factor


@jit
def affine(current: Array, k: Array, bias: Array, out: Array, border: int) -> None:
    """k·current + bias of [H·W, C] into the inside of an image [H + 2 border, W + 2 border, C]."""
    width, channels = out.shape[1] - 2 * border, out.shape[2]
    for y in range(out.shape[0] - 2 * border):
        for x in range(width):
            source, pixel = current[y * width + x], out[y + border, x + border]
            for c in range(channels):
                pixel[c] = k[c] * source[c] + bias[c]


@jit
def add_current(current: Array, k: Array, bias: Array, more: Array) -> None:
    """current ← k·current + bias + more, in place, [H·W, C]."""
    pixels, channels = current.shape
    for p in range(pixels):
        u, add = current[p], more[p]
        for c in range(channels):
            u[c] = (k[c] * u[c] + bias[c]) + add[c]


@jit
def drop(f: Array, mask: Array) -> None:
    """Zero where the mask is; f and mask of one size."""
    values, keep = f.ravel(), mask.ravel()
    zero = f.dtype.type(0)
    for i in range(values.size):
        values[i] = values[i] if keep[i] != 0 else zero
