"""Event time that runs on when a live source goes away and starts again, and the record of its gaps."""

from __future__ import annotations

import time
from typing import Any

from stream_ottt.events.packet import EventArray

MAX_GAPS = 100
"""Gaps that are kept one by one; all are counted."""


class Continuity:
    """Follows one source over its interruptions.

    A source that starts again may begin its time anew. What it then sends is moved, all of it by the same amount, to
    where it would be had its clock run on: after the last event by as much as has passed here since that came.

    Attributes:
        shift: µs that are added to the source's own time.
        gaps: how many interruptions there were.
        lost: messages known to be lost.
    """

    def __init__(self) -> None:
        self.shift = 0
        self.gaps = 0
        self.lost = 0
        self._kept: list[dict[str, Any]] = []
        self._latest: int | None = None  # of the events passed on, µs
        self._at = time.monotonic()
        self._interrupted = False
        self._lost_now: int | None = None

    @property
    def latest(self) -> int | None:
        """Time of the latest event passed on, µs; None before the first."""
        return self._latest

    def interrupted(self, lost: int | None = None) -> None:
        """The source was away; ``lost`` messages are missing, or nobody knows how many."""
        if self._latest is None:
            return
        self._interrupted = True
        if lost is not None:
            self._lost_now = (self._lost_now or 0) + lost
            self.lost += lost

    def place(self, events: EventArray, *, restarted: bool = False) -> None:
        """Move ``events`` [n > 0], which must be writable, to where they belong.

        Args:
            restarted: the source has begun anew, so its time may have too.
        """
        now = time.monotonic()
        first = int(events["t"][0])
        if restarted and self._latest is not None and first + self.shift < self._latest:
            self.shift = self._latest + round((now - self._at) * 1e6) - first
        if self.shift:
            events["t"] += self.shift
        if self._interrupted and self._latest is not None:
            self._note(self._latest, first + self.shift, now - self._at)
        self._latest = max(int(events["t"][-1]), -1 if self._latest is None else self._latest)
        self._at = now

    def ended(self, t: int) -> None:
        """The source has said that it has ended at its time ``t`` (µs): what was lost before that makes a gap, too."""
        if self._interrupted and self._latest is not None:
            self._note(self._latest, max(self._latest, t + self.shift), time.monotonic() - self._at)

    def facts(self) -> dict[str, Any]:
        """JSON-ready: ``lost_messages``, ``interruptions``, and of the first hundred where (µs) and how long."""
        return {"lost_messages": self.lost, "interruptions": self.gaps, "gaps": list(self._kept)}

    def _note(self, before: int, after: int, seconds: float) -> None:
        self.gaps += 1
        if len(self._kept) < MAX_GAPS:
            gap = {"t0": before, "t1": after, "lost_messages": self._lost_now, "wall_s": round(seconds, 3)}
            self._kept.append(gap)
        self._interrupted, self._lost_now = False, None
