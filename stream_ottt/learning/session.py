"""One stream and one learner: predict each timestep, score it, learn from its label once known, rehearse.

Everything here is synchronous and knows neither sources nor clocks but for timing itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal

import numpy as np

from stream_ottt.errors import UsageError
from stream_ottt.events.timestep import Prediction, StepResult, Timestep
from stream_ottt.labels.timeline import LabelInterval, LabelsConfig, LabelTimeline
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.learning.rehearsal import Frames, RehearsalConfig, RehearsalMemory, Stretch, jitter
from stream_ottt.learning.waiting import Waiting, WaitingRoom
from stream_ottt.pipeline.progress import Progress


class Session:
    """Runs a learner over the timesteps of a stream.

    Args:
        learner: the learner.
        progress: where everything is counted; its ``evaluation`` is scored.
        timeline: the stream's labels; None when there are none, and nothing is learned.
        rehearsal: settings of the rehearsal.
        keep_bytes: room for timesteps that wait for their label.
        learn: False only predicts and scores.
        late_labels: True keeps unlabelled timesteps too, for labels that :meth:`add_label` may bring.
        seed: of the rehearsal's draws.
    """

    def __init__(
        self,
        learner: OnlineLearner,
        progress: Progress,
        *,
        timeline: LabelTimeline | None = None,
        rehearsal: RehearsalConfig | None = None,
        keep_bytes: int = LabelsConfig().keep_bytes,
        learn: bool = True,
        late_labels: bool = False,
        seed: int = 0,
    ) -> None:
        self.learner = learner
        self.progress = progress
        self.timeline = timeline
        self.rehearsal = rehearsal or RehearsalConfig(mode="off")
        self.may_learn = learn and timeline is not None
        self.learning = self.may_learn
        self.late_labels = late_labels
        self.scoring = True
        self.memory = RehearsalMemory(self.rehearsal.max_bytes, np.random.default_rng(seed))
        self._used: LabelInterval | None = None  # the interval whose label was used last
        self._current: LabelInterval | None = None
        self._told: LabelInterval | None = None  # the interval that was last scored as a whole, by add_label
        self._waiting = WaitingRoom(keep_bytes)
        self._building: list[Frames] = []
        self._building_from: LabelInterval | None = None
        self._rehearsals_due = 0
        self._now = 0

    def process(self, timestep: Timestep) -> StepResult:
        """Predict one timestep, then learn what can be learned now; what it makes due is left to :meth:`rehearse`."""
        started = time.perf_counter()
        self._release(timestep.t_start)
        prediction = self.learner.step(timestep, learn=self.learning)
        middle = (timestep.t_start + timestep.t_end) / 2
        interval = None if self.timeline is None else self.timeline.at(middle)
        scored = self._score(interval, prediction)
        self._now = timestep.t_end
        if self.learning or self.late_labels:
            self._learn(timestep, prediction, interval, middle)
        progress = self.progress
        progress.steps.add(time.perf_counter() - started)
        progress.timesteps += 1
        progress.ledger.binned += timestep.events
        progress.stream_us += timestep.t_end - timestep.t_start
        return StepResult(timestep, prediction, None if interval is None else interval.label, scored)

    @property
    def rehearsal_due(self) -> bool:
        """Whether :meth:`rehearse` has something to do; not while learning is paused."""
        return self.learning and self._rehearsals_due > 0

    def rehearse(self) -> None:
        """Rehearse as many remembered stretches as are due, before the next timestep; its result can go out first."""
        while self.rehearsal_due:
            self._rehearsals_due -= 1
            self._rehearse_one()

    def add_label(self, interval: LabelInterval) -> int:
        """Take a label that comes with the stream, late or early.

        Returns:
            How many timesteps that had waited for it were scored.

        Raises:
            UsageError: it overlaps another interval, ends before it starts, or its class is unknown.
        """
        if interval.label not in self.learner.classes:
            raise UsageError(f"label {interval.label} is not among the network's classes {self.learner.classes}")
        if self.timeline is None:
            raise UsageError("this stream takes no labels")
        self.timeline.add(interval)
        inside = self._waiting.inside(interval)
        if inside and self.scoring and interval is not self._current:
            self._told = interval
            self.progress.evaluation.add_presentation(
                interval.label, [(w.prediction.label, w.prediction.softmax()) for w in inside], self.learner.classes
            )
        if inside:
            self._waiting.expect(self.timeline.known_at(interval))
            self._release(self._now)
        oldest = self._waiting.oldest()
        self.timeline.forget_before(self._now if oldest is None else int(min(oldest, self._now)))
        return len(inside)

    def label_now(self, label: int, span: int) -> int:
        """Take a label for the last ``span`` µs, or as much of it as has no label yet; as :meth:`add_label`."""
        start = max(self._now - span, 0)
        for interval in self.timeline or ():
            if interval.t_start < self._now:
                start = max(start, interval.t_end)
        return self.add_label(LabelInterval(start, self._now, label))

    def learn(self, on: bool) -> None:
        """Pause learning, or resume it; labels that come meanwhile are scored, but not learned.

        Raises:
            UsageError: it cannot be resumed, because this run does not learn at all.
        """
        if on and not self.may_learn:
            raise UsageError("this run does not learn: it was started with --no-learn, or takes no labels")
        if self.may_learn:
            self.learning = on
            self.progress.learning = "on" if on else "paused"

    def reset(self) -> None:
        """Put the network's state at rest, as before a new sample; weights stay."""
        self._end_stretch()
        self._counted("live", self.learner.reset)

    def idle(self) -> bool:
        """Rehearse one remembered stretch in time that the stream leaves; False when there is nothing to do."""
        if self.rehearsal.mode != "idle" or not self.learning:
            return False
        return self._rehearse_one()

    def follow(self, timeline: LabelTimeline) -> None:
        """Take another timeline, for the next pass over a source whose labels are not those of the last."""
        self.timeline = timeline

    def end_pass(self) -> None:
        """The stream has ended once: what comes is seen again, and no test any more."""
        self.finish()
        if self.learning:
            self.scoring = False

    def finish(self) -> None:
        """The stream has ended: apply what is due, learn what has become known, close the last presentation."""
        self._release(self._now)
        self._waiting.clear()
        self._end_stretch()
        self._counted("live", self.learner.reset)
        self.progress.evaluation.close_presentation()
        self._current = self._used = None

    # --- scoring -------------------------------------------------------------------------------------------------

    def _score(self, interval: LabelInterval | None, prediction: Prediction) -> bool:
        """Score a prediction if no label of its presentation has been used; whether it counts."""
        if interval is not self._current:
            self.progress.evaluation.close_presentation()
            self._current = interval
        if interval is None or interval is self._used or interval is self._told or not self.scoring:
            return False
        self.progress.evaluation.add_step(
            interval.t_start, interval.label, prediction.label, prediction.softmax(), self.learner.classes
        )
        return True

    # --- learning ------------------------------------------------------------------------------------------------

    def _learn(self, timestep: Timestep, prediction: Prediction, interval: LabelInterval | None, middle: float) -> None:
        """Learn this timestep if its label is known by now, else let it wait for it."""
        assert self.timeline is not None
        frame = np.minimum(timestep.frame, 255).astype(np.uint8)
        if interval is None or self.timeline.known_at(interval) > timestep.t_end:
            self._wait(Waiting(frame, middle, prediction), interval)
            return
        if not self.learning:
            return
        self._used = interval
        self._warn_of_delay(timestep, interval)
        before = self.learner.counts.learned
        self._counted("live", lambda: self.learner.feedback(timestep.index, interval.label))
        if self.learner.counts.learned > before:
            prediction.learned = True
            prediction.learned_from = self.learner.learned_from
        self._release(timestep.t_end)
        self._remember(frame, interval)

    def _warn_of_delay(self, timestep: Timestep, interval: LabelInterval) -> None:
        """Say once when today's traces may belong to another stimulus than the error that meets them."""
        rule = self.learner.config
        if not rule.error_delay or rule.delay_mode == "snapshot" or self.progress.warnings:
            return
        delay, shown = rule.error_delay * (timestep.t_end - timestep.t_start), interval.t_end - interval.t_start
        if 2 * delay >= shown:
            self.progress.warnings.append(
                f"the error delay of {rule.error_delay} timesteps ({delay / 1e3:g} ms) nears the {shown / 1e3:g} ms "
                "that a label lasts, so errors meet traces of the next stimulus; use learner.delay_mode = 'snapshot'"
            )

    def _wait(self, waiting: Waiting, interval: LabelInterval | None) -> None:
        """Keep a timestep until its label is known; one without an interval only where labels can come late."""
        assert self.timeline is not None
        if interval is not None:
            self._waiting.expect(self.timeline.known_at(interval))
        elif not self.late_labels:
            return
        self.progress.timesteps_not_kept += self._waiting.keep(waiting)

    def _release(self, now: int) -> None:
        """Learn the timesteps that waited for a label that is known at ``now``."""
        if self.timeline is None:
            return
        ready = self._waiting.release(self.timeline, now)
        for interval, frames in ready if self.learning else ():
            self._used = interval
            self._counted("deferred", partial(self._run, frames, interval.label))
            for frame in frames:
                self._remember(frame, interval)

    def _counted(self, kind: Literal["live", "deferred", "rehearsed"], act: Callable[[], object]) -> None:
        """Do ``act`` and count the optimizer steps it made as of ``kind``."""
        before = self.learner.counts.updates
        act()
        updates = self.progress.updates
        setattr(updates, kind, getattr(updates, kind) + self.learner.counts.updates - before)

    def _run(self, frames: Iterable[Frames], label: int) -> None:
        """Learn a stretch from a state at rest, one update a timestep; the live state is put aside meanwhile."""
        learner = self.learner
        with learner.set_aside():
            for i, frame in enumerate(frames):
                learner.forward(learner.as_input(frame), i)
                learner.feedback(i, label)

    # --- rehearsal -----------------------------------------------------------------------------------------------

    def _remember(self, frame: Frames, interval: LabelInterval) -> None:
        """Add a learned timestep to the stretch being built."""
        if self.rehearsal.mode == "off":
            return
        if interval is not self._building_from:
            self._end_stretch()
            self._building_from = interval
        self._building.append(frame)
        if len(self._building) == self.rehearsal.stretch:
            self._store()

    def _end_stretch(self) -> None:
        """A presentation ended within a stretch: keep it when it is at least half a stretch long."""
        if 2 * len(self._building) >= self.rehearsal.stretch:
            self._store()
        self._building = []

    def _store(self) -> None:
        assert self._building_from is not None
        self.memory.store(Stretch(np.stack(self._building), self._building_from.label))
        self.progress.memory = self.memory.counts()
        self._building = []
        if self.rehearsal.mode == "ratio":
            self._rehearsals_due += self.rehearsal.ratio

    def _rehearse_one(self) -> bool:
        stretch = self.memory.draw()
        if stretch is None:
            return False
        started = time.perf_counter()
        frames, how = stretch.frames, self.rehearsal
        if how.shift or how.zoom > 1:
            frames = jitter(frames, self.memory.rng, shift=how.shift, zoom=how.zoom)
        self._counted("rehearsed", lambda: self._run(frames, stretch.label))
        each = (time.perf_counter() - started) / len(frames)
        for _ in frames:
            self.progress.rehearsals.add(each)
        return True
