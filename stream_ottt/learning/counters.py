"""What a session counts, and what it tells others: plain values that change no more once given."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from stream_ottt.learning.durations import DurationHistogram
from stream_ottt.state import State, part, take, under

Learning = Literal["on", "paused", "off", "no labels"]
"""``off``: the run only predicts. ``no labels``: none was given and none has come with the stream."""


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
    """Written by the session alone, in its thread.

    Attributes:
        timesteps: timesteps predicted.
        timesteps_not_kept: timesteps that waited for a label longer than there was room for, and were not learned.
        stream_us: event time covered so far, µs.
        updates: optimizer steps.
        labels_taken: labels that came with the stream, or from a person, and were taken.
        labels_refused: such labels that were not.
        label_refusal: why the first of these was refused.
        warnings: what a user should know of the settings and the stream, a line each, by a short key.
        steps: durations of live timesteps (forward and update).
        rehearsals: durations of rehearsed timesteps.
    """

    timesteps: int = 0
    timesteps_not_kept: int = 0
    stream_us: int = 0
    updates: Updates = field(default_factory=Updates)
    labels_taken: int = 0
    labels_refused: int = 0
    label_refusal: str | None = None
    warnings: dict[str, str] = field(default_factory=dict)
    steps: DurationHistogram = field(default_factory=DurationHistogram)
    rehearsals: DurationHistogram = field(default_factory=DurationHistogram)

    def warn(self, key: str, line: str) -> None:
        """Say a line once."""
        self.warnings.setdefault(key, line)

    def state_dict(self) -> State:
        """All counts."""
        return {
            **{name: getattr(self, name) for name in PLAIN},
            "updates": asdict(self.updates),
            "warnings": dict(self.warnings),
            **under("steps", self.steps.state_dict()),
            **under("rehearsals", self.rehearsals.state_dict()),
        }

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` gave."""
        for name in PLAIN:
            setattr(self, name, take(state, name))
        self.updates = Updates(**take(state, "updates"))
        self.warnings = dict(take(state, "warnings"))
        self.steps.load_state_dict(part(state, "steps"))
        self.rehearsals.load_state_dict(part(state, "rehearsals"))


PLAIN = ("timesteps", "timesteps_not_kept", "stream_us", "labels_taken", "labels_refused", "label_refusal")


@dataclass(frozen=True, slots=True)
class Durations:
    """How long something took: how often, in all, and two quantiles."""

    n: int
    total_s: float
    p50_ms: float
    p99_ms: float

    @classmethod
    def of(cls, histogram: DurationHistogram) -> Durations:
        """Of what a histogram has counted so far."""
        return cls(histogram.n, histogram.total_s, histogram.quantile_ms(0.5), histogram.quantile_ms(0.99))


@dataclass(frozen=True, slots=True)
class SessionSnapshot:
    """What a session was at one moment.

    Attributes:
        timesteps, timesteps_not_kept, stream_us, labels_taken, labels_refused, label_refusal, warnings: as in
            :class:`SessionCounters`.
        live, deferred, rehearsed: optimizer steps, as in :class:`Updates`.
        learning: whether it learns, and why not.
        accuracy: :meth:`Evaluator.accuracy`.
        per_class: :meth:`Evaluator.per_class`.
        confusion: (label, prediction, how often) over presentations.
        presentations: presentations scored.
        hits: a byte for each of them, in order: 1 where it was right.
        memory: label → stretches remembered.
        due: timesteps whose label is known and that are still to be learned.
        rehearsals_due: remembered stretches that are still to be learned again.
        rehearsals_given_up: those that were due and no longer are, because too many were.
        waiting: timesteps that wait for a label or to be learned.
        waiting_bytes: memory that these take.
        intervals: label intervals known so far.
        intervals_met: those of them in which the stream has had a timestep.
        label_span: (start of the first, end of the last) of them, µs; None without any.
        step_ms, rehearsal_ms: durations of a live timestep (forward pass and update) and of a rehearsed one.
    """

    timesteps: int
    timesteps_not_kept: int
    stream_us: int
    live: int
    deferred: int
    rehearsed: int
    learning: Learning
    accuracy: dict[str, float | None]
    per_class: tuple[dict[str, Any], ...]
    confusion: tuple[tuple[int, int, int], ...]
    presentations: int
    hits: bytes
    memory: dict[int, int]
    due: int
    rehearsals_due: int
    rehearsals_given_up: int
    waiting: int
    waiting_bytes: int
    intervals: int
    intervals_met: int
    label_span: tuple[int, int] | None
    step_ms: Durations
    rehearsal_ms: Durations
    labels_taken: int
    labels_refused: int
    label_refusal: str | None
    warnings: tuple[str, ...]
