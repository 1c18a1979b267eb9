"""One class more: the read-out gets a row, and what was learned for the others stays, to the bit."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

READOUT_STD = 0.01
"""Standard deviation of a read-out's weights before anything is learned; its biases are 0."""


def with_new_row(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """A read-out's ``weight`` [classes + 1, features] and ``bias`` [classes + 1] from those of one class less.

    The row is drawn as the others were, from a generator that is seeded with its position: whoever adds the same class
    gets the same numbers.
    """
    weight, bias = parameters["weight"], parameters["bias"]
    generator = torch.Generator().manual_seed(len(weight))
    row = torch.randn((1, weight.shape[1]), generator=generator, dtype=torch.float64).mul_(READOUT_STD)
    return {"weight": torch.cat([weight, row.to(weight)]), "bias": torch.cat([bias, bias.new_zeros(1)])}


def with_zero_rows(value: Tensor, rows: int) -> Tensor:
    """``value`` with zeros behind it, so that it has so many rows."""
    return torch.cat([value, value.new_zeros(rows - len(value), *value.shape[1:])])


def with_zero_columns(value: Tensor, columns: int) -> Tensor:
    """``value`` with zeros behind each row, so that the last dimension is so long."""
    return F.pad(value, (0, columns - value.shape[-1]))
