"""Whether a run is well: which of source, learner and checkpoints has stalled, and since when."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stream_ottt.metrics.config import MetricsConfig
from stream_ottt.pipeline.view import RunSnapshot, RunView

PARTS = ("source", "learner", "checkpoint")


@dataclass(frozen=True, slots=True)
class PartState:
    """How a part of a run is.

    Attributes:
        stalled: why, in a few words; None while it is well.
        since: ``time.time()`` since when it is as it is.
    """

    stalled: str | None
    since: float


class Health:
    """Looks at a run again and again; whoever owns it calls :meth:`look` at least every second.

    Args:
        run: the run.
        limits: after how long without progress a part has stalled.
    """

    def __init__(self, run: RunView, limits: MetricsConfig) -> None:
        self._run = run
        self._limits = limits
        now = time.time()
        self._began = now
        self._parts = {name: PartState(None, now) for name in PARTS}
        self._read, self._read_at = -1, now
        self._labels = 0
        self._label_at: float | None = None
        self._ready_since: float | None = None

    def look(self) -> RunSnapshot:
        """Note how the run is now; the snapshot that was looked at."""
        snapshot, now = self._run.snapshot(), time.time()
        waits = snapshot.waiting.get("queue", 0) + snapshot.waiting.get("timesteps", 0)
        if snapshot.ledger.read != self._read or waits or snapshot.held:
            self._read, self._read_at = snapshot.ledger.read, now
        self._note("source", self._of_source(now), self._read_at, now)
        self._note("learner", self._of_learner(snapshot), now - snapshot.busy_s, now)
        self._note("checkpoint", self._of_checkpoint(snapshot, now), self._checkpoint_at(snapshot), now)
        session = snapshot.session
        if session is not None:
            labels = session.labels_taken + session.intervals_met
            if labels != self._labels:
                self._labels, self._label_at = labels, now
            self._ready_since = self._ready_since or now
        return snapshot

    @property
    def parts(self) -> dict[str, PartState]:
        """How each part was when it was last looked at."""
        return dict(self._parts)

    @property
    def label_age_s(self) -> float | None:
        """Time since a label came, or the stream met one; None before the first."""
        return None if self._label_at is None else time.time() - self._label_at

    def checkpoint_age_s(self, snapshot: RunSnapshot) -> float | None:
        """Time since the latest checkpoint, or since the start before the first; None where none are written."""
        return None if snapshot.checkpoint is None else time.time() - self._checkpoint_at(snapshot)

    def is_well(self) -> tuple[bool, dict[str, Any]]:
        """Whether no part has stalled; and which part is how since when, for JSON."""
        now = time.time()
        parts = {
            name: {
                "status": "ok" if part.stalled is None else "stalled",
                "since": _iso(part.since),
                "for_s": round(now - part.since, 3),
                **({} if part.stalled is None else {"why": part.stalled}),
            }
            for name, part in self._parts.items()
        }
        well = all(part.stalled is None for part in self._parts.values())
        return well, {"status": "ok" if well else "stalled", "parts": parts}

    def is_ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether predictions can be made, and since when or why not, for JSON."""
        if self._ready_since is not None:
            return True, {"ready": True, "since": _iso(self._ready_since)}
        return False, {"ready": False, "since": _iso(self._began), "why": "no packet has come yet"}

    # --- the parts -------------------------------------------------------------------------------------------------

    def _note(self, name: str, stalled: str | None, since: float, now: float) -> None:
        before = self._parts[name]
        if stalled != before.stalled:
            self._parts[name] = PartState(stalled, now if stalled is None else since)

    def _of_source(self, now: float) -> str | None:
        limit = self._limits.source / 1e6
        return f"no event for more than {limit:g} s" if now - self._read_at > limit else None

    def _of_learner(self, snapshot: RunSnapshot) -> str | None:
        limit = self._limits.learner / 1e6
        return f"at one piece of work for more than {limit:g} s" if snapshot.busy_s > limit else None

    def _checkpoint_at(self, snapshot: RunSnapshot) -> float:
        state = snapshot.checkpoint
        return self._began if state is None or state.at is None else state.at

    def _of_checkpoint(self, snapshot: RunSnapshot, now: float) -> str | None:
        state, limit = snapshot.checkpoint, self._limits.checkpoint / 1e6
        if state is None or snapshot.held or snapshot.session is None:
            return None
        if snapshot.session.timesteps <= state.timesteps or now - self._checkpoint_at(snapshot) <= limit:
            return None
        return f"none for more than {limit:g} s"


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
