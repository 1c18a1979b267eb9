"""Everything between two matrix products, fused into few passes over memory and compiled by numba.

Images are stored channels last, ``[height, width, channels]``, so that inner loops run over contiguous channels. Each
inner loop touches few arrays: LLVM gives up vectorizing where it must prove many of them distinct. Numbers are computed
in the arrays' own dtype, float32 or float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# Sums may be reordered (else they are not vectorized); infinities and NaN keep their meaning.
FAST = {"reassoc", "contract", "nsz", "arcp"}


def jit(function: Any) -> Any:
    """Compile at the first call, without the GIL, and keep the machine code on disk where that is possible."""
    import numba

    options: dict[str, Any] = {"nogil": True, "fastmath": FAST, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder for the compiled code can be written
        return numba.njit(**options)(function)


@jit
def nonzero(gain: float) -> float:
    """A gain that can be divided by; a gain of exactly zero would hide its own gradient."""
    return gain if gain != 0 else gain + 1e-20


@jit
def find_active(image: Array, found: Array) -> int:
    """Where an image is not zero: the count, and the flat indices in ``found`` [image.size + 1]."""
    flat = image.ravel()
    n = 0
    for i in range(flat.size):
        found[n] = i
        n += 1 if flat[i] != 0 else 0
    return n


@jit
def scatter(image: Array, found: Array, n: int, columns: Array, size: int, current: Array) -> None:
    """A convolution that only looks at what is active: each spike adds its weights to the currents it reaches.

    Args:
        image: [H + 2 pad, W + 2 pad, C].
        found, n: what :func:`find_active` gave.
        columns: Wᵀ [size·size·C, out].
        size: edge of the kernel.
        current: [H·W, out], out.
    """
    padded_height, padded_width, channels = image.shape
    pad = size // 2
    height, width = padded_height - 2 * pad, padded_width - 2 * pad
    flat, every = image.ravel(), current.ravel()
    for i in range(every.size):
        every[i] = 0
    for j in range(n):
        spike = flat[found[j]]
        pixel, channel = found[j] // channels, found[j] % channels
        y, x = pixel // padded_width - pad, pixel % padded_width - pad
        for ky in range(max(0, y + pad - height + 1), min(size, y + pad + 1)):
            for kx in range(max(0, x + pad - width + 1), min(size, x + pad + 1)):
                out = current[(y + pad - ky) * width + x + pad - kx]
                w = columns[(ky * size + kx) * channels + channel]
                for i in range(out.size):
                    out[i] += spike * w[i]


@jit
def transpose(rows: Array, first: int, columns: Array) -> None:
    """Some rows of W [n, fan_in], the first of which is row ``first``, into Wᵀ [fan_in, out]."""
    n, fan_in = rows.shape
    whole = n - n % 16
    for j in range(0, whole, 16):  # 16 numbers are a line of the cache
        for i in range(fan_in):
            line = columns[i, first + j : first + j + 16]
            for r in range(16):
                line[r] = rows[j + r, i]
    for j in range(whole, n):
        for i in range(fan_in):
            columns[i, first + j] = rows[j, i]


@jit
def half_bits(value: float) -> int:
    """The bits of the nearest number of bfloat16, the even one of two; infinity and NaN stay."""
    x = np.float32(value)
    bits = x.view(np.uint32)
    even = (bits >> np.uint32(16)) & np.uint32(1)
    bits = np.uint32(bits + np.uint32(0x7FFF) + even) if x == x else np.uint32(0x7FC00000)
    return np.uint16(bits >> np.uint32(16))


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
            numbers[i] = np.uint32(np.uint32(bits[i]) << np.uint32(16)).view(np.float32)


@jit
def round_half(numbers: Array, out: Array) -> None:
    """Numbers rounded to those of bfloat16, in their own dtype; ``out`` may be ``numbers``."""
    flat, rounded = numbers.ravel(), out.ravel()
    for i in range(flat.size):
        rounded[i] = np.uint32(np.uint32(half_bits(flat[i])) << np.uint32(16)).view(np.float32)


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
def pool(image: Array, size: int, out: Array, pad: int) -> None:
    """Average pooling of [H, W, C] into the inside of the padded image ``out``."""
    height, width, channels = image.shape
    share = image.dtype.type(1 / (size * size))
    for y in range(height // size):
        for x in range(width // size):
            mean = out[y + pad, x + pad]
            first = image[y * size, x * size]
            for c in range(channels):
                mean[c] = first[c]
            for i in range(1, size * size):
                pixel = image[y * size + i // size, x * size + i % size]
                for c in range(channels):
                    mean[c] += pixel[c]
            for c in range(channels):
                mean[c] *= share


@jit
def mean_pixels(image: Array, out: Array) -> None:
    """The mean of each channel of [H, W, C] over the image, into [C]."""
    height, width, channels = image.shape
    for c in range(channels):
        out[c] = 0
    for y in range(height):
        for x in range(width):
            pixel = image[y, x]
            for c in range(channels):
                out[c] += pixel[c]
    share = image.dtype.type(1 / (height * width))
    for c in range(channels):
        out[c] *= share


@jit
def spread(delta: Array, image: Array) -> None:
    """The error [C] passed down through the mean over the image, onto [H, W, C]."""
    height, width, channels = image.shape
    share = image.dtype.type(1 / (height * width))
    for y in range(height):
        for x in range(width):
            pixel = image[y, x]
            for c in range(channels):
                pixel[c] = delta[c] * share


@jit
def unpool(delta: Array, size: int, out: Array) -> None:
    """The error [h, w, C] passed down through average pooling, onto [H, W, C]."""
    height, width, channels = out.shape
    share = delta.dtype.type(1 / (size * size))
    for y in range(height):
        for x in range(width):
            pixel = out[y, x]
            if y // size < delta.shape[0] and x // size < delta.shape[1]:
                source = delta[y // size, x // size]
                for c in range(channels):
                    pixel[c] = source[c] * share
            else:  # beyond the last whole square: took no part
                for c in range(channels):
                    pixel[c] = 0


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
def fold(columns: Array, size: int, image: Array) -> None:
    """The sum of overlapping patches [H·W, size·size·C] onto the image [H, W, C]: the transpose of taking patches.

    Each pixel gathers its patches, so that it is written once. The inside of a 3×3 convolution, which is nearly all
    there is, is written out: twice as fast as the loop.
    """
    height, width, n = image.shape
    pad = size // 2
    for y in range(height):
        for x in range(width):
            out = image[y, x]
            if size == 3 and 0 < x < width - 1 and 0 < y < height - 1:
                below, here, above = (y + 1) * width + x, y * width + x, (y - 1) * width + x
                a, b, c = columns[below + 1], columns[below], columns[below - 1]
                for i in range(n):
                    out[i] = a[i] + b[n + i] + c[2 * n + i]
                a, b, c = columns[here + 1], columns[here], columns[here - 1]
                for i in range(n):
                    out[i] += a[3 * n + i] + b[4 * n + i] + c[5 * n + i]
                a, b, c = columns[above + 1], columns[above], columns[above - 1]
                for i in range(n):
                    out[i] += a[6 * n + i] + b[7 * n + i] + c[8 * n + i]
                continue
            for i in range(n):
                out[i] = 0
            for ky in range(max(0, y + pad - height + 1), min(size, y + pad + 1)):
                for kx in range(max(0, x + pad - width + 1), min(size, x + pad + 1)):
                    patch = columns[(y + pad - ky) * width + x + pad - kx]
                    first = (ky * size + kx) * n
                    for i in range(n):
                        out[i] += patch[first + i]


@jit
def descend(
    gradient: Array,
    first: int,
    weights: Array,
    updated: Array,
    half: Array,
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
        half: where the new W goes as bfloat16, uint16 [out, N]; or an empty array.
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
        if half.size:
            bits = half[j]
            for i in range(n):
                bits[i] = half_bits(w[i])


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
