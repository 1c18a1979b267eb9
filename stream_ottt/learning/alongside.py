"""Remembered stretches that run alongside the live stream.

A live stream shows one thing for seconds, so that its consecutive updates pull the same way and undo what was learned
of everything else. Here several remembered stretches, of different classes, take turns with it: each has membrane
potentials and traces of its own and advances by one timestep, with one update, when it is its turn. Weights and
optimizer are shared. So updates that follow each other come from different things.
"""

from __future__ import annotations

import math

from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.learning.novelty import Novelty
from stream_ottt.learning.rehearsal import RehearsalConfig, RehearsalMemory, Stretch
from stream_ottt.learning.stretch_run import StretchRun
from stream_ottt.state import State, part, take, under

MOST_OWED = 100_000
"""Most rehearsed timesteps that may be due; what a stream without a pause would add to them is given up and counted."""


class Alongside:
    """The remembered stretches under way, which take turns.

    Args:
        learner: what learns them.
        memory: what they are drawn from.
        how: settings of the rehearsal; ⌈``ratio``⌉ stretches are under way.
        novelty: told of each timestep.

    Attributes:
        owed: rehearsed timesteps that are due; a fraction is kept for later.
        given_up: those that were due and no longer are, because too many were.
    """

    def __init__(
        self, learner: OnlineLearner, memory: RehearsalMemory, how: RehearsalConfig, novelty: Novelty | None = None
    ) -> None:
        self._learner = learner
        self._memory = memory
        self._how = how
        self._novelty = novelty
        self._runs: list[StretchRun | None] = [None] * math.ceil(how.ratio)
        self._turn = 0
        self.owed = 0.0
        self.given_up = 0

    def owe(self) -> None:
        """A timestep was learned: ``ratio`` more are due, once there is something to rehearse."""
        if not len(self._memory):
            return
        self.owed += self._how.ratio
        if self.owed >= MOST_OWED + 1:
            self.given_up += int(self.owed) - MOST_OWED
            self.owed -= int(self.owed) - MOST_OWED

    @property
    def due(self) -> bool:
        """Whether a timestep is due."""
        return self.owed >= 1

    def advance(self) -> bool:
        """Learn one timestep of the stretch whose turn it is; False when there is nothing to rehearse."""
        if not self._runs or not len(self._memory):
            self.owed = 0.0
            return False
        run = self._runs[self._turn]
        if run is None or self._is_another_needed(run):
            run = self._runs[self._turn] = self._begin()
        run.advance(self._learner, self._novelty)
        if not run.frames:
            self._runs[self._turn] = None
        self._turn = (self._turn + 1) % len(self._runs)
        self.owed = max(self.owed - 1, 0.0)
        return True

    def correct(self, of: int, label: int) -> None:
        """What is under way of a presentation gets another label."""
        for run in self._runs:
            if run is not None and run.of == of:
                run.label = label

    def forget(self, of: int) -> None:
        """What is under way of a presentation is given up."""
        self._runs = [None if run is not None and run.of == of else run for run in self._runs]

    def rest(self) -> None:
        """All that is under way goes on from rest."""
        for run in self._runs:
            if run is not None:
                run.state = self._learner.rest()

    def _running(self) -> dict[int, int]:
        """How many stretches of each remembered class are under way."""
        running = dict.fromkeys(self._memory.labels(), 0)
        for run in self._runs:
            if run is not None and run.label in running:
                running[run.label] += 1
        return running

    def _is_another_needed(self, run: StretchRun) -> bool:
        """Whether a class is overdue, or one runs not at all and this one's twice: a new class is not kept waiting."""
        if self._memory.overdue is not None:
            return True
        running = self._running()
        return running.get(run.label, 0) > 1 and min(running.values()) == 0

    def _begin(self) -> StretchRun:
        """Draw a stretch of a class of which fewest are under way."""
        self._runs[self._turn] = None
        running = self._running()
        fewest = min(running.values())
        stretch = self._memory.draw([label for label, n in running.items() if n == fewest])
        assert stretch is not None
        return begin(stretch, self._learner, self._memory, self._how)

    def state_dict(self) -> State:
        """The stretches under way, and whose turn it is."""
        under_way = [i for i, run in enumerate(self._runs) if run is not None]
        state: State = {"owed": self.owed, "given_up": self.given_up, "turn": self._turn, "under_way": under_way}
        for i, run in enumerate(self._runs):
            if run is not None:
                state |= under(str(i), run.state_dict(self._learner))
        return state

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.owed, self.given_up = take(state, "owed"), take(state, "given_up")
        self._turn = take(state, "turn")
        self._runs = [None] * len(self._runs)
        for i in take(state, "under_way"):
            self._runs[i] = StretchRun.from_state(part(state, str(i)), self._learner)


def begin(stretch: Stretch, learner: OnlineLearner, memory: RehearsalMemory, how: RehearsalConfig) -> StretchRun:
    """A remembered stretch as it is learned again, changed a little where the settings say so."""
    return StretchRun("rehearsed", stretch.label, memory.varied(stretch, how), learner.rest(), of=stretch.of)
