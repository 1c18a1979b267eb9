"""Whether one of several live sources is there: when it went, and when it came back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from stream_ottt.errors import InputError

SILENT_S = 2.0
"""A source that gives nothing for so long while another one does counts as gone."""
MAX_SAID = 10
"""Losses and returns of a source that are said; all are counted."""


class Presence:
    """One source's comings and goings.

    Args:
        name: of the source.
        say: told of them in one line.

    Attributes:
        there: whether the others wait for it.
        ended: whether it has ended or failed, and has not come back.
        since: the moment (s) of its first packet; None before.
        last: the moment of its last packet.
        error: what ended it; None while it is there, or where it ended in order.
        losses: how often it went.
        returns: how often it came back.
    """

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        self.there = False
        self.ended = False
        self.since: float | None = None
        self.last = 0.0
        self.error: InputError | None = None
        self.losses = 0
        self.returns = 0
        self._name = name
        self._say = say

    def heard(self, now: float) -> None:
        """A packet has come."""
        if self.since is None:
            self.since = now
            if self.losses:
                self._tell(f"{self._name}: here now", self.losses)
        elif not self.there:
            self.returns += 1
            self._tell(f"{self._name}: back after {now - self.last:.1f} s", self.returns)
        self.there, self.ended, self.error, self.last = True, False, None, now

    def gone(self, now: float, error: InputError | None, *, alone: bool) -> None:
        """It has ended, or failed; ``alone``: so have all others, and nobody asks it again."""
        first = not self.ended
        if self.there or (self.since is None and first):
            self.losses += 1
            if not alone:
                self._tell(f"{self._name}: {error or 'has ended'}; the others go on", self.losses)
        self.there, self.ended, self.error = False, True, error

    def missing(self) -> None:
        """The others begin without it."""
        self.losses += 1
        self._tell(f"{self._name}: nothing has come yet; the others begin", self.losses)

    def look(self, now: float, others: Sequence[Presence]) -> None:
        """Whether it has fallen silent while one of the others has not."""
        silent = self.there and now - self.last >= SILENT_S
        if silent and any(one.there and now - one.last < SILENT_S for one in others):
            self.there = False
            self.losses += 1
            self._tell(f"{self._name}: nothing has come for {now - self.last:.1f} s; the others go on", self.losses)

    def facts(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"there": self.there, "losses": self.losses, "returns": self.returns}

    def _tell(self, text: str, count: int) -> None:
        if count <= MAX_SAID:
            self._say(text)
