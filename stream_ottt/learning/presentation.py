"""What is known of one labelled interval while the stream shows it.

A presentation is the only owner of its label as far as learning goes. :meth:`Presentation.use_label` is the one way to
it, and marks it as used for good; :meth:`Presentation.test` scores only before that. So whatever the order of labels,
pauses, passes and resets, no prediction is scored that was made after something of its presentation had been learned.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stream_ottt.labels.evaluation import Evaluator
from stream_ottt.labels.presentation_score import PresentationScore
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.learning.rehearsal import Frames
from stream_ottt.learning.waiting import Waiting, pack_waiting, unpack_waiting
from stream_ottt.state import State, pack, part, take, under, unpack


class Presentation:
    """What is known of one labelled interval.

    Args:
        interval: the interval.
        classes: the label at each position of a prediction's softmax.
        number: 0, 1, 2, … in the order in which they were begun.
        seen_before: whether a pass before this one may have learned it; then nothing of it is a test.

    Attributes:
        label_used: whether something of it was learned, or is due to be.
        all_scored: whether each timestep so far was a test.
        score: what was scored of it.
        waiting: its timesteps that wait until the label is known, oldest first.
        building: its learned timesteps that make no whole stretch yet, for the rehearsal.
    """

    def __init__(
        self, interval: LabelInterval, classes: Sequence[int], number: int, *, seen_before: bool = False
    ) -> None:
        self.interval = interval
        self.number = number
        self.label_used = seen_before
        self.all_scored = not seen_before
        self.score = PresentationScore(interval.label, classes)
        self.waiting: deque[Waiting] = deque()
        self.building: list[Frames] = []

    def test(self, evaluator: Evaluator, predicted: int, softmax: npt.NDArray[np.float64], middle: float) -> bool:
        """Score a prediction if it is a test; whether it was. ``middle`` is that of its timestep, µs."""
        self.reach(evaluator, middle)
        if self.label_used:
            self.all_scored = False
            return False
        evaluator.add_step(self.score, predicted, softmax)
        return True

    def reach(self, evaluator: Evaluator, t: float) -> None:
        """The stream has come to ``t`` (µs); what was said until then is noted, where all of it was a test."""
        if self.all_scored:
            evaluator.reach(self.score, t - self.interval.t_start)

    def use_label(self) -> int:
        """The label, for learning: from now on no prediction of this presentation is a test."""
        self.label_used = True
        return self.interval.label

    def state_dict(self) -> State:
        """All of it."""
        interval = self.interval
        return {
            "interval": [interval.t_start, interval.t_end, interval.label],
            "number": self.number,
            "label_used": self.label_used,
            "all_scored": self.all_scored,
            **under("score", self.score.state_dict()),
            "building": pack(self.building),
            **under("waiting", pack_waiting(self.waiting)),
        }

    @classmethod
    def from_state(cls, state: State, classes: Sequence[int]) -> Presentation:
        """The presentation that :meth:`state_dict` described."""
        interval, used = LabelInterval(*take(state, "interval")), take(state, "label_used")
        made = cls(interval, classes, take(state, "number"), seen_before=used)
        made.all_scored = take(state, "all_scored")
        made.score.load_state_dict(part(state, "score"))
        made.building = unpack(take(state, "building"))
        made.waiting = unpack_waiting(part(state, "waiting"))
        return made
