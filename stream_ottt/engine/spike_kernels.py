"""A convolution that looks only at the inputs that are active."""

from __future__ import annotations

from stream_ottt.compiled import Array, jit


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
def scatter(
    image: Array, border: int, found: Array, n: int, columns: Array, size: int, width: int, current: Array
) -> None:
    """A convolution that only looks at what is active: each spike adds its weights to the currents it reaches.

    Args:
        image: [H + 2 border, W + 2 border, C].
        found, n: what :func:`find_active` gave.
        columns: Wᵀ [size·size·C, out].
        size: edge of the kernel.
        width: of the image without its border.
        current: [H·W, out], out.
    """
    _, padded_width, channels = image.shape
    pad, height = size // 2, current.shape[0] // width
    flat, every = image.ravel(), current.ravel()
    for i in range(every.size):
        every[i] = 0
    for j in range(n):
        spike = flat[found[j]]
        pixel, channel = found[j] // channels, found[j] % channels
        y, x = pixel // padded_width - border, pixel % padded_width - border
        for ky in range(max(0, y + pad - height + 1), min(size, y + pad + 1)):
            for kx in range(max(0, x + pad - width + 1), min(size, x + pad + 1)):
                out = current[(y + pad - ky) * width + x + pad - kx]
                row = (ky * size + kx) * channels + channel
                w = columns[row]
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
