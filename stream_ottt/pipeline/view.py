"""What sinks, sockets and summaries may know of a run, and do to it: facts, snapshots and controls."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stream_ottt.events.misfits import Misfits
from stream_ottt.events.packet import Ledger
from stream_ottt.learning.snapshot import Durations, SessionSnapshot

if TYPE_CHECKING:
    from stream_ottt.events.timestep import StepResult
    from stream_ottt.learning.learner import OnlineLearner
    from stream_ottt.learning.session import Session

    Watcher = Callable[[OnlineLearner, StepResult], bool]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is fixed of a run, once it is known, but for classes that are added.

    Attributes:
        source: the source as the user gave it.
        settings: the effective settings, nested tables.
        started: ``time.perf_counter()`` at the start.
        seen_before: whether a model that was loaded has learned from some of the stream before, so that scores are no
            test; None where that is not known.
        sensor: (width, height) in pixels; None before the first packet has come, as are the defaults below.
        filtered: the same as the filters leave it.
        network: the topology in a few words.
        parameters: number of trainable weights.
        classes: the label at each position of a prediction's logits.
        class_names: label → name.
    """

    source: str
    settings: dict[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)
    seen_before: bool | None = False
    sensor: tuple[int, int] | None = None
    filtered: tuple[int, int] | None = None
    network: str = ""
    parameters: int = 0
    classes: tuple[int, ...] = ()
    class_names: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SinkState:
    """What a sink has come to.

    Attributes:
        failure: message of its first failure; None while there was none.
        missed: results that it did not get.
        working: False from a failure until it takes something again.
    """

    failure: str | None = None
    missed: int = 0
    working: bool = True


@dataclass(frozen=True, slots=True)
class CheckpointState:
    """What has become of a run's checkpoints.

    Attributes:
        written, failed: how many, by this process.
        at: ``time.time()`` of the latest that was written; None before.
        timesteps: predicted before it.
    """

    written: int = 0
    failed: int = 0
    at: float | None = None
    timesteps: int = 0


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """A run at one moment; plain values that nobody writes any more.

    Attributes:
        session: as published by the learner's thread; None before the first pass has begun.
        ledger: what became of each event, and how many are in hand.
        waiting: events in hand by where: ``merge``, ``queue``, ``window``, ``timesteps``.
        latency: from a complete timestep to its prediction.
        labels_refused: labels that came when too many waited already.
        sinks: by name.
        transport: what a live source has counted of its own.
        sources: facts of each of several sources by its name; empty for one.
        clock: ``epochs`` of the sensor's clock, events ``left_out`` for their times, ``jumps`` (µs).
        misfits: why events lay outside the sensor or the range of times; nothing of several sources.
        filters: what each filter has found out, such as hot pixels, by its place and name.
        size_from: where the sensor's size comes from: ``file``, ``option``, ``camera``, ``sender`` or ``guess``.
        busy_s: how long the learner's thread has been at its present piece of work; 0 at rest.
        held: whether the source is held, so that nothing comes.
        speed: stream seconds per wall second at which a file is to be played; None for as fast as possible.
        checkpoint: of its checkpoints; None where none are written.
    """

    session: SessionSnapshot | None
    ledger: Ledger
    waiting: dict[str, int] = field(default_factory=dict)
    latency: Durations = field(default_factory=Durations)
    labels_refused: int = 0
    sinks: dict[str, SinkState] = field(default_factory=dict)
    transport: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, Any] = field(default_factory=dict)
    clock: dict[str, Any] = field(default_factory=dict)
    misfits: Misfits = field(default_factory=Misfits)
    filters: dict[str, Any] = field(default_factory=dict)
    size_from: str = "file"
    busy_s: float = 0.0
    held: bool = False
    speed: float | None = None
    checkpoint: CheckpointState | None = None


@dataclass(frozen=True, slots=True)
class Controls:
    """What may be done to a run from outside; None is not available.

    Each is done in the learner's thread between two pieces of work, but for a file's playback and the end. A call
    waits for nothing, from any thread; its future fails with a StreamOtttError that says why the thing was not done.

    Attributes:
        label_now: takes a label that a person gave, for what is shown now; gives how many timesteps had waited
            for it.
        label_last: the same, for the last so many µs.
        correct: gives the latest label, or the one at a time (µs), another class, by label or name; what was learned of
            it is learned once more. Gives (start, end) of what it labels, µs.
        retract: takes the latest label back, or the one at a time (µs); gives (start, end) of what it labelled, µs.
        add_class: has the network tell one class more apart, by its name or number; gives its label.
        pause, resume, toggle: pause learning, or go on, or whichever is the other; each gives what learning is then.
        reset: puts the network's state at rest.
        save: writes the model where the user wants it; gives the path.
        checkpoint: writes a checkpoint; gives the path, once it is on the disk.
        hold: has a file stand still (True), or go on (False).
        step: has it go on to the next timestep and stand still there.
        speed: plays it at so many stream seconds per second; 0 for as fast as possible.
        ask: calls a function of the session; gives what it returns.
        stop: ends the run in order, as Ctrl-C does.
        watch: calls a function of the learner and the latest result after each timestep of the stream, as long as it
            returns True; it must be short, change nothing and raise nothing.
    """

    label_now: Callable[[int], Future[int]] | None = None
    label_last: Callable[[int, int], Future[int]] | None = None
    correct: Callable[[int | str, int | None], Future[tuple[int, int]]] | None = None
    retract: Callable[[int | None], Future[tuple[int, int]]] | None = None
    add_class: Callable[[str], Future[int]] | None = None
    pause: Callable[[], Future[str]] | None = None
    resume: Callable[[], Future[str]] | None = None
    toggle: Callable[[], Future[str]] | None = None
    reset: Callable[[], Future[None]] | None = None
    save: Callable[[], Future[str]] | None = None
    checkpoint: Callable[[], Future[str]] | None = None
    hold: Callable[[bool], Future[None]] | None = None
    step: Callable[[], Future[None]] | None = None
    speed: Callable[[float], Future[None]] | None = None
    ask: Callable[[Callable[[Session], Any]], Future[Any]] | None = None
    stop: Callable[[], Future[None]] | None = None
    watch: Callable[[Watcher], Future[None]] | None = None


class RunView:
    """A run as sinks see it.

    Args:
        facts: what is known at the start.
        snapshot: gives the latest one.

    Attributes:
        facts: replaced as a whole when more is known.
        controls: what may be done.
        pass_number: 0, 1, 2, … of the pass that is being read.
        share_read: how much of that pass was read at a time of the stream (µs), 0 … 1; None where that is not known.
    """

    def __init__(self, facts: RunFacts, snapshot: Callable[[], RunSnapshot]) -> None:
        self.facts = facts
        self.controls = Controls()
        self.pass_number: Callable[[], int] = lambda: 0
        self.share_read: Callable[[int], float | None] = lambda t: None
        self._snapshot = snapshot

    def snapshot(self) -> RunSnapshot:
        """The run as it was last published; at most a tenth of a second old while there is work."""
        return self._snapshot()
