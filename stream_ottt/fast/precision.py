"""How the operands of matrix products are rounded, and which product that calls for."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch

Precision = Literal["float32", "bf16-backward", "bf16"]


@dataclass(frozen=True, slots=True)
class Products:
    """The operands of the forward and of the backward products; sums are float32 in any case.

    Attributes:
        forward, backward: the operands are rounded to bfloat16, 8 significant bits.
        native: they are stored and multiplied as bfloat16; else as what they are rounded from, which gives the same
            products.
    """

    forward: bool
    backward: bool
    native: bool

    @classmethod
    def of(cls, precision: Precision) -> Products:
        """What ``precision`` means on this processor."""
        rounded = precision != "float32"
        return cls(forward=precision == "bf16", backward=rounded, native=rounded and bfloat16_is_faster())


EXACT = Products(forward=False, backward=False, native=False)


@cache
def bfloat16_is_faster() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32, by a trial of some milliseconds.

    With AMX it does, severalfold. Some processors have an instruction for it that is slower than that for float32.
    """
    least = []
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.ones(256, 1024, dtype=dtype), torch.ones(1024, 256, dtype=dtype)
        times = []
        for _ in range(7):
            started = time.perf_counter()
            torch.mm(a, b)
            times.append(time.perf_counter() - started)
        least.append(min(times))
    return least[1] < least[0] / 1.25
