"""The formats of the operands of matrix products, and which of them gain anything on this processor."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch

from stream_ottt.engine.config import Precision

Format = Literal["float32", "bfloat16"]


@dataclass(frozen=True, slots=True)
class Rounding:
    """What the operands of the products are rounded to.

    Attributes:
        format: ``bfloat16`` has 8 significant bits and the range of float32.
        forward: in the forward pass too; else only the backward pass has rounded operands.
    """

    format: Format = "float32"
    forward: bool = False

    @property
    def reduced(self) -> bool:
        return self.format != "float32"

    @classmethod
    def of(cls, precision: Precision) -> Rounding:
        """What ``precision`` allows: its format where this processor is faster at it than at float32."""
        if precision == "float32":
            return EXACT
        return cls("bfloat16", forward="-" not in precision) if bfloat16_is_faster() else EXACT


EXACT = Rounding()


@cache
def bfloat16_is_faster() -> bool:
    """By a trial of some milliseconds: with AMX it is, severalfold; other processors have a slow instruction for it."""
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


def flush_denormals() -> None:
    """Numbers below 1e-38 are zero in this thread: traces decay into them in a long silence, and each costs a trap."""
    torch.set_flush_denormal(True)
