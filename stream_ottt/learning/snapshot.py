"""What a session was at one moment: plain values that change no more, for whoever looks on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.learning.durations import DurationHistogram

Learning = Literal["on", "paused", "off", "no labels"]
"""``off``: the run only predicts. ``no labels``: none was given and none has come with the stream."""


@dataclass(frozen=True, slots=True)
class Durations:
    """How long something took: how often, in all, and two quantiles.

    Attributes:
        n, total_s: how often, and how long in all.
        p50_ms, p99_ms: quantiles.
        counts: how often it took how long: buckets from 1 µs up, five a decade; empty for nothing.
    """

    n: int = 0
    total_s: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    counts: tuple[int, ...] = ()

    @classmethod
    def of(cls, histogram: DurationHistogram) -> Durations:
        """Of what a histogram has counted so far."""
        quantiles = histogram.quantile_ms(0.5), histogram.quantile_ms(0.99)
        return cls(histogram.n, histogram.total_s, *quantiles, histogram.counts())


@dataclass(frozen=True, slots=True)
class SessionSnapshot:
    """What a session was at one moment.

    Attributes:
        timesteps: timesteps predicted.
        timesteps_not_kept: timesteps that waited for a label longer than there was room for, and were not learned.
        stream_us: event time covered, µs.
        unknown: timesteps whose prediction said ``unknown``.
        updates: optimizer steps, ``live`` (at the timestep itself, or at the error delay after it), ``deferred`` (on
            an interval's stored timesteps, once its label was known) and ``rehearsed`` (on remembered stretches).
        rollbacks: how often the weights went back to the last good ones.
        learning: whether it learns, or why not.
        accuracy: :meth:`Evaluator.accuracy`.
        per_class: :meth:`Evaluator.per_class`.
        since_change: :meth:`Evaluator.since_change`.
        confusion: (label, prediction, how often) over presentations.
        presentations: presentations scored.
        hits: a byte for each of them, in order: 1 where it was right.
        memory: label → stretches remembered.
        due: timesteps whose label is known and that are still to be learned.
        rehearsals_due: remembered timesteps that are still to be learned again; whole stretches in ``ratio`` mode.
        rehearsals_given_up: those that were due and no longer are, because too many were.
        waiting: timesteps that wait for a label or to be learned.
        waiting_bytes: memory that these take.
        intervals: label intervals known so far.
        intervals_met: those of them in which the stream has had a timestep.
        label_span: (start of the first, end of the last) of them, µs; None without any.
        stream_span: earliest start and latest end of the timesteps, µs; None before the first.
        step_ms: durations of a live timestep, forward pass and update.
        rehearsal_ms: durations of a rehearsed timestep.
        labels_taken: labels that came with the stream, or from a person, and were taken.
        latest_labels: the latest of these, the last one last.
        labels_refused: such labels that were not.
        labels_corrected: labels that were replaced by others.
        labels_retracted: labels that were taken back.
        label_sources: of each of several sources the labels ``taken``, ``refused`` and ``contradicted``.
        label_refusal: why the first of these was refused.
        warnings: what a user should know of the settings and the stream, a line each.
    """

    timesteps: int
    timesteps_not_kept: int
    stream_us: int
    unknown: int
    updates: dict[str, int]
    rollbacks: int
    learning: Learning
    accuracy: dict[str, float | None]
    per_class: tuple[dict[str, Any], ...]
    since_change: tuple[dict[str, Any], ...]
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
    stream_span: tuple[int, int] | None
    step_ms: Durations
    rehearsal_ms: Durations
    labels_taken: int
    latest_labels: tuple[LabelInterval, ...]
    labels_refused: int
    labels_corrected: int
    labels_retracted: int
    label_refusal: str | None
    warnings: tuple[str, ...]
    label_sources: dict[str, dict[str, int]] = field(default_factory=dict)
