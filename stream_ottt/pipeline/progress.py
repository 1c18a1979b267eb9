"""Live counters of one run: written by the session and the pipeline, read by sinks and the summary."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from stream_ottt.events.packet import Ledger
from stream_ottt.labels.evaluation import Evaluator

BUCKETS_PER_DECADE = 50


class DurationHistogram:
    """Quantiles of durations in constant memory: logarithmic buckets, 4.7 % wide, from 1 µs to 1000 s."""

    def __init__(self) -> None:
        self._counts = [0] * (9 * BUCKETS_PER_DECADE + 1)
        self.n = 0
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        bucket = int(math.log10(max(seconds, 1e-6) * 1e6) * BUCKETS_PER_DECADE + 0.5)
        self._counts[min(bucket, len(self._counts) - 1)] += 1
        self.n += 1
        self.total_s += seconds

    def quantile_ms(self, q: float) -> float:
        """The q-quantile in ms, 0 when nothing was counted."""
        seen = 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if count and seen >= q * self.n:
                return float(10 ** (bucket / BUCKETS_PER_DECADE)) / 1e3
        return 0.0


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
