"""Which sender is followed where several could send: one at a time, so that two streams are never mixed."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

AWAY_S = 0.5
"""A sender of which nothing came for so long may be taken for gone: another one takes its place."""


MOST_RIVALS = 16
"""Senders whose refused messages are counted one by one."""


class Senders:
    """Follows one sender; another one is heard only once the first has ended, or has been silent for ``AWAY_S``.

    Args:
        now: seconds that pass.

    Attributes:
        followed: who is followed; None before the first message.
        refused: messages of others.
        refused_before: of them, those that the sender that is followed had sent before it was.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.followed: Hashable = None
        self.refused = 0
        self.refused_before = 0
        self._rivals: dict[Hashable, int] = {}  # how many of their messages were refused
        self._now = now
        self._heard = 0.0
        self._ended = False

    def takes(self, sender: Hashable, *, anew: bool = False) -> bool:
        """Whether a message of this sender is to be used; else it is counted as refused.

        Args:
            sender: who sent it.
            anew: the message cannot come of the sender that is followed, though it bears its name.
        """
        now = self._now()
        if sender != self.followed or anew:
            if self.followed is not None and not self._ended and now - self._heard < AWAY_S:
                self.refuse(sender)
                return False
            self.refused_before = self._rivals.pop(sender, 0)
            self.followed, self._ended = sender, False
        self._heard = now
        return True

    def refuse(self, sender: Hashable) -> None:
        """Count a message of a sender that is not followed."""
        self.refused += 1
        if sender not in self._rivals and len(self._rivals) >= MOST_RIVALS:
            del self._rivals[next(iter(self._rivals))]
        self._rivals[sender] = self._rivals.get(sender, 0) + 1

    def ended(self) -> None:
        """The sender that is followed has said that its stream has ended."""
        self._ended = True
