"""The course of a run in the log: what a snapshot shows that the one before did not."""

from __future__ import annotations

import time
from collections.abc import Callable

from stream_ottt.log import warn
from stream_ottt.pipeline.view import RunSnapshot

QUIET_S = 10.0
"""A live source that gives nothing for so long is said to be waited for."""


class Journal:
    """Says each thing once, when it is first seen.

    Args:
        live: name of the source, where it is live.
        now: seconds that pass.
    """

    def __init__(self, live: str | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._live = live
        self._now = now
        self._read = 0
        self._heard = now()
        self._quiet = False
        self._warnings = self._rollbacks = 0
        self._epochs = 1
        self._lost = 0

    def look(self, snapshot: RunSnapshot) -> None:
        """Say what is new; in the event loop."""
        if self._live is not None:
            self._look_for_silence(self._live, snapshot.ledger.read)
        session = snapshot.session
        if session is None:
            return
        for line in session.warnings[self._warnings :]:
            warn(line, "warning", timesteps=session.timesteps)
        self._warnings = len(session.warnings)
        if session.rollbacks > self._rollbacks:
            self._rollbacks = session.rollbacks
            text = f"the weights went back to the last good ones, {session.rollbacks} times so far"
            warn(text, "rollback", quiet=True, rollbacks=session.rollbacks, timesteps=session.timesteps)
        self._look_at_source(snapshot, session.timesteps)

    def _look_for_silence(self, source: str, read: int) -> None:
        now = self._now()
        if read > self._read:
            if self._quiet:
                warn(f"{source}: events come again, after {now - self._heard:.0f} s", "heard")
            self._read, self._heard, self._quiet = read, now, False
        elif not self._quiet and now - self._heard >= QUIET_S:
            self._quiet = True
            warn(f"{source}: no events have come for {QUIET_S:g} s; they are waited for", "silence")

    def _look_at_source(self, snapshot: RunSnapshot, timesteps: int) -> None:
        epochs = snapshot.clock.get("epochs", 1)
        if epochs > self._epochs:
            jump = (snapshot.clock.get("jumps") or [None])[-1]
            warn("the sensor's clock jumped", "epoch", quiet=True, epochs=epochs, jump=jump, timesteps=timesteps)
        self._epochs = epochs
        lost = snapshot.transport.get("lost_messages", 0)
        if lost > self._lost:
            text = f"{lost - self._lost} messages never came"
            warn(text, "gap", quiet=True, lost=lost - self._lost, timesteps=timesteps)
        self._lost = lost
