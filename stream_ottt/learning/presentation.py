"""Presentations: what is known of each labelled interval while the stream shows it.

A presentation is the only owner of its label as far as learning goes. :meth:`Presentation.use_label` is the one way to
it, and marks it as used for good; :meth:`Presentation.test` scores only before that. So whatever the order of labels,
pauses, passes and resets, no prediction is scored that was made after something of its presentation had been learned.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stream_ottt.errors import UsageError
from stream_ottt.events.timestep import Timestep
from stream_ottt.labels.evaluation import Evaluator, PresentationScore
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.learning.due import DueLearning
from stream_ottt.learning.rehearsal import Frames
from stream_ottt.learning.waiting import Waiting, WaitingRoom, pack_waiting, unpack_waiting
from stream_ottt.state import State, pack, part, take, under, unpack

MOST_INTERVALS = 100_000
"""Most label intervals that may lie ahead of a stream that takes labels while it runs."""


class Presentation:
    """What is known of one labelled interval.

    Args:
        interval: the interval.
        classes: the label at each position of a prediction's softmax.
        seen_before: whether a pass before this one may have learned it; then nothing of it is a test.

    Attributes:
        label_used: whether something of it was learned, or is due to be.
        score: what was scored of it.
        waiting: its timesteps that wait until the label is known, oldest first.
        building: its learned timesteps that make no whole stretch yet, for the rehearsal.
    """

    def __init__(self, interval: LabelInterval, classes: Sequence[int], *, seen_before: bool = False) -> None:
        self.interval = interval
        self.label_used = seen_before
        self.score = PresentationScore(interval.label, classes)
        self.waiting: deque[Waiting] = deque()
        self.building: list[Frames] = []

    def test(self, evaluator: Evaluator, predicted: int, softmax: npt.NDArray[np.float64]) -> bool:
        """Score a prediction if it is a test; whether it was."""
        if self.label_used:
            return False
        evaluator.add_step(self.score, predicted, softmax)
        return True

    def use_label(self) -> int:
        """The label, for learning: from now on no prediction of this presentation is a test."""
        self.label_used = True
        return self.interval.label

    def state_dict(self) -> State:
        """All of it."""
        interval = self.interval
        return {
            "interval": [interval.t_start, interval.t_end, interval.label],
            "label_used": self.label_used,
            "softmax": self.score.softmax.copy(),
            "steps": self.score.steps,
            "building": pack(self.building),
            **under("waiting", pack_waiting(self.waiting)),
        }

    @classmethod
    def from_state(cls, state: State, classes: Sequence[int]) -> Presentation:
        """The presentation that :meth:`state_dict` described."""
        made = cls(LabelInterval(*take(state, "interval")), classes, seen_before=take(state, "label_used"))
        made.score.softmax = take(state, "softmax").copy()
        made.score.steps = take(state, "steps")
        made.building = unpack(take(state, "building"))
        made.waiting = unpack_waiting(part(state, "waiting"))
        return made


class Presentations:
    """What the stream shows, one presentation after the other, and what becomes due when a label is known.

    Args:
        timeline: the stream's labels; None when there are none.
        classes: the label at each position of a prediction's softmax.
        evaluator: scores predictions.
        due: takes the timesteps whose label has become known.
        room: holds those that no interval holds yet, and counts all that wait.
        learning: whether labels are learned.

    Attributes:
        shown: the presentation of the last timestep, or None.
        now: end of the last timestep, µs.
        span: earliest start and latest end of all timesteps, µs; None before the first.
    """

    def __init__(
        self,
        timeline: LabelTimeline | None,
        classes: Sequence[int],
        evaluator: Evaluator,
        due: DueLearning,
        room: WaitingRoom,
        *,
        learning: bool,
    ) -> None:
        self.timeline = timeline
        self.learning = learning
        self.shown: Presentation | None = None
        self.now = 0
        self.span: tuple[int, int] | None = None
        self._classes = classes
        self._evaluator = evaluator
        self._due = due
        self._room = room
        self._label_used = False  # any, in this pass
        self._seen_before = False  # what is seen may have been learned in a pass before

    def at(self, timestep: Timestep) -> Presentation | None:
        """The presentation that holds the middle of the next timestep; where it is another, the one before is over."""
        start, end, middle = timestep.t_start, timestep.t_end, timestep.middle
        self.now = end
        self.span = (start, end) if self.span is None else (min(start, self.span[0]), max(end, self.span[1]))
        if self.shown is not None and not self.shown.interval.holds(middle):
            self.leave()
        if self.shown is None and self.timeline is not None:
            interval = self.timeline.at(middle)
            if interval is not None:
                self.shown = self._begin(interval, self.timeline)
        return self.shown

    def is_known(self, presentation: Presentation) -> bool:
        """Whether its label is known by now."""
        return self.timeline is not None and self.timeline.known_at(presentation.interval) <= self.now

    def use_label(self, presentation: Presentation) -> int:
        """Its label, to be learned now; what waited for it is due."""
        self._label_used = True
        label = presentation.use_label()
        waited, presentation.waiting = presentation.waiting, deque()
        if waited:
            self._due.defer(waited, label)
        for waiting in waited:
            self._due.remember(waiting.frame, presentation.building, label)
        return label

    def check_label(self, interval: LabelInterval) -> LabelTimeline:
        """Where a label that has come belongs.

        Raises:
            UsageError: it overlaps another interval, holds no time, or too many lie ahead.
        """
        timeline = self.timeline
        if timeline is None:
            raise UsageError("this stream takes no labels")
        if len(timeline) >= MOST_INTERVALS:
            raise UsageError(f"{MOST_INTERVALS:,} label intervals lie ahead of the stream; send labels later")
        timeline.check(interval)
        return timeline

    def take_label(self, interval: LabelInterval) -> int:
        """A label has come: score the timesteps that waited for it, and make them due; how many there were.

        Raises:
            UsageError: as :meth:`check_label`.
        """
        timeline = self.check_label(interval)
        timeline.add(interval)
        waited = self._room.take(interval)
        if waited:
            self._take_late(self._begin(interval, timeline), waited)
        oldest = self._room.unlabelled[0].middle if self._room.unlabelled else self.now
        timeline.forget_before(int(min(oldest, self.now)))
        return len(waited)

    def _take_late(self, late: Presentation, waited: list[Waiting]) -> None:
        """The timesteps of a presentation whose label came after them."""
        for waiting in waited:
            if waiting.softmax is not None:
                late.test(self._evaluator, waiting.predicted, waiting.softmax)
                self._room.scored(waiting)
        late.waiting.extend(waited)
        if late.interval.t_end <= self.now:
            self._close(late)
            return
        self.leave()
        self.shown = late
        if self.learning and self.is_known(late):
            self.use_label(late)

    def leave(self) -> None:
        """The stream shows nothing, or something else."""
        shown, self.shown = self.shown, None
        if shown is not None:
            self._close(shown)

    def end_pass(self) -> None:
        """The stream has ended once. What comes is seen again: no test any more, where something was learned."""
        self._seen_before = self._seen_before or self._label_used
        self.begin_again()

    def begin_again(self) -> None:
        """What comes may have any time."""
        self.now = 0
        if self.timeline is not None:
            self.timeline.begin_again()

    def _begin(self, interval: LabelInterval, timeline: LabelTimeline) -> Presentation:
        timeline.meet(interval)
        return Presentation(interval, self._classes, seen_before=self._seen_before)

    def _close(self, presentation: Presentation) -> None:
        """A presentation is over: what waited for its label is due or given up."""
        if presentation.waiting and self.learning and self.is_known(presentation):
            self.use_label(presentation)
        self._room.free(presentation.waiting)
        self._due.end_stretch(presentation.building, presentation.interval.label)
        self._evaluator.close(presentation.score)

    def state_dict(self) -> State:
        """What is shown, and what labels were used."""
        state: State = {
            "now": self.now,
            "span": self.span,
            "learning": self.learning,
            "label_used": self._label_used,
            "seen_before": self._seen_before,
            "is_shown": self.shown is not None,
        }
        return state if self.shown is None else state | under("shown", self.shown.state_dict())

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.now, self.learning = take(state, "now"), take(state, "learning")
        self.span = None if (span := take(state, "span")) is None else (span[0], span[1])
        self._label_used, self._seen_before = take(state, "label_used"), take(state, "seen_before")
        self.shown = None
        if take(state, "is_shown"):
            self.shown = Presentation.from_state(part(state, "shown"), self._classes)
            self._room.count(self.shown.waiting)
