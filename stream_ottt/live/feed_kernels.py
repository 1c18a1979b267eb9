"""The one loop of the feed, compiled by numba: events from one order of fields to the other, in one pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numba
import numpy as np

Kernel = Callable[[Any, Any], None]

ON_THE_WIRE = np.dtype([("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")])
IN_MEMORY = np.dtype([("x", "<u2"), ("y", "<u2"), ("t", "<u8"), ("p", "u1")])
"""The two layouts with fields of plain bits, so that nothing is converted but a polarity that is no 0 or 1."""


def _reorder(given: Any, made: Any) -> None:
    for i in range(len(given)):
        made[i].x = given[i].x
        made[i].y = given[i].y
        made[i].t = given[i].t
        made[i].p = given[i].p != 0


def _compiled() -> Kernel:
    """Compiled without the GIL, and kept on disk where that is possible."""
    try:
        return cast("Kernel", numba.njit(nogil=True, cache=True)(_reorder))
    except RuntimeError:  # no folder for the compiled code can be written
        return cast("Kernel", numba.njit(nogil=True)(_reorder))


reorder = _compiled()
"""``reorder(given, made)``: copy records [n] of one layout to the other's."""
