"""How a run ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Reason = Literal["end", "max-steps", "interrupted", "damaged", "failed"]


@dataclass(slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        reason: ``end`` of the stream, ``max-steps``, ``interrupted``, ``damaged`` input, or ``failed``.
        error: what damaged the input, or failed.
        began: whether a timestep could be predicted.
    """

    reason: Reason = "end"
    error: BaseException | None = None
    began: bool = False
