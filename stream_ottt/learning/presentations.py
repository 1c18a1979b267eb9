"""Presentations one after the other: which one the stream shows, and what becomes due when a label is known."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from stream_ottt.errors import UsageError
from stream_ottt.events.timestep import Timestep
from stream_ottt.labels.evaluation import Evaluator
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.learning.due import DueLearning
from stream_ottt.learning.presentation import Presentation
from stream_ottt.learning.waiting import Waiting, WaitingRoom
from stream_ottt.state import State, part, take, under

MOST_INTERVALS = 100_000
"""Most label intervals that may lie ahead of a stream that takes labels while it runs."""

MOST_COMPARED = 100
"""Latest labels with which those of another source are compared."""

MOST_PAST = 20
"""Latest presentations whose labels can be corrected."""


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
        self._begun = 0
        self._past: deque[Presentation] = deque(maxlen=MOST_PAST)  # whose labels can be corrected
        self._retracted: list[LabelInterval] = []  # whose label was used, where another may still come
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
            self._due.defer(waited, label, presentation.number)
        for waiting in waited:
            self._due.remember(waiting.frame, presentation.building, label, presentation.number)
        return label

    def left_by_others(self, interval: LabelInterval) -> tuple[list[LabelInterval], bool]:
        """See :meth:`LabelTimeline.left_by_others`. Raises UsageError where this stream takes no labels, too."""
        if self.timeline is None:
            raise UsageError("this stream takes no labels")
        return self.timeline.left_by_others(interval)

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
        if self._was_learned(interval):
            self._retracted.append(interval)  # it may go on for longer than what was learned of it
        waited = self._room.take(interval)
        if waited:
            self._take_late(self._begin(interval, timeline), waited)
        oldest = self._room.unlabelled[0].middle if self._room.unlabelled else self.now
        timeline.forget_before(int(min(oldest, self.now)), keep=MOST_COMPARED if interval.source else 0)
        self._retracted = [r for r in self._retracted if r.t_end > min(oldest, self.now)]
        return len(waited)

    def _take_late(self, late: Presentation, waited: list[Waiting]) -> None:
        """The timesteps of a presentation whose label came after them."""
        for waiting in waited:
            if waiting.softmax is not None:
                late.test(self._evaluator, waiting.predicted, waiting.softmax, waiting.middle)
                self._room.scored(waiting)
        late.waiting.extend(waited)
        if late.interval.t_end <= self.now:
            self._close(late)
            return
        self.leave()
        self.shown = late
        if self.learning and self.is_known(late):
            self.use_label(late)

    def correct(self, label: int, at: int | None) -> LabelInterval:
        """Give a presentation that was or is shown another label; weights stay as they are.

        No more of it is scored than was: only what was predicted before its label, the wrong one, was used.

        Args:
            label: the right one.
            at: a time in it, µs; None for the latest whose label is known.

        Returns:
            What it was before.

        Raises:
            UsageError: there is none, or it has this label.
        """
        timeline, wrong = self._find(at)
        if wrong.label == label:
            raise UsageError(f"the label from {wrong.t_start} to {wrong.t_end} µs is {label} already")
        timeline.correct(wrong, label)
        for found in self._showing(wrong):
            found.interval = replace(wrong, label=label)
            self._evaluator.correct(found.score, label)
            self._due.correct(found.number, label, found.building)
        return wrong

    def retract(self, at: int | None) -> LabelInterval:
        """Take the label of a presentation that was or is shown away; weights stay as they are.

        Nothing of it counts any more, or is to be learned. Its time has no label again, and can be given one; but what
        was predicted after something of it was learned is no test then either.

        Args:
            at: a time in it, µs; None for the latest whose label is known.

        Returns:
            What it was.

        Raises:
            UsageError: there is none.
        """
        timeline, wrong = self._find(at)
        timeline.retract(wrong)
        for found in self._showing(wrong):
            if found.label_used:
                self._retracted.append(wrong)
            self._past.remove(found)
            self._evaluator.retract(found.score, [p.score for p in self._past])
            self._due.forget(found.number)
            self._room.free(found.waiting)
            if found is self.shown:
                self.shown = None
        return wrong

    def _showing(self, interval: LabelInterval) -> list[Presentation]:
        """The presentations of an interval, of which each pass has one."""
        return [p for p in self._past if p.interval == interval]

    def _find(self, at: int | None) -> tuple[LabelTimeline, LabelInterval]:
        """The interval that holds a time (µs), or the latest whose label is known, and where it belongs."""
        if self.timeline is None:
            raise UsageError("this stream takes no labels")
        if at is None:
            found = next((p for p in reversed(self._past) if p is not self.shown or self.is_known(p)), None)
        else:
            found = next((p for p in reversed(self._past) if p.interval.holds(at)), None)
        if found is None:
            where = "no label was used yet" if at is None else f"no label at {at} µs"
            raise UsageError(f"{where}, among the latest {MOST_PAST}; nothing is changed")
        return self.timeline, found.interval

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
        self._retracted.clear()
        if self.timeline is not None:
            self.timeline.begin_again()

    def _begin(self, interval: LabelInterval, timeline: LabelTimeline) -> Presentation:
        timeline.meet(interval)
        seen = self._seen_before or self._was_learned(interval)
        begun = Presentation(interval, self._classes, self._begun, seen_before=seen)
        self._begun += 1
        self._past.append(begun)
        return begun

    def _was_learned(self, interval: LabelInterval) -> bool:
        """Whether something of it was learned under a label that was taken back."""
        return any(interval.overlaps(wrong) for wrong in self._retracted)

    def _close(self, presentation: Presentation) -> None:
        """A presentation is over: what waited for its label is due or given up."""
        if presentation.waiting and self.learning and self.is_known(presentation):
            self.use_label(presentation)
        self._room.free(presentation.waiting)
        presentation.waiting.clear()
        presentation.reach(self._evaluator, min(self.now, presentation.interval.t_end))
        self._due.end_stretch(presentation.building, presentation.interval.label, presentation.number)
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
            "begun": self._begun,
            "past": [p is self.shown for p in self._past],
            "retracted": [(i.t_start, i.t_end, i.label) for i in self._retracted],
        }
        for i, past in enumerate(self._past):
            if past is not self.shown:
                state |= under(f"past/{i}", past.state_dict())
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
        self._begun = take(state, "begun")
        self._retracted = [LabelInterval(*row) for row in take(state, "retracted")]
        self._past.clear()
        for i, is_shown in enumerate(take(state, "past")):
            held = self.shown if is_shown else Presentation.from_state(part(state, f"past/{i}"), self._classes)
            assert held is not None
            self._past.append(held)
