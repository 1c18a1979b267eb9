"""When the page's thread rests between results, so that it seldom wakes beside the learner's.

To wake costs more than all else that the page does for a result. So results are taken in bunches, and while a browser
draws, the bunch is taken at the moment at which pictures are sent: at one wake.
"""

from __future__ import annotations

PICTURE_S = 1 / 30
"""Time between two pictures; they are sent at multiples of it, to all browsers at once."""

UNSEEN_S = 0.1
"""Longest rest while no browser draws."""

BUNCH = 64
"""Results that may come in a rest: a quarter of those that may wait, so that the learner never waits for room."""


def until_picture(now: float) -> float:
    """Seconds until the next picture is sent."""
    return PICTURE_S - now % PICTURE_S


class Rest:
    """How long nothing is taken, asked whenever all that came has been taken.

    Args:
        now: seconds, as all times here.
    """

    def __init__(self, now: float) -> None:
        self._taken = 0
        self._asked = now

    def took(self) -> None:
        """A result was taken."""
        self._taken += 1

    def due(self, now: float, *, drawn: bool) -> float:
        """Seconds to rest; 0 to be woken by the next result, as none has come since the last time.

        Args:
            now: all results until now have been taken.
            drawn: whether a browser draws.
        """
        taken, since = self._taken, now - self._asked
        self._taken, self._asked = 0, now
        if not taken:
            return 0.0
        return min(until_picture(now) if drawn else UNSEEN_S, BUNCH * since / taken)
