"""How inner loops are compiled: by numba at their first call, without the GIL, with their machine code kept on disk.

A module of such loops imports numba when it is imported, so it is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, overload

import numpy.typing as npt

Array = npt.NDArray[Any]
Result = TypeVar("Result")

# Sums may be reordered (else they are not vectorized); infinities and NaN keep their meaning.
FAST = {"reassoc", "contract", "nsz", "arcp"}


# A loop is called with however many arrays an optimizer or a resampling has, which type checkers cannot count.
@overload
def jit(function: Callable[..., Result]) -> Callable[..., Result]: ...
@overload
def jit(*, exact: bool) -> Callable[[Callable[..., Result]], Callable[..., Result]]: ...
def jit(function: Any = None, *, exact: bool = False) -> Any:
    """Compile a function; its machine code is kept where :mod:`stream_ottt.compiled_cache` finds a safe folder.

    Args:
        function: the loop, as Python.
        exact: keep the order of all sums of floats, as a decoder wants it. Otherwise they may be reordered.
    """
    if function is None:
        return partial(_compiled, exact=exact)
    return _compiled(function, exact=exact)


def _compiled(function: Any, *, exact: bool) -> Any:
    import numba

    from stream_ottt.compiled_cache import keep

    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": False if exact else FAST}
    return keep(numba.njit(**options)(function), repr(sorted(FAST) if not exact else "exact"))
