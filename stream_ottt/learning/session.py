"""One stream and one learner: predict each timestep, score it, learn from its label once known, rehearse.

Everything here is synchronous, belongs to one thread, and knows neither sources nor clocks but for timing itself.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping

import numpy as np

from stream_ottt.errors import UsageError
from stream_ottt.events.timestep import Prediction, StepResult, Timestep
from stream_ottt.labels.evaluation import Evaluator
from stream_ottt.labels.timeline import LabelsConfig, LabelTimeline
from stream_ottt.learning import caution
from stream_ottt.learning.classes import Classes
from stream_ottt.learning.counters import SessionCounters
from stream_ottt.learning.due import DueLearning
from stream_ottt.learning.firing import FiringWatch
from stream_ottt.learning.guard import Guard
from stream_ottt.learning.guarded import Guarded
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.learning.live_labels import LiveLabels
from stream_ottt.learning.novelty import Novelty
from stream_ottt.learning.presentation import Presentation
from stream_ottt.learning.presentations import Presentations
from stream_ottt.learning.rehearsal import RehearsalConfig, RehearsalMemory
from stream_ottt.learning.session_snapshot import snapshot_of
from stream_ottt.learning.snapshot import Learning, SessionSnapshot
from stream_ottt.learning.stretch_run import Kind
from stream_ottt.learning.waiting import Waiting, WaitingRoom, stored
from stream_ottt.state import State, Stateful, part, take, under


class Session:
    """Runs a learner over the timesteps of a stream.

    Args:
        learner: the learner.
        timeline: the stream's labels; None when there are none, and nothing is learned.
        evaluator: scores the predictions; None for one with the default settings.
        rehearsal: settings of the rehearsal; None for none.
        keep_bytes: memory for timesteps that wait for their label or to be learned.
        learn: False only predicts and scores.
        late_labels: True keeps unlabelled timesteps too, for labels that may come.
        class_names: label → name.
        new_classes: True adds the class of a label that comes, where it is unknown; False refuses that label.
        unknown: share of remembered timesteps beyond which a prediction says ``unknown``; 0 for never.
        seed: of the rehearsal's draws.

    Attributes:
        counters: what was counted; only the session writes them.
        classes: what the learner tells apart; one more can be added.
        labels: takes labels that come while the stream runs, and takes them back.
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
        class_names: Mapping[int, str] | None = None,
        new_classes: bool = False,
        unknown: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.learner = learner
        self.classes = Classes(learner, class_names or {}, self._make_room)
        self.evaluator = evaluator or Evaluator()
        self.rehearsal = rehearsal or RehearsalConfig(mode="off")
        self.memory = RehearsalMemory(self.rehearsal.max_bytes, np.random.default_rng(seed))
        self.counters = SessionCounters()
        self._learn = learn
        self._late_labels = late_labels
        self._guard = Guard(learner, self.counters)
        self._firing = FiringWatch(learner.network, self.counters)
        self._room = WaitingRoom(keep_bytes)
        self._novelty = Novelty(unknown) if unknown else None
        self._due = DueLearning(learner, self.memory, self.rehearsal, self._room, self._novelty)
        learning = learn and timeline is not None
        self._presentations = Presentations(
            timeline, learner.classes, self.evaluator, self._due, self._room, learning=learning
        )
        self._guarded = Guarded(
            learner, self._guard, self._firing, self._due, self.counters, self._novelty, pause=self.pause
        )
        self.labels = LiveLabels(self.classes, self._presentations, self.counters, new_classes=new_classes)

    # --- the stream ----------------------------------------------------------------------------------------------

    def process(self, timestep: Timestep) -> StepResult:
        """Predict one timestep, score it, and learn it if its label is known; one update at most.

        What it makes due is left to :meth:`learn_due`, so that no prediction waits for it.
        """
        started = time.perf_counter()
        prediction = self._guarded.predict(timestep, learns=self.learns)
        shown = self._presentations.at(timestep)
        scored = False
        if shown is not None:
            scored = shown.test(self.evaluator, prediction.label, prediction.softmax(), timestep.middle)
            if self._presentations.is_known(shown):
                if self.learns:
                    self._learn_now(timestep, prediction, shown)
            elif self._learn:
                self._keep(Waiting(stored(timestep, self.counters), timestep.middle), shown.waiting)
        elif self._late_labels:
            waiting = Waiting(stored(timestep, self.counters), timestep.middle, prediction.label, prediction.softmax())
            self._keep(waiting, self._room.unlabelled)
        counters = self.counters
        counters.steps.add(time.perf_counter() - started)
        counters.timesteps += 1
        counters.stream_us += timestep.t_end - timestep.t_start
        return StepResult(timestep, prediction, None if shown is None else shown.interval.label, scored)

    def _learn_now(self, timestep: Timestep, prediction: Prediction, shown: Presentation) -> None:
        """Learn a timestep whose label is known; those before it that waited for the label are due."""
        label = self._presentations.use_label(shown)
        caution.of_delay(self.counters, self.learner.config, timestep, shown.interval)
        learned = self.learner.counts.learned
        self._count_live(lambda: self.learner.feedback(timestep.index, label))
        self._due.learned()
        if self.learner.counts.learned > learned:
            prediction.learned = True
            prediction.learned_from = self.learner.learned_from
        if self.rehearsal.mode != "off":
            self._due.remember(stored(timestep, self.counters), shown.building, label, shown.number)
        self._guarded.look_at_weights()

    def _make_room(self, label: int) -> None:
        """The learner has got one class more."""
        self._guard.add_class()
        self._room.add_class(len(self.classes.labels))
        self.memory.await_class(label)

    def _keep(self, waiting: Waiting, queue: deque[Waiting]) -> None:
        self.counters.timesteps_not_kept += self._room.keep(waiting, queue)

    def _count_live(self, act: Callable[[], object]) -> None:
        """Do ``act`` and count the optimizer steps it made."""
        before = self.learner.counts.updates
        act()
        self.counters.updates.live += self.learner.counts.updates - before

    def reset(self) -> None:
        """Put the network's state at rest, as before a new sample; weights stay."""
        if (shown := self._presentations.shown) is not None:
            self._due.end_stretch(shown.building, shown.interval.label, shown.number)
        self._rest()

    def _rest(self) -> None:
        self._count_live(self.learner.reset)
        if self._novelty is not None:
            self._novelty.begin()

    def follow(self, timeline: LabelTimeline) -> None:
        """Take another timeline, for the next pass over a source whose labels are not those of the last."""
        self._presentations.timeline = timeline

    def end_pass(self) -> None:
        """The stream has ended once. What comes is seen again: no test any more, where something was learned."""
        self.finish()
        self._presentations.end_pass()

    def finish(self) -> None:
        """The stream has ended: close what is shown, give up what waits for a label; what is due stays due."""
        self._presentations.leave()
        self._room.clear()
        self._rest()

    def go_on_after_gap(self) -> None:
        """The stream has gone on while nobody looked, perhaps with another clock; what is due stays due."""
        self.finish()
        self._presentations.begin_again()

    # --- pausing -----------------------------------------------------------------------------------------------------

    @property
    def learns(self) -> bool:
        """Whether what is labelled is learned now."""
        return self._presentations.learning

    @property
    def learning(self) -> Learning:
        """Whether it learns, or why not."""
        if not self._learn:
            return "off"
        timeline = self._presentations.timeline
        if timeline is not None and not self.learns:
            return "paused"
        return "on" if timeline is not None and (timeline.total or not self._late_labels) else "no labels"

    def pause(self) -> None:
        """Pause learning; labels that come meanwhile are scored, but not learned.

        Raises:
            UsageError: this run does not learn at all.
        """
        self._check_learns_at_all()
        self._presentations.learning = False

    def resume(self) -> None:
        """Learn again.

        Raises:
            UsageError: this run does not learn at all.
        """
        self._check_learns_at_all()
        self._presentations.learning = True

    def _check_learns_at_all(self) -> None:
        if not self._learn or self._presentations.timeline is None:
            raise UsageError("this run does not learn: it has --no-learn, or takes no labels")

    # --- what is due -----------------------------------------------------------------------------------------------

    @property
    def due(self) -> bool:
        """Whether :meth:`learn_due` has something to do, before the next timestep of a file; not while paused."""
        return self.learns and bool(self._due)

    def learn_due(self) -> bool:
        """Learn one timestep of what is due, one update; True while more is due."""
        if self.learns:
            self._learn_piece(self._due.learn_piece)
        return self.due

    def idle(self) -> bool:
        """Use time that the stream leaves for one timestep: what is due, then rehearsal; False: nothing to do."""
        if not self.learns:
            return False
        rehearse = not self._due and self.rehearsal.mode == "idle"
        return self._learn_piece(self._due.rehearse if rehearse else self._due.learn_piece)

    def _learn_piece(self, learn: Callable[[], Kind | None]) -> bool:
        started, before = time.perf_counter(), self.learner.counts.updates
        self._guard.before_learning()
        kind = learn()
        if kind is None:
            return False
        self.counters.updates.add(kind, self.learner.counts.updates - before)
        self._guarded.look_at_weights()
        if kind == "rehearsed":
            self.counters.rehearsals.add(time.perf_counter() - started)
        return True

    # --- what others see -------------------------------------------------------------------------------------------

    def snapshot(self) -> SessionSnapshot:
        """Everything that can be said of it now, as plain values that no longer change."""
        return snapshot_of(
            self.counters, self.evaluator, self.memory, self._due, self._room, self._presentations, self.learning
        )

    def state_dict(self) -> State:
        """All but the learner: it has a state of its own, to be saved with this one."""
        state: State = {"has_timeline": self._presentations.timeline is not None}
        for name, owner in self._owners():
            state |= under(name, owner.state_dict())
        return state

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` gave, to the same predictions and figures to the bit.

        Raises:
            ModelError: a field is missing.
        """
        had_timeline = take(state, "has_timeline")
        if had_timeline and self._presentations.timeline is None:
            self._presentations.timeline = LabelTimeline()
        learning = self._presentations.learning
        for name, owner in self._owners():
            if name != "timeline" or had_timeline:
                owner.load_state_dict(part(state, name))
        if not had_timeline:  # nobody could give labels then, and somebody may now
            self._presentations.learning = learning

    def _owners(self) -> list[tuple[str, Stateful]]:
        """The parts whose state is the session's, in the order in which they are restored."""
        owners: list[tuple[str, Stateful]] = [
            ("counters", self.counters),
            ("classes", self.classes),
            ("evaluation", self.evaluator),
            ("memory", self.memory),
            ("waiting", self._room),
            ("due", self._due),
            ("presentations", self._presentations),
            ("guard", self._guard),
            ("firing", self._firing),
        ]
        optional = (("novelty", self._novelty), ("timeline", self._presentations.timeline))
        return owners + [(name, part) for name, part in optional if part is not None]
