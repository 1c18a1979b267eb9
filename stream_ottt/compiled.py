"""How the kernels are compiled: everything between two matrix products, fused into few passes over memory.

In all of them, images are stored channels last, ``[height, width, channels]``, so that inner loops run over contiguous
channels. Each inner loop touches few arrays: LLVM gives up vectorizing where it must prove many of them distinct.
Numbers are computed in the arrays' own dtype, float32 or float64.
"""

from __future__ import annotations

from typing import Any

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
