"""A presentation: one labelled interval while the stream shows it, and all that is known of it.

It is the only owner of its label as far as learning goes. :meth:`Presentation.use_label` is the one way to it, and
marks it as used for good; :meth:`Presentation.test` scores only before that. So whatever the order of labels, pauses,
passes and resets, no prediction is scored that was made after something of its presentation had been learned.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stream_ottt.labels.evaluation import Evaluator, PresentationScore
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.learning.rehearsal import Frames
from stream_ottt.learning.waiting import Waiting, pack_waiting, unpack_waiting
from stream_ottt.state import State, pack, part, take, under, unpack


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
        made.waiting = unpack_waiting(part(state, "waiting"))
        made.building = unpack(take(state, "building"))
        return made
