"""The one loop of the feed, compiled by numba: events from one order of fields to the other, in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from stream_ottt.compiled import jit

ON_THE_WIRE = np.dtype([("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")])
IN_MEMORY = np.dtype([("x", "<u2"), ("y", "<u2"), ("t", "<u8"), ("p", "u1")])
"""The two layouts with fields of plain bits, so that nothing is converted but a polarity that is no 0 or 1."""


@jit(exact=True)
def reorder(given: Any, made: Any) -> None:
    """Copy records [n] of one layout to the other's."""
    for i in range(len(given)):
        made[i].x = given[i].x
        made[i].y = given[i].y
        made[i].t = given[i].t
        made[i].p = given[i].p != 0
