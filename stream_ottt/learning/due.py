"""Learning that is due: deferred and remembered stretches, learned one timestep at a time when no prediction waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Literal

import numpy as np

from stream_ottt.errors import ModelError
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.learning.learner_state import LearnerState
from stream_ottt.learning.rehearsal import Frames, RehearsalConfig, RehearsalMemory, Stretch, jitter
from stream_ottt.learning.waiting import Waiting, WaitingRoom, pack_waiting, unpack_waiting
from stream_ottt.state import State, pack, part, take, under, unpack

MOST_OWED = 100_000
"""Most rehearsals that may be due; what a stream without a pause would add to them is given up and counted."""

Kind = Literal["deferred", "rehearsed"]


class StretchRun:
    """A stretch on its way through the learner, from a state at rest, one update a timestep.

    Args:
        kind: whether it is learned for the first time, or again.
        label: what it shows.
        frames: what is still to be learned of it, uint8 [polarities, height, width] each.
        state: the learner's state before the first of them.
        at: how many timesteps were learned before.
    """

    def __init__(self, kind: Kind, label: int, frames: Iterable[Frames], state: LearnerState, at: int = 0) -> None:
        self.kind = kind
        self.label = label
        self.frames = deque(frames)
        self.state = state
        self.at = at

    def advance(self, learner: OnlineLearner) -> None:
        """Learn the next timestep; the learner's own state is put aside meanwhile."""
        held = learner.swap(self.state)
        try:
            learner.forward(learner.as_input(self.frames[0]), self.at)
            learner.feedback(self.at, self.label)
            self.frames.popleft()
            self.at += 1
            if not self.frames:
                learner.reset()  # applies what OTTT_A still sums up
        finally:
            self.state = learner.swap(held)


class DueLearning:
    """What is to be learned beside the stream, in order: the stretch under way, deferred stretches, rehearsals.

    Args:
        learner: what learns it.
        memory: what rehearsals are drawn from.
        how: settings of the rehearsal.
        room: the memory that deferred timesteps take.

    Attributes:
        owed: rehearsals that are due.
        given_up: rehearsals that were due and were given up, because too many were.
    """

    def __init__(
        self, learner: OnlineLearner, memory: RehearsalMemory, how: RehearsalConfig, room: WaitingRoom
    ) -> None:
        self._learner = learner
        self._memory = memory
        self._how = how
        self._room = room
        self._deferred: deque[tuple[deque[Waiting], int]] = deque()
        self._run: StretchRun | None = None
        self._held: deque[Waiting] = deque()  # of the deferred stretch under way, what its memory is counted by
        self.owed = 0
        self.given_up = 0

    def __bool__(self) -> bool:
        return self._run is not None or bool(self._deferred) or self.owed > 0

    @property
    def timesteps(self) -> int:
        """Timesteps that are to be learned; of the rehearsals only those of the one under way."""
        return sum(len(waited) for waited, _ in self._deferred) + (len(self._run.frames) if self._run else 0)

    def defer(self, waited: deque[Waiting], label: int) -> None:
        """Timesteps whose label has become known are to be learned as a stretch."""
        self._deferred.append((waited, label))

    def owe(self, rehearsals: int) -> None:
        """So many more rehearsals are due."""
        self.owed += rehearsals
        if self.owed > MOST_OWED:
            self.given_up += self.owed - MOST_OWED
            self.owed = MOST_OWED

    def remember(self, frame: Frames, building: list[Frames], label: int) -> None:
        """A labelled timestep goes to the stretch that its presentation builds, and a whole one to the memory."""
        if self._how.mode == "off" or (len(building) + 1) * frame.nbytes > self._how.max_bytes:
            return
        building.append(frame)
        if len(building) == self._how.stretch:
            self._store(building, label)

    def end_stretch(self, building: list[Frames], label: int) -> None:
        """Nothing more comes to a stretch: it is remembered when it is at least half as long as others."""
        if building and 2 * len(building) >= self._how.stretch:
            self._store(building, label)
        building.clear()

    def _store(self, building: list[Frames], label: int) -> None:
        self._memory.store(Stretch(np.stack(building), label))
        building.clear()
        if self._how.mode == "ratio":
            self.owe(self._how.ratio)

    def learn_piece(self) -> Kind | None:
        """Learn one timestep; of which kind it was, or None when nothing is due."""
        run = self._run or self._begin()
        if run is None:
            return None
        run.advance(self._learner)
        if self._held:
            self._room.free([self._held.popleft()])
        if not run.frames:
            self._run = None
        return run.kind

    def begin_rehearsal(self) -> bool:
        """Draw a remembered stretch, to be learned next; False when none is remembered."""
        stretch = self._memory.draw()
        if stretch is None:
            return False
        frames, how = stretch.frames, self._how
        if how.shift or how.zoom > 1:
            frames = jitter(frames, self._memory.rng, shift=how.shift, zoom=how.zoom)
        self._run = StretchRun("rehearsed", stretch.label, frames, self._learner.rest())
        return True

    def _begin(self) -> StretchRun | None:
        """Begin the next stretch: deferred ones come before rehearsals."""
        if self._deferred:
            self._held, label = self._deferred.popleft()
            frames = [waiting.frame for waiting in self._held]
            self._run = StretchRun("deferred", label, frames, self._learner.rest())
        elif self.owed:
            self.owed = self.owed - 1 if self.begin_rehearsal() else 0
        return self._run

    def state_dict(self) -> State:
        """All that is due, and the state of the stretch under way."""
        state: State = {"owed": self.owed, "given_up": self.given_up, "labels": [label for _, label in self._deferred]}
        for i, (waited, _) in enumerate(self._deferred):
            state |= under(f"deferred/{i}", pack_waiting(waited))
        run = self._run
        state["run"] = None if run is None else [run.kind, run.label, run.at]
        if run is not None:
            state |= {"frames": pack(list(run.frames)), "held": [w.middle for w in self._held]}
            state |= under("learner", run.state.pack(self._learner.network))
        return state

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` gave; the memory is counted again."""
        self.owed, self.given_up = take(state, "owed"), take(state, "given_up")
        labels = take(state, "labels")
        self._deferred = deque((unpack_waiting(part(state, f"deferred/{i}")), label) for i, label in enumerate(labels))
        self._run, self._held = None, deque()
        if (run := take(state, "run")) is not None:
            kind, label, at = run
            frames = unpack(take(state, "frames"))
            try:
                own = LearnerState.unpack(self._learner.network, part(state, "learner"))
            except KeyError as e:
                raise ModelError(f"the saved state has no field {e} of the stretch that is being learned") from e
            self._run = StretchRun(kind, label, frames, own, at)
            self._held = deque(map(Waiting, frames, take(state, "held")))
        for waited in [*(waited for waited, _ in self._deferred), self._held]:
            self._room.count(waited)
