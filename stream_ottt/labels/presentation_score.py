"""What was scored of one presentation: enough to count it anew, should its label have been wrong.

It takes the same memory however long the presentation lasts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stream_ottt.state import State, take

MARKS_US = (100_000, 250_000, 500_000, 1_000_000, 2_000_000)
"""Times since a presentation's start at which its prediction so far is noted, µs."""


class Verdict(NamedTuple):
    """A presentation's prediction, and what the baselines said of it before its label was known.

    Attributes:
        place: its number among those that were scored.
        predicted: the class with the largest mean softmax.
        no_change, majority: what the baselines said; None where they had nothing to say.
    """

    place: int
    predicted: int
    no_change: int | None
    majority: int | None


class PresentationScore:
    """What was scored of one presentation so far.

    Args:
        truth: its label.
        classes: the label at each position of a softmax.

    Attributes:
        number: of its first scored timestep among all that were scored, which tells it from others; -1 before that.
        said: label → timesteps that were scored as it.
        faded: label → the sum of the weights of these, each as of the latest timestep that was scored of this
            presentation: :attr:`latest`.
        latest: its number among all that were scored.
        early: (mark, what was predicted by then) for each of :data:`MARKS_US` at which it was still scored.
        softmax: sum of the probabilities of its scored timesteps [classes].
        steps: how many these are; 0 again once the presentation is over.
        verdict: once it is over.
    """

    __slots__ = (
        "_marks",
        "classes",
        "early",
        "faded",
        "latest",
        "number",
        "said",
        "softmax",
        "steps",
        "truth",
        "verdict",
    )

    def __init__(self, truth: int, classes: Sequence[int]) -> None:
        self.truth = truth
        self.classes = classes
        self.softmax = np.zeros(len(classes))
        self.steps = 0
        self.verdict: Verdict | None = None
        self.early: list[tuple[int, int]] = []
        self.number = self.latest = -1
        self.said: dict[int, int] = {}
        self.faded: dict[int, float] = {}
        self._marks = 0  # passed

    def add(self, number: int, predicted: int, softmax: npt.NDArray[np.float64], fading: float) -> None:
        """Take one timestep.

        Args:
            number: of it among all that were scored.
            predicted: the predicted label.
            softmax: [classes] probabilities, fewer before a class was added.
            fading: factor of the weights from one scored timestep to the next.
        """
        if len(softmax) > len(self.softmax):
            self.softmax = np.append(self.softmax, np.zeros(len(softmax) - len(self.softmax)))
        self.softmax[: len(softmax)] += softmax
        self.steps += 1
        self.said[predicted] = self.said.get(predicted, 0) + 1
        self._fade(fading ** (number - self.latest))
        self.faded[predicted] = self.faded.get(predicted, 0.0) + 1
        self.latest = number
        if self.number < 0:
            self.number = number

    def _fade(self, factor: float) -> None:
        for label in self.faded:
            self.faded[label] *= factor

    def pass_marks(self, since: float) -> tuple[int, ...]:
        """The marks up to ``since`` (µs from its start) that were not passed before."""
        first = self._marks
        while self._marks < len(MARKS_US) and MARKS_US[self._marks] <= since:
            self._marks += 1
        return MARKS_US[first : self._marks]

    @property
    def predicted(self) -> int:
        """The class with the largest mean softmax."""
        return self.classes[int(np.argmax(self.softmax))]

    def state_dict(self) -> State:
        """All but the truth."""
        verdict: Any = None if self.verdict is None else list(self.verdict)
        said = [[label, count, self.faded[label]] for label, count in self.said.items()]
        kept = {"softmax": self.softmax.copy(), "steps": self.steps, "said": said, "verdict": verdict}
        numbers = {"number": self.number, "latest": self.latest, "marks": self._marks}
        return {**kept, **numbers, "early": list(self.early)}

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.softmax, self.steps = take(state, "softmax").copy(), take(state, "steps")
        said = take(state, "said")
        self.said = {label: count for label, count, _ in said}
        self.faded = {label: weight for label, _, weight in said}
        self.number, self.latest = take(state, "number"), take(state, "latest")
        self.early = [(mark, said) for mark, said in take(state, "early")]
        self._marks = take(state, "marks")
        verdict = take(state, "verdict")
        self.verdict = None if verdict is None else Verdict(*verdict)
