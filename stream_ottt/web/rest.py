"""When the page's thread rests between results, so that it seldom wakes beside the learner's."""

from __future__ import annotations

DRAWN_S, UNSEEN_S = 0.02, 0.1
"""Longest rest while a browser draws, and while none does."""

BUNCH = 64
"""Results that may come in a rest: a quarter of those that may wait, so that the learner never waits for room."""

TAKING_S = 0.001
"""What came in a rest is taken within so long."""


class Rest:
    """Has results taken in bunches: after a rest, those that came meanwhile follow without one.

    To wake for each result costs more than all else that the page does while no browser draws.

    Args:
        now: seconds, as all times here.
    """

    def __init__(self, now: float) -> None:
        self._taken = 0
        self._began = now  # the latest rest
        self._until = now  # results follow without a rest

    def due(self, now: float, *, drawn: bool) -> float:
        """How long to rest after a result; 0 for not at all.

        Args:
            now: when the result was taken.
            drawn: whether a browser draws.
        """
        self._taken += 1
        if now < self._until:
            return 0.0
        rest = min(DRAWN_S if drawn else UNSEEN_S, BUNCH * (now - self._began) / self._taken)
        self._began, self._taken = now, 0
        return rest

    def ended(self, now: float) -> None:
        """The rest is over."""
        self._until = now + TAKING_S
