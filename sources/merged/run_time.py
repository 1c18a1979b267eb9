"""The times of cameras with clocks of their own, as times of the run."""

from __future__ import annotations

import numpy as np

from stream_ottt.events.packet import EventArray

JUMP_US = 500_000
"""A step forward that is longer by so much than what has passed here is a clock that was set, not a pause."""
LATE_S = 1.0
"""A source of which nothing but late events came for so long has a clock that runs behind."""


class RunTime:
    """The run's time: that of the newest event so far, and what has passed here since.

    Attributes:
        newest: time of the newest event, µs; None before the first.
    """

    def __init__(self) -> None:
        self.newest: int | None = None
        self._at = 0.0

    def now(self, at: float) -> int:
        """The run's time at the moment ``at`` (s), µs."""
        return 0 if self.newest is None else self.newest + round((at - self._at) * 1e6)

    def heard(self, t: int, at: float) -> None:
        """An event at ``t`` (µs) came at the moment ``at``."""
        if self.newest is None or t > self.newest:
            self.newest, self._at = t, at


class Mapping:
    """From one source's clock to the run's: a shift, found when its first event comes.

    The source that is heard first keeps its times. The first event of another one is placed at the run's time of its
    arrival. Later the shift changes in two cases only: where the source's time steps forward by ``JUMP_US`` more than
    has passed here, and where for ``LATE_S`` all that came of it was late.

    Args:
        run: the run's time.
        own: True leaves all times as they are.

    Attributes:
        shift: µs that are added to the source's times; None before its first event.
        moves: how often the shift has changed since.
    """

    def __init__(self, run: RunTime, *, own: bool) -> None:
        self.shift: int | None = 0 if own else None
        self.moves = 0
        self._run = run
        self._own = own
        self._last = 0  # time of the latest event in the source's time, µs
        self._at = 0.0
        self._late_since: float | None = None
        self._begun = False

    def place(self, events: EventArray, at: float) -> EventArray:
        """Events [n > 0] in order of time that came at the moment ``at`` (s), with times of the run."""
        t = np.ascontiguousarray(events["t"])
        if not self._own:
            if self.shift is None:
                self.shift = 0 if self._run.newest is None else self._run.now(at) - int(t[0])
            shifts = self._shifts(t, at)
            if shifts.any():
                events = events.copy()
                events["t"] += shifts
        self._begun, self._last, self._at = True, int(t[-1]), at
        self._run.heard(int(events["t"][-1]), at)
        return events

    def came(self, count: int, late: int, at: float) -> None:
        """Of ``count`` events that came at the moment ``at``, so many were late."""
        if late < count or self._own:
            self._late_since = None
        elif self._late_since is None:
            self._late_since = at
        elif at - self._late_since >= LATE_S:
            self._late_since = None
            self.shift, self._begun = None, False
            self.moves += 1

    def _shifts(self, t: np.ndarray, at: float) -> np.ndarray:
        """What is to be added to each of these times, µs [n]."""
        assert self.shift is not None
        steps = np.diff(t, prepend=self._last if self._begun else t[0])
        passed = round((at - self._at) * 1e6) if self._begun else 0
        too_far = np.flatnonzero(steps > passed + JUMP_US)
        shifts = np.full(len(t), self.shift)
        for i in too_far.tolist():
            self.moves += 1
            self.shift -= int(steps[i]) - passed
            shifts[i:] = self.shift
        return shifts
