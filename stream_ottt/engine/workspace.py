"""Flat buffers for what is needed only within one layer's turn, shared by all layers; one workspace per thread.

This is why learning needs no gradient buffers for the whole network: each layer's gradient is made, used, and
overwritten by the next layer's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from stream_ottt.compiled import Array
from stream_ottt.engine.precision import Products
from stream_ottt.engine.turn import BLOCK, Shape, Turn


class Workspace:
    """The buffers of one thread, as large as the largest layer needs.

    Args:
        shapes: of each layer; None for one without weights.
        dtype: of the buffers.
        products: how the operands of convolutions are rounded.

    Attributes:
        turns: of the layers that have weights.
    """

    def __init__(self, shapes: Sequence[Shape | None], dtype: torch.dtype, products: Products) -> None:
        given = [s for s in shapes if s is not None]
        self.columns = torch.zeros(max(s.pixels * s.fan_in for s in given), dtype=dtype)
        self.error = torch.zeros(max(s.pixels * s.out for s in given), dtype=dtype)
        self.gradient = torch.zeros(max(BLOCK, *(s.fan_in for s in given)), dtype=dtype)
        self.vectors = torch.zeros(3, max(s.out for s in given), dtype=dtype)
        inputs = max((s.height + s.kernel) * (s.width + s.kernel) * s.channels for s in given)
        self.found: Array = np.zeros(inputs + 1, np.int32)
        reduced = self._reduced([s for s in given if not s.outer], products)
        self.turns = [None if s is None else Turn(s, self) if s.outer else reduced(s) for s in shapes]

    def _reduced(self, shapes: Sequence[Shape], products: Products) -> Callable[[Shape], Turn]:
        """What makes the turn of a convolution."""
        if products.format == "bfloat16" and shapes:
            from stream_ottt.engine.bfloat16 import BFloat16Buffers, BFloat16Turn

            return partial(BFloat16Turn, space=self, half=BFloat16Buffers(shapes), forward=products.forward)
        return partial(Turn, space=self)
