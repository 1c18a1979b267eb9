"""Pooling and patches, forth and back."""

from __future__ import annotations

from stream_ottt.compiled import Array, jit


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
def pool_overlapping(image: Array, size: int, stride: int, pad: int, out: Array, border: int) -> None:
    """Average pooling of [H, W, C] over squares that may overlap, with a border of zeros that count."""
    height, width, channels = image.shape
    share = image.dtype.type(1 / (size * size))
    for y in range(out.shape[0] - 2 * border):
        for x in range(out.shape[1] - 2 * border):
            mean = out[y + border, x + border]
            for c in range(channels):
                mean[c] = 0
            for iy in range(max(0, y * stride - pad), min(height, y * stride - pad + size)):
                for ix in range(max(0, x * stride - pad), min(width, x * stride - pad + size)):
                    pixel = image[iy, ix]
                    for c in range(channels):
                        mean[c] += pixel[c]
            for c in range(channels):
                mean[c] *= share


@jit
def unpool_overlapping(delta: Array, size: int, stride: int, pad: int, out: Array) -> None:
    """The error [h, w, C] passed down through :func:`pool_overlapping`, onto [H, W, C]."""
    height, width, channels = out.shape
    share = delta.dtype.type(1 / (size * size))
    every = out.ravel()
    for i in range(every.size):
        every[i] = 0
    for y in range(delta.shape[0]):
        for x in range(delta.shape[1]):
            source = delta[y, x]
            for iy in range(max(0, y * stride - pad), min(height, y * stride - pad + size)):
                for ix in range(max(0, x * stride - pad), min(width, x * stride - pad + size)):
                    pixel = out[iy, ix]
                    for c in range(channels):
                        pixel[c] += source[c] * share


@jit
def fold_strided(columns: Array, size: int, stride: int, image: Array) -> None:
    """As :func:`fold`, for a convolution whose patches lie ``stride`` pixels apart."""
    height, width, n = image.shape
    pad, across = size // 2, (width + stride - 1) // stride
    every = image.ravel()
    for i in range(every.size):
        every[i] = 0
    for y in range((height + stride - 1) // stride):
        for x in range(across):
            patch = columns[y * across + x]
            for ky in range(max(0, pad - y * stride), min(size, height + pad - y * stride)):
                for kx in range(max(0, pad - x * stride), min(size, width + pad - x * stride)):
                    out, first = image[y * stride + ky - pad, x * stride + kx - pad], (ky * size + kx) * n
                    for i in range(n):
                        out[i] += patch[first + i]
