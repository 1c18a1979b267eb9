"""One stream and one learner: predict each timestep, score it, learn from its label once known, rehearse.

Everything here is synchronous, belongs to one thread, and knows neither sources nor clocks but for timing itself.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import numpy as np

from stream_ottt.errors import UsageError
from stream_ottt.events.timestep import Prediction, StepResult, Timestep
from stream_ottt.labels.evaluation import Evaluator
from stream_ottt.labels.timeline import LabelInterval, LabelsConfig, LabelTimeline
from stream_ottt.learning.counters import Durations, Learning, SessionCounters, SessionSnapshot
from stream_ottt.learning.due import DueLearning, Kind
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.learning.presentation import Presentation
from stream_ottt.learning.rehearsal import (
    LARGEST_COUNT,
    Frames,
    RehearsalConfig,
    RehearsalMemory,
    Stretch,
    as_stored,
)
from stream_ottt.learning.waiting import Waiting, WaitingRoom
from stream_ottt.state import State, Stateful, part, take, under

MOST_INTERVALS = 100_000
"""Most intervals of labels that came while the stream runs which may lie ahead of it."""


class Session:
    """Runs a learner over the timesteps of a stream.

    Args:
        learner: the learner.
        timeline: the stream's labels; None when there are none, and nothing is learned.
        evaluator: scores the predictions; None for one with the default settings.
        rehearsal: settings of the rehearsal; None for none.
        keep_bytes: memory for timesteps that wait for their label or to be learned.
        learn: False only predicts and scores.
        late_labels: True keeps unlabelled timesteps too, for labels that :meth:`add_label` may bring.
        seed: of the rehearsal's draws.

    Attributes:
        counters: what was counted; only the session writes them.
    """

    def __init__(
        self,
        learner: OnlineLearner,
        *,
        timeline: LabelTimeline | None = None,
        evaluator: Evaluator | None = None,
        rehearsal: RehearsalConfig | None = None,
        keep_bytes: int = LabelsConfig().keep_bytes,
        learn: bool = True,
        late_labels: bool = False,
        seed: int = 0,
    ) -> None:
        self.learner = learner
        self.timeline = timeline
        self.evaluator = evaluator or Evaluator()
        self.rehearsal = rehearsal or RehearsalConfig(mode="off")
        self.late_labels = late_labels
        self.memory = RehearsalMemory(self.rehearsal.max_bytes, np.random.default_rng(seed))
        self.counters = SessionCounters()
        self._may_learn = learn and timeline is not None
        self._wanted = learn
        self._paused = False
        self._shown: Presentation | None = None  # what the last timestep was part of
        self._room = WaitingRoom(keep_bytes)
        self._due = DueLearning(learner, self.memory, self.rehearsal, self._room)
        self._label_used = False  # any, in this pass
        self._seen_before = False  # what is seen may have been learned in a pass before
        self._now = 0

    # --- the stream ----------------------------------------------------------------------------------------------

    def process(self, timestep: Timestep) -> StepResult:
        """Predict one timestep, score it, and learn it if its label is known; one update at most.

        What it makes due is left to :meth:`learn_due`, so that no prediction waits for it.
        """
        started = time.perf_counter()
        prediction = self.learner.step(timestep, learn=self.learns)
        middle = (timestep.t_start + timestep.t_end) / 2
        self._now = timestep.t_end
        shown = self._shown_at(middle)
        softmax = prediction.softmax() if shown is not None or self.late_labels else None
        scored = False
        if shown is not None and softmax is not None:
            scored = shown.test(self.evaluator, prediction.label, softmax)
        if shown is not None and self._is_known(shown):
            if self.learns:
                self._learn_now(timestep, prediction, shown)
        elif shown is not None and self._may_learn:
            self._keep(Waiting(self._stored(timestep), middle), shown)
        elif shown is None and self.late_labels:
            self._keep(Waiting(self._stored(timestep), middle, prediction.label, softmax), None)
        counters = self.counters
        counters.steps.add(time.perf_counter() - started)
        counters.timesteps += 1
        counters.stream_us += timestep.t_end - timestep.t_start
        return StepResult(timestep, prediction, None if shown is None else shown.interval.label, scored)

    def reset(self) -> None:
        """Put the network's state at rest, as before a new sample; weights stay."""
        if self._shown is not None:
            self._end_stretch(self._shown)
        self._count("live", self.learner.reset)

    def follow(self, timeline: LabelTimeline) -> None:
        """Take another timeline, for the next pass over a source whose labels are not those of the last."""
        self.timeline = timeline

    def end_pass(self) -> None:
        """The stream has ended once. What comes is seen again: no test any more, where something was learned."""
        self.finish()
        self._seen_before = self._seen_before or self._label_used
        if self.timeline is not None:
            self.timeline.begin_again()
        self._now = 0

    def finish(self) -> None:
        """The stream has ended: close what is shown, give up what waits for a label; what is due stays due."""
        self._leave()
        self._room.clear()
        self._count("live", self.learner.reset)

    # --- labels that come while the stream runs --------------------------------------------------------------------

    def add_label(self, interval: LabelInterval) -> int:
        """Take a label that comes with the stream, late or early.

        Returns:
            How many timesteps had waited for it.

        Raises:
            UsageError: it overlaps another interval, holds no time, its class is unknown, or too many lie ahead.
        """
        try:
            timeline = self._timeline_for(interval)
            timeline.add(interval)
        except UsageError as e:
            self.counters.labels_refused += 1
            self.counters.label_refusal = self.counters.label_refusal or str(e)
            raise
        self.counters.labels_taken += 1
        waited = self._room.take(interval)
        if waited:
            self._present(interval, timeline, waited)
        oldest = self._room.unlabelled[0].middle if self._room.unlabelled else self._now
        timeline.forget_before(int(min(oldest, self._now)))
        return len(waited)

    def label_now(self, label: int, span: int) -> int:
        """Take a label for the last ``span`` µs, or as much of it as has no label yet; as :meth:`add_label`."""
        start = max(self._now - span, 0)
        if self.timeline is not None:
            start = self.timeline.unlabelled_since(start, self._now)
        return self.add_label(LabelInterval(min(start, self._now), self._now, label))

    def _timeline_for(self, interval: LabelInterval) -> LabelTimeline:
        if interval.label not in self.learner.classes:
            raise UsageError(f"label {interval.label} is not among the network's classes {self.learner.classes}")
        if self.timeline is None:
            raise UsageError("this stream takes no labels")
        if len(self.timeline) >= MOST_INTERVALS and self.late_labels:
            raise UsageError(f"{MOST_INTERVALS:,} label intervals lie ahead of the stream; send labels later")
        return self.timeline

    def _present(self, interval: LabelInterval, timeline: LabelTimeline, waited: list[Waiting]) -> None:
        """Score the timesteps of a late label, and make them due where it is known."""
        timeline.meet(interval)
        late = Presentation(interval, self.learner.classes, seen_before=self._seen_before)
        for waiting in waited:
            if waiting.softmax is not None:
                late.test(self.evaluator, waiting.predicted, waiting.softmax)
                self._room.scored(waiting)
        late.waiting.extend(waited)
        if interval.t_end > self._now:  # it is still shown
            self._leave()
            self._shown = late
            if self._is_known(late):
                self._make_due(late)
        else:
            self._close(late)

    # --- pausing -------------------------------------------------------------------------------------------------

    @property
    def learns(self) -> bool:
        """Whether what is labelled is learned now."""
        return self._may_learn and not self._paused

    def pause(self) -> None:
        """Pause learning; labels that come meanwhile are scored, but not learned."""
        self._paused = True

    def resume(self) -> None:
        """Learn again.

        Raises:
            UsageError: this run does not learn at all.
        """
        if not self._may_learn:
            raise UsageError("this run does not learn: it was started with --no-learn, or takes no labels")
        self._paused = False

    @property
    def learning(self) -> Learning:
        """Whether it learns, or why not."""
        if not self._wanted:
            return "off"
        if self.timeline is None or (self.late_labels and not self.timeline.total):
            return "no labels"
        return "paused" if self._paused else "on"

    # --- presentations -------------------------------------------------------------------------------------------

    def _shown_at(self, middle: float) -> Presentation | None:
        """The presentation that a timestep is part of; the one before is left where that is another."""
        if self._shown is not None:
            if self._shown.interval.holds(middle):
                return self._shown
            self._leave()
        interval = None if self.timeline is None else self.timeline.at(middle)
        if self.timeline is not None and interval is not None:
            self.timeline.meet(interval)
            self._shown = Presentation(interval, self.learner.classes, seen_before=self._seen_before)
        return self._shown

    def _is_known(self, presentation: Presentation) -> bool:
        return self.timeline is not None and self.timeline.known_at(presentation.interval) <= self._now

    def _leave(self) -> None:
        """The stream shows something else now."""
        if self._shown is not None:
            shown, self._shown = self._shown, None
            self._close(shown)

    def _close(self, presentation: Presentation) -> None:
        """A presentation is over: what waited for its label is due or given up."""
        if self._is_known(presentation):
            self._make_due(presentation)
        self._room.free(presentation.waiting)
        presentation.waiting.clear()
        self._end_stretch(presentation)
        self.evaluator.close(presentation.score)

    # --- learning ------------------------------------------------------------------------------------------------

    def _learn_now(self, timestep: Timestep, prediction: Prediction, shown: Presentation) -> None:
        """Learn a timestep whose label is known; those before it that waited for the label are due."""
        label = self._use_label(shown)
        self._warn_of_delay(timestep, shown.interval)
        learned = self.learner.counts.learned
        self._count("live", lambda: self.learner.feedback(timestep.index, label))
        if self.learner.counts.learned > learned:
            prediction.learned = True
            prediction.learned_from = self.learner.learned_from
        self._make_due(shown)
        if self.rehearsal.mode != "off":
            self._remember(self._stored(timestep), shown)

    def _make_due(self, presentation: Presentation) -> None:
        """What waited for the label, which is known now, is due."""
        if not presentation.waiting or not self.learns:
            return
        label = self._use_label(presentation)
        waited, presentation.waiting = presentation.waiting, deque()
        for waiting in waited:
            self._remember(waiting.frame, presentation)
        self._due.defer(waited, label)

    def _use_label(self, presentation: Presentation) -> int:
        self._label_used = True
        return presentation.use_label()

    def _keep(self, waiting: Waiting, presentation: Presentation | None) -> None:
        queue = self._room.unlabelled if presentation is None else presentation.waiting
        self.counters.timesteps_not_kept += self._room.keep(waiting, queue)

    def _stored(self, timestep: Timestep) -> Frames:
        if timestep.frame.max() > LARGEST_COUNT:
            self.counters.warn(
                "counts",
                f"a pixel had more than {LARGEST_COUNT} events in a timestep; frames that are stored, to be learned "
                f"later or again, have {LARGEST_COUNT} there; set binning.clamp for the same counts at once",
            )
        return as_stored(timestep.frame)

    def _warn_of_delay(self, timestep: Timestep, interval: LabelInterval) -> None:
        """Say once when today's traces may belong to another stimulus than the error that meets them."""
        rule = self.learner.config
        if not rule.error_delay or rule.delay_mode == "snapshot":
            return
        delay, lasts = rule.error_delay * (timestep.t_end - timestep.t_start), interval.t_end - interval.t_start
        if 2 * delay >= lasts:
            self.counters.warn(
                "delay",
                f"the error delay of {rule.error_delay} timesteps ({delay / 1e3:g} ms) nears the {lasts / 1e3:g} ms "
                "that a label lasts, so errors meet traces of the next stimulus; use learner.delay_mode = 'snapshot'",
            )

    def _count(self, kind: Kind, act: Callable[[], object]) -> None:
        """Do ``act`` and count the optimizer steps it made as of ``kind``."""
        before = self.learner.counts.updates
        act()
        self.counters.updates.add(kind, self.learner.counts.updates - before)

    # --- rehearsal and what is due ---------------------------------------------------------------------------------

    def _remember(self, frame: Frames, presentation: Presentation) -> None:
        """Add a learned timestep to the stretch that its presentation builds."""
        if self.rehearsal.mode == "off" or len(presentation.building) * frame.nbytes > self.rehearsal.max_bytes:
            return
        presentation.building.append(frame)
        if len(presentation.building) == self.rehearsal.stretch:
            self._store(presentation)

    def _end_stretch(self, presentation: Presentation) -> None:
        """A presentation ended within a stretch: keep it when it is at least half a stretch long."""
        if presentation.building and 2 * len(presentation.building) >= self.rehearsal.stretch:
            self._store(presentation)
        presentation.building = []

    def _store(self, presentation: Presentation) -> None:
        self.memory.store(Stretch(np.stack(presentation.building), presentation.interval.label))
        presentation.building = []
        if self.rehearsal.mode == "ratio":
            self._due.owe(self.rehearsal.ratio)

    @property
    def due(self) -> bool:
        """Whether :meth:`learn_due` has something to do, before the next timestep of a file; not while paused."""
        return self.learns and bool(self._due)

    def learn_due(self) -> bool:
        """Learn one timestep of what is due, one update; True while more is due."""
        if self.learns:
            self._learn_piece()
        return self.due

    def idle(self) -> bool:
        """Use time that the stream leaves for one timestep: what is due, then rehearsal; False: nothing to do."""
        if not self.learns:
            return False
        if not self._due and self.rehearsal.mode == "idle":
            self._due.begin_rehearsal()
        return self._learn_piece()

    def _learn_piece(self) -> bool:
        started, before = time.perf_counter(), self.learner.counts.updates
        kind = self._due.learn_piece()
        if kind is None:
            return False
        self.counters.updates.add(kind, self.learner.counts.updates - before)
        if kind == "rehearsed":
            self.counters.rehearsals.add(time.perf_counter() - started)
        return True

    # --- what others see -------------------------------------------------------------------------------------------

    def snapshot(self) -> SessionSnapshot:
        """Everything that can be said of it now, as plain values that no longer change."""
        counters, timeline = self.counters, self.timeline
        return SessionSnapshot(
            timesteps=counters.timesteps,
            timesteps_not_kept=counters.timesteps_not_kept,
            stream_us=counters.stream_us,
            live=counters.updates.live,
            deferred=counters.updates.deferred,
            rehearsed=counters.updates.rehearsed,
            learning=self.learning,
            accuracy=self.evaluator.accuracy(),
            per_class=tuple(self.evaluator.per_class()),
            confusion=tuple((a, b, n) for a, b, n in self.evaluator.presentations.rows()),
            presentations=len(self.evaluator.hits),
            hits=bytes(self.evaluator.hits),
            memory=self.memory.counts(),
            due=self._due.timesteps,
            rehearsals_due=self._due.owed,
            rehearsals_given_up=self._due.given_up,
            waiting=self._room.timesteps,
            waiting_bytes=self._room.bytes,
            intervals=0 if timeline is None else timeline.total,
            intervals_met=0 if timeline is None else timeline.met,
            label_span=None if timeline is None else timeline.span,
            step_ms=Durations.of(counters.steps),
            rehearsal_ms=Durations.of(counters.rehearsals),
            labels_taken=counters.labels_taken,
            labels_refused=counters.labels_refused,
            label_refusal=counters.label_refusal,
            warnings=tuple(counters.warnings.values()),
        )

    def state_dict(self) -> State:
        """All but the learner: it has a state of its own, to be saved with this one."""
        state: State = {
            "now": self._now,
            "paused": self._paused,
            "label_used": self._label_used,
            "seen_before": self._seen_before,
            "shown": self._shown is not None,
        }
        if self._shown is not None:
            state |= under("presentation", self._shown.state_dict())
        for name, owner in self._owners():
            state |= under(name, owner.state_dict())
        return state

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` gave, to the same predictions and figures to the bit.

        Raises:
            ModelError: a field is missing.
        """
        self._now, self._paused = take(state, "now"), take(state, "paused")
        self._label_used, self._seen_before = take(state, "label_used"), take(state, "seen_before")
        for name, owner in self._owners():
            owner.load_state_dict(part(state, name))
        self._shown = None
        if take(state, "shown"):
            self._shown = Presentation.from_state(part(state, "presentation"), self.learner.classes)
            self._room.count(self._shown.waiting)

    def _owners(self) -> list[tuple[str, Stateful]]:
        """The parts whose state is the session's, in the order in which they are restored."""
        owners: list[tuple[str, Stateful]] = [
            ("counters", self.counters),
            ("evaluation", self.evaluator),
            ("memory", self.memory),
            ("waiting", self._room),
            ("due", self._due),
        ]
        return owners if self.timeline is None else [*owners, ("timeline", self.timeline)]
