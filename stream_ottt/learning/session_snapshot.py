"""What a session is at this moment, gathered from its parts."""

from __future__ import annotations

from dataclasses import asdict

from stream_ottt.labels.evaluation import Evaluator
from stream_ottt.learning.counters import SessionCounters
from stream_ottt.learning.due import DueLearning
from stream_ottt.learning.presentations import Presentations
from stream_ottt.learning.rehearsal import RehearsalMemory
from stream_ottt.learning.snapshot import Durations, Learning, SessionSnapshot
from stream_ottt.learning.waiting import WaitingRoom


def snapshot_of(
    counters: SessionCounters,
    evaluator: Evaluator,
    memory: RehearsalMemory,
    due: DueLearning,
    room: WaitingRoom,
    presentations: Presentations,
    learning: Learning,
) -> SessionSnapshot:
    """Everything that can be said of a session's parts, as plain values that no longer change."""
    timeline = presentations.timeline
    return SessionSnapshot(
        timesteps=counters.timesteps,
        timesteps_not_kept=counters.timesteps_not_kept,
        stream_us=counters.stream_us,
        unknown=counters.unknown,
        updates=asdict(counters.updates),
        rollbacks=counters.rollbacks,
        learning=learning,
        accuracy=evaluator.accuracy(),
        per_class=tuple(evaluator.per_class()),
        since_change=tuple(evaluator.since_change()),
        confusion=tuple((a, b, n) for a, b, n in evaluator.presentations.rows()),
        presentations=len(evaluator.hits),
        hits=bytes(evaluator.hits),
        memory=memory.counts(),
        due=due.timesteps,
        rehearsals_due=due.owed,
        rehearsals_given_up=due.given_up,
        waiting=room.timesteps,
        waiting_bytes=room.bytes,
        intervals=0 if timeline is None else timeline.total,
        intervals_met=0 if timeline is None else timeline.met,
        label_span=None if timeline is None else timeline.span,
        stream_span=presentations.span,
        step_ms=Durations.of(counters.steps),
        rehearsal_ms=Durations.of(counters.rehearsals),
        labels_taken=counters.labels_taken,
        latest_labels=tuple(counters.latest_labels),
        labels_refused=counters.labels_refused,
        labels_corrected=counters.labels_corrected,
        labels_retracted=counters.labels_retracted,
        label_refusal=counters.label_refusal,
        label_sources={source: dict(counts) for source, counts in counters.label_sources.items()},
        warnings=tuple(counters.warnings.values()),
    )
