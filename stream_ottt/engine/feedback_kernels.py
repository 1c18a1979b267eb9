"""A 3×3 (or k×k) convolution of an image that was upsampled by nearest neighbours, without upsampling it.

A pixel of the small image gives the same products to all pixels that it is copied to, so they are made once:
``parts`` [small pixels, taps, out] for each tap of the kernel. The large image's currents are sums of them, and the
weights' gradient needs no more of the errors than their sums per small pixel and tap.
"""

from __future__ import annotations

from stream_ottt.compiled import Array, jit


@jit
def spread(parts: Array, rows: Array, columns: Array, size: int, width: int, bias: Array, current: Array) -> None:
    """current[pixel] = bias + Σ_taps parts[the small pixel under the tap, tap].

    Args:
        parts: [small pixels, size², out].
        rows, columns: the small row (column) under each large one.
        size: edge of the kernel.
        width: of the small image.
        current: [large pixels, out], out.
    """
    pad, height, large = size // 2, rows.size, columns.size
    for y in range(height):
        for x in range(large):
            out = current[y * large + x]
            for o in range(out.size):
                out[o] = bias[o]
            for ky in range(max(0, pad - y), min(size, height + pad - y)):
                for kx in range(max(0, pad - x), min(size, large + pad - x)):
                    part = parts[rows[y + ky - pad] * width + columns[x + kx - pad], ky * size + kx]
                    for o in range(out.size):
                        out[o] += part[o]


@jit
def gather(error: Array, k: Array, rows: Array, columns: Array, size: int, width: int, sums: Array) -> None:
    """sums[small pixel, tap] = Σ error / k over the large pixels whose tap lies on it; the transpose of the above.

    Args:
        error: [large pixels, out], multiplied by k [out].
        sums: [small pixels, size², out], out.
    """
    pad, height, large = size // 2, rows.size, columns.size
    every = sums.ravel()
    for i in range(every.size):
        every[i] = 0
    for y in range(height):
        for x in range(large):
            e = error[y * large + x]
            for ky in range(max(0, pad - y), min(size, height + pad - y)):
                for kx in range(max(0, pad - x), min(size, large + pad - x)):
                    part = sums[rows[y + ky - pad] * width + columns[x + kx - pad], ky * size + kx]
                    for o in range(e.size):
                        part[o] += e[o]
    for s in range(sums.shape[0]):
        for tap in range(sums.shape[1]):
            part = sums[s, tap]
            for o in range(part.size):
                part[o] /= k[o]
