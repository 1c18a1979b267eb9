"""The compiled loop of frames that decay."""

from __future__ import annotations

from math import exp
from typing import Any

from stream_ottt.compiled import jit


@jit
def add_decaying(pixels: Any, t: Any, sums: Any, last: Any, tau: float) -> None:
    """Add events to sums that decay.

    Args:
        pixels: intp [n], whose sum each event belongs to.
        t: int64 [n], µs ≥ 0.
        sums: float64 [pixels], each as it was at ``last``; changed.
        last: int64 [pixels], µs; changed.
        tau: time constant, µs.
    """
    for i in range(len(pixels)):
        pixel = pixels[i]
        elapsed = t[i] - last[pixel]
        if elapsed >= 0:
            sums[pixel] = sums[pixel] * exp(elapsed / -tau) + 1.0
            last[pixel] = t[i]
        else:  # an event that comes behind a later one
            sums[pixel] += exp(elapsed / tau)
