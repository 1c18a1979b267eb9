"""Learning that is due: deferred and remembered stretches, learned one timestep at a time when no prediction waits."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

from stream_ottt.learning.alongside import Alongside, begin
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.learning.novelty import Novelty
from stream_ottt.learning.rehearsal import Frames, RehearsalConfig, RehearsalMemory, Stretch
from stream_ottt.learning.stretch_run import Kind, StretchRun
from stream_ottt.learning.waiting import Waiting, WaitingRoom, pack_waiting, unpack_waiting
from stream_ottt.state import State, part, take, under

MOST_OWED = 100_000
"""Most whole stretches that may be due; what a stream without a pause would add to them is given up and counted."""


class Deferred(NamedTuple):
    """Timesteps that waited for their label and are to be learned as a stretch; ``of`` numbers their presentation."""

    waited: deque[Waiting]
    label: int
    of: int


class DueLearning:
    """What is to be learned beside the stream: timesteps that waited for their label, and what is remembered.

    Alongside, each of the former is followed by its share of the latter. Else the order is: the stretch under way,
    deferred stretches, whole remembered ones.

    Args:
        learner: what learns it.
        memory: what rehearsals are drawn from.
        how: settings of the rehearsal.
        room: the memory that deferred timesteps take.
        novelty: told of each remembered timestep.

    Attributes:
        alongside: the remembered stretches that take turns with the stream.
    """

    def __init__(
        self,
        learner: OnlineLearner,
        memory: RehearsalMemory,
        how: RehearsalConfig,
        room: WaitingRoom,
        novelty: Novelty | None = None,
    ) -> None:
        self._learner = learner
        self._memory = memory
        self._how = how
        self._room = room
        self._deferred: deque[Deferred] = deque()
        self._run: StretchRun | None = None
        self._held: deque[Waiting] = deque()  # of the deferred stretch under way, what its memory is counted by
        self._novelty = novelty
        self.alongside = Alongside(learner, memory, how, novelty)
        self._owed = 0  # whole stretches, in ``ratio`` mode
        self._given_up = 0

    def __bool__(self) -> bool:
        return self._run is not None or bool(self._deferred) or self._owed > 0 or self.alongside.due

    @property
    def owed(self) -> int:
        """Rehearsals that are due: timesteps alongside, whole stretches in ``ratio`` mode."""
        return self._owed + int(self.alongside.owed)

    @property
    def given_up(self) -> int:
        """Rehearsals that were due and were given up, because too many were."""
        return self._given_up + self.alongside.given_up

    @property
    def timesteps(self) -> int:
        """Timesteps that are to be learned; of the rehearsals only those of the one under way."""
        return sum(len(d.waited) for d in self._deferred) + (len(self._run.frames) if self._run else 0)

    def defer(self, waited: deque[Waiting], label: int, of: int) -> None:
        """Timesteps of a presentation whose label has become known are to be learned as a stretch."""
        self._deferred.append(Deferred(waited, label, of))

    def correct(self, of: int, label: int, building: list[Frames]) -> int:
        """A presentation's label was wrong: what is due or remembered of it gets the right one.

        What is remembered, and what ``building`` holds, is to be learned once more; how many timesteps that are.
        """
        self._deferred = deque(d._replace(label=label) if d.of == of else d for d in self._deferred)
        if self._run is not None and self._run.of == of:
            self._run.label = label
        self.alongside.correct(of, label)
        frames = [frame for stretch in self._memory.correct(of, label) for frame in stretch.frames]
        again = deque(Waiting(frame, 0.0) for frame in frames + building)
        if again:
            self._room.count(again)
            self.defer(again, label, of)
        return len(again)

    def forget(self, of: int) -> None:
        """A presentation's label was taken back: nothing of it is due, under way or remembered any more."""
        self._learner.discard()
        for d in self._deferred:
            if d.of == of:
                self._room.free(d.waited)
        self._deferred = deque(d for d in self._deferred if d.of != of)
        if self._run is not None and self._run.of == of:
            self._room.free(self._held)
            self._held.clear()
            self._run = None
        self.alongside.forget(of)
        self._memory.forget(of)
        if self._novelty is not None:
            self._novelty.forget(of)

    def learned(self) -> None:
        """A timestep was learned for the first time."""
        if self._how.mode == "alongside":
            self.alongside.owe()

    def remember(self, frame: Frames, building: list[Frames], label: int, of: int) -> None:
        """A labelled timestep goes to the stretch that its presentation builds, and a whole one to the memory."""
        if self._how.mode == "off" or (len(building) + 1) * frame.nbytes > self._how.max_bytes:
            return
        building.append(frame)
        if len(building) == self._how.stretch:
            self._store(building, label, of)

    def end_stretch(self, building: list[Frames], label: int, of: int) -> None:
        """Nothing more comes to a stretch: it is remembered when it is at least half as long as others."""
        if building and 2 * len(building) >= self._how.stretch:
            self._store(building, label, of)
        building.clear()

    def _store(self, building: list[Frames], label: int, of: int) -> None:
        self._memory.store(Stretch(np.stack(building), label, of))
        building.clear()
        if self._how.mode == "ratio":
            self._owed += int(self._how.ratio)
            self._given_up += max(self._owed - MOST_OWED, 0)
            self._owed = min(self._owed, MOST_OWED)

    def learn_piece(self) -> Kind | None:
        """Learn one timestep; of which kind it was, or None when nothing is due."""
        if self.alongside.due:
            return self.rehearse()
        run = self._run or self._begin()
        if run is None:
            return None
        run.advance(self._learner, self._novelty)
        if self._held:
            self._room.free([self._held.popleft()])
        if not run.frames:
            self._run = None
        if run.kind == "deferred":
            self.learned()
        return run.kind

    def rehearse(self) -> Kind | None:
        """Learn one timestep of the remembered stretches that take turns; None when nothing is remembered."""
        return "rehearsed" if self.alongside.advance() else None

    def rest(self) -> None:
        """What is under way goes on from rest: its state is of weights that are no longer there."""
        if self._run is not None:
            self._run.state = self._learner.rest()
        self.alongside.rest()

    def _begin(self) -> StretchRun | None:
        """Begin the next stretch: deferred ones come before rehearsals."""
        if self._deferred:
            self._held, label, of = self._deferred.popleft()
            frames = [waiting.frame for waiting in self._held]
            self._run = StretchRun("deferred", label, frames, self._learner.rest(), of=of)
        elif self._owed:
            stretch = self._memory.draw()
            self._owed = 0 if stretch is None else self._owed - 1
            self._run = None if stretch is None else begin(stretch, self._learner, self._memory, self._how)
        return self._run

    def state_dict(self) -> State:
        """All that is due, and the states of the stretches under way."""
        labels = [(d.label, d.of) for d in self._deferred]
        state: State = {"owed": self._owed, "given_up": self._given_up, "labels": labels}
        for i, d in enumerate(self._deferred):
            state |= under(f"deferred/{i}", pack_waiting(d.waited))
        state["held"] = [w.middle for w in self._held]
        state["is_under_way"] = self._run is not None
        if self._run is not None:
            state |= under("run", self._run.state_dict(self._learner))
        return state | under("alongside", self.alongside.state_dict())

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` gave; the memory is counted again."""
        self._owed, self._given_up = take(state, "owed"), take(state, "given_up")
        labels = take(state, "labels")
        self._deferred = deque(
            Deferred(unpack_waiting(part(state, f"deferred/{i}")), label, of) for i, (label, of) in enumerate(labels)
        )
        middles = take(state, "held")
        under_way = take(state, "is_under_way")
        self._run = StretchRun.from_state(part(state, "run"), self._learner) if under_way else None
        self._held = deque(map(Waiting, self._run.frames if self._run else (), middles))
        for waited in [*(d.waited for d in self._deferred), self._held]:
            self._room.count(waited)
        self.alongside.load_state_dict(part(state, "alongside"))
