"""What a session counts; it is the only writer."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, astuple, dataclass, field, fields
from typing import Literal

from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.learning.durations import DurationHistogram
from stream_ottt.state import State, part, take, under

PLAIN = (
    "timesteps",
    "timesteps_not_kept",
    "stream_us",
    "unknown",
    "labels_taken",
    "labels_refused",
    "labels_corrected",
    "labels_retracted",
    "label_refusal",
    "rollbacks",
)

LATEST = 64
"""Labels that are kept for those who look on."""


@dataclass(slots=True)
class Updates:
    """Optimizer steps by where their timestep came from.

    Attributes:
        live: learned at the timestep itself, or at the error delay after it.
        deferred: learned from the interval's stored timesteps, once its label came.
        rehearsed: learned again from memory.
    """

    live: int = 0
    deferred: int = 0
    rehearsed: int = 0

    def add(self, kind: Literal["live", "deferred", "rehearsed"], n: int) -> None:
        """Count ``n`` more of a kind."""
        setattr(self, kind, getattr(self, kind) + n)


@dataclass(slots=True)
class SessionCounters:
    """What was counted so far.

    Attributes:
        timesteps: timesteps predicted.
        timesteps_not_kept: timesteps that waited for a label longer than there was room for, and were not learned.
        stream_us: event time covered so far, µs.
        unknown: timesteps whose prediction said ``unknown``.
        updates: optimizer steps.
        labels_taken: labels that came with the stream, or from a person, and were taken.
        latest_labels: the latest of these, the last one last.
        labels_refused: such labels that were not.
        labels_corrected: labels that were replaced by others.
        labels_retracted: labels that were taken back.
        rollbacks: how often the weights went back to the last good ones.
        label_refusal: why the first of these was refused.
        label_sources: of each of several sources the labels ``taken`` and ``refused``, and of the former those that
            another source had ``contradicted``.
        warnings: what a user should know of the settings and the stream, a line each, by a short key.
        steps: durations of live timesteps (forward pass and update).
        rehearsals: durations of rehearsed timesteps.
    """

    timesteps: int = 0
    timesteps_not_kept: int = 0
    stream_us: int = 0
    unknown: int = 0
    updates: Updates = field(default_factory=Updates)
    labels_taken: int = 0
    latest_labels: deque[LabelInterval] = field(default_factory=lambda: deque(maxlen=LATEST))
    labels_refused: int = 0
    labels_corrected: int = 0
    labels_retracted: int = 0
    rollbacks: int = 0
    label_refusal: str | None = None
    label_sources: dict[str, dict[str, int]] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)
    steps: DurationHistogram = field(default_factory=DurationHistogram)
    rehearsals: DurationHistogram = field(default_factory=DurationHistogram)

    def warn(self, key: str, line: str) -> None:
        """Say a line once."""
        self.warnings.setdefault(key, line)

    def take(self, label: LabelInterval, *, contradicted: bool) -> None:
        """Count a label that was taken, perhaps of one of several sources."""
        self.labels_taken += 1
        self.latest_labels.append(label)
        self._count_label(label.source, "taken")
        if contradicted:
            self._count_label(label.source, "contradicted")

    def _count_label(self, source: str, what: str) -> None:
        if source:
            counts = self.label_sources.setdefault(source, dict.fromkeys(("taken", "refused", "contradicted"), 0))
            counts[what] += 1

    def refuse(self, reason: str, source: str = "") -> None:
        """Count a label that cannot be taken."""
        self.labels_refused += 1
        self._count_label(source, "refused")
        self.label_refusal = self.label_refusal or reason

    def state_dict(self) -> State:
        """All counts."""
        return {
            **{name: getattr(self, name) for name in PLAIN},
            "updates": asdict(self.updates),
            "latest_labels": [astuple(label) for label in self.latest_labels],
            "label_sources": {source: dict(counts) for source, counts in self.label_sources.items()},
            "warnings": dict(self.warnings),
            **under("steps", self.steps.state_dict()),
            **under("rehearsals", self.rehearsals.state_dict()),
        }

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` gave."""
        for name in PLAIN:
            setattr(self, name, take(state, name))
        self.latest_labels = deque((LabelInterval(*label) for label in take(state, "latest_labels")), maxlen=LATEST)
        updates = take(state, "updates")
        self.updates = Updates(*(take(updates, f.name) for f in fields(Updates)))
        self.label_sources = {source: dict(counts) for source, counts in take(state, "label_sources").items()}
        self.warnings = dict(take(state, "warnings"))
        self.steps.load_state_dict(part(state, "steps"))
        self.rehearsals.load_state_dict(part(state, "rehearsals"))
