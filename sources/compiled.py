"""Inner loops compiled by numba, which takes half a second to import: only for what is worth it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Compile at the first call, without the GIL, and keep the machine code on disk where that is possible."""
    import numba

    try:
        return cast("F", numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:  # no folder for the compiled code can be written
        return cast("F", numba.njit(nogil=True)(function))
