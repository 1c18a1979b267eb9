"""The formats of the operands of matrix products, and which of them gain anything on this processor."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor

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
    a, b = torch.ones(256, 1024), torch.ones(1024, 256)
    half = a.bfloat16(), b.bfloat16()
    return least_time(lambda: torch.mm(*half)) < least_time(lambda: torch.mm(a, b)) / 1.25


@cache
def one_dnn_is_faster() -> bool:
    """By a trial: torch multiplies float32 by MKL, which on some processors is half as fast as oneDNN."""
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not available or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    a, b = torch.ones(256, 1024), torch.ones(256, 1024)
    return least_time(lambda: one_dnn(a, b)) < least_time(lambda: torch.mm(a, b.t())) / 1.25


def one_dnn(a: Tensor, b: Tensor) -> Tensor:
    """a bᵀ of float32 [n, k] and [m, k], in new memory."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")
    return product


def least_time(product: Callable[[], object]) -> float:
    """Seconds of a core for the fastest of a few trials."""
    times = []
    for _ in range(7):
        started = time.thread_time()
        product()
        times.append(time.thread_time() - started)
    return min(times)


def flush_denormals() -> None:
    """Numbers below 1e-38 are zero in this thread: traces decay into them in a long silence, and each costs a trap."""
    torch.set_flush_denormal(True)
