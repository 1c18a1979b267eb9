"""Live counters of one run: written by the session and the pipeline, read by sinks and the summary."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from stream_ottt.events.packet import Ledger
from stream_ottt.labels.evaluation import Evaluator
from stream_ottt.learning.counters import Updates
from stream_ottt.learning.durations import DurationHistogram
from stream_ottt.learning.session import Session


@dataclass(slots=True)
class Progress:
    """What is known of a run while it runs.

    Attributes:
        source: the source as the user gave it.
        settings: the effective settings, nested tables.
        learning: ``"on"``, or why not in a few words.
        class_names: label → name.
        labels: the label at each position of a prediction's logits; empty when it is the position itself.
        sensor: (width, height) once the first packet has come.
        network: the topology in a few words.
        parameters: number of trainable weights.
        ledger: what became of each event.
        evaluation: prequential scores so far.
        timesteps: timesteps predicted.
        timesteps_not_kept: timesteps that waited for a label longer than there was room for, and were not learned.
        updates: optimizer steps.
        memory: stretches remembered for rehearsal, by label.
        steps: durations of live timesteps (forward and update).
        rehearsals: durations of rehearsed timesteps.
        latency: seconds from a complete timestep to its prediction.
        stream_us: event time covered so far, µs.
        started: ``time.perf_counter()`` at the start.
        sink_failures: sink name → message of its first failure.
        warnings: what a user should know of the settings, a line each.
        sink_missed: sink name → results it was too slow for on a live stream.
        label_hook: takes a label that a person gave in a viewer, for what is shown now; None when labels are not taken.
        pause_hook: pauses learning, or resumes it; None when it cannot be paused.
        live_labels: labels that came with the stream, or from a person, and were taken.
        labels_refused: such labels that were not, because they overlap others or are of no known class.
        label_refusal: why the first of these was refused.
        transport: what a live source has counted so far: messages, losses, interruptions.
    """

    source: str
    settings: dict[str, Any]
    evaluation: Evaluator
    learning: str = "on"
    class_names: dict[int, str] = field(default_factory=dict)
    labels: tuple[int, ...] = ()
    sensor: tuple[int, int] | None = None
    network: str = ""
    parameters: int = 0
    ledger: Ledger = field(default_factory=Ledger)
    timesteps: int = 0
    timesteps_not_kept: int = 0
    updates: Updates = field(default_factory=Updates)
    memory: dict[int, int] = field(default_factory=dict)
    steps: DurationHistogram = field(default_factory=DurationHistogram)
    rehearsals: DurationHistogram = field(default_factory=DurationHistogram)
    latency: DurationHistogram = field(default_factory=DurationHistogram)
    stream_us: int = 0
    started: float = field(default_factory=time.perf_counter)
    sink_failures: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    sink_missed: dict[str, int] = field(default_factory=dict)
    label_hook: Callable[[int], None] | None = None
    pause_hook: Callable[[], None] | None = None
    live_labels: int = 0
    labels_refused: int = 0
    label_refusal: str | None = None
    transport: Callable[[], dict[str, Any]] = dict

    def follow(self, session: Session) -> None:
        """Take over what a session has counted so far."""
        counters = session.counters
        self.evaluation, self.updates = session.evaluator, counters.updates
        self.steps, self.rehearsals = counters.steps, counters.rehearsals
        self.timesteps, self.timesteps_not_kept = counters.timesteps, counters.timesteps_not_kept
        self.stream_us = counters.stream_us
        self.memory = session.memory.counts()
        self.warnings = list(counters.warnings.values())
        self.live_labels, self.labels_refused = counters.labels_taken, counters.labels_refused
        self.label_refusal = counters.label_refusal
