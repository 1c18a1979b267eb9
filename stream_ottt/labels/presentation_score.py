"""What was scored of one presentation: enough to count it anew, should its label have been wrong."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
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
        early: (mark, what was predicted by then) for each of :data:`MARKS_US` at which it was still scored.
        softmax: sum of the probabilities of its scored timesteps [classes].
        steps: how many these are; 0 again once the presentation is over.
        verdict: once it is over.
    """

    __slots__ = ("_marks", "_numbers", "_said", "classes", "early", "softmax", "steps", "truth", "verdict")

    def __init__(self, truth: int, classes: Sequence[int]) -> None:
        self.truth = truth
        self.classes = classes
        self.softmax = np.zeros(len(classes))
        self.steps = 0
        self.verdict: Verdict | None = None
        self.early: list[tuple[int, int]] = []
        self._marks = 0  # passed
        self._numbers = array("q")
        self._said = array("q")

    def add(self, number: int, predicted: int, softmax: npt.NDArray[np.float64]) -> None:
        """Take one timestep: its number among all that were scored, what was predicted, and the probabilities.

        The probabilities are [classes], fewer before a class was added.
        """
        if len(softmax) > len(self.softmax):
            self.softmax = np.append(self.softmax, np.zeros(len(softmax) - len(self.softmax)))
        self.softmax[: len(softmax)] += softmax
        self.steps += 1
        self._numbers.append(number)
        self._said.append(predicted)

    def pass_marks(self, since: float) -> tuple[int, ...]:
        """The marks up to ``since`` (µs from its start) that were not passed before."""
        first = self._marks
        while self._marks < len(MARKS_US) and MARKS_US[self._marks] <= since:
            self._marks += 1
        return MARKS_US[first : self._marks]

    def said(self) -> Iterator[tuple[int, int]]:
        """Number and predicted label of each scored timestep."""
        return zip(self._numbers, self._said, strict=True)

    def __len__(self) -> int:
        return len(self._said)

    @property
    def predicted(self) -> int:
        """The class with the largest mean softmax."""
        return self.classes[int(np.argmax(self.softmax))]

    def state_dict(self) -> State:
        """All but the truth."""
        verdict: Any = None if self.verdict is None else list(self.verdict)
        said = np.array([self._numbers, self._said], np.int64)
        kept = {"softmax": self.softmax.copy(), "steps": self.steps, "said": said, "verdict": verdict}
        return {**kept, "early": list(self.early), "marks": self._marks}

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.softmax, self.steps = take(state, "softmax").copy(), take(state, "steps")
        self._numbers, self._said = (array("q", row.tolist()) for row in take(state, "said"))
        self.early = [(mark, said) for mark, said in take(state, "early")]
        self._marks = take(state, "marks")
        verdict = take(state, "verdict")
        self.verdict = None if verdict is None else Verdict(*verdict)
