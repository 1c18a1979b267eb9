"""How long a class that is new takes until it is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

KNOWN = 0.9
"""Share of a class's latest samples that must be right for it to be known."""

LATEST = 10
"""How many latest samples that is."""


def time_to_know(outcomes: Sequence[Sequence[int]], *, sample_us: int | None = None) -> list[dict[str, Any]]:
    """For each class, from its first sample on, until 90 % of its latest ten samples were classified rightly.

    Args:
        outcomes: (truth, said) in the order of the stream, each said before it was learned.
        sample_us: duration of a sample, µs, where it has one.

    Returns:
        A row a class, in the order in which they came: ``label``; ``first``, the position of its first sample;
        ``own``, samples of it that were seen by then; ``samples`` of the stream since; ``seconds`` of these. None where
        it never was.
    """
    first: dict[int, int] = {}
    hits: dict[int, list[bool]] = {}
    found: dict[int, dict[str, Any]] = {}
    for at, (truth, said) in enumerate(outcomes):
        first.setdefault(truth, at)
        own = hits.setdefault(truth, [])
        own.append(truth == said)
        if truth not in found and len(own) >= LATEST and sum(own[-LATEST:]) >= KNOWN * LATEST:
            samples = at + 1 - first[truth]
            seconds = None if sample_us is None else samples * sample_us / 1e6
            found[truth] = {"own": len(own), "samples": samples, "seconds": seconds}
    never = {"own": None, "samples": None, "seconds": None}
    return [{"label": label, "first": at, **found.get(label, never)} for label, at in first.items()]
