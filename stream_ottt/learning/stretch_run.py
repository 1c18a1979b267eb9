"""A stretch of timesteps on its way through the learner, beside the live stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Literal

from stream_ottt.errors import ModelError
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.learning.learner_state import LearnerState
from stream_ottt.learning.novelty import Evidence, Novelty
from stream_ottt.learning.rehearsal import Frames
from stream_ottt.state import State, pack, part, take, under, unpack

Kind = Literal["deferred", "rehearsed"]


class StretchRun:
    """A stretch on its way through the learner, from a state at rest, one update a timestep.

    Args:
        kind: whether it is learned for the first time, or again.
        label: what it shows.
        frames: what is still to be learned of it, as stored, [planes, height, width] each.
        state: the learner's state before the first of them.
        of: number of the presentation that they are of.
        at: how many timesteps were learned before.
    """

    def __init__(
        self, kind: Kind, label: int, frames: Iterable[Frames], state: LearnerState, *, of: int = -1, at: int = 0
    ) -> None:
        self.kind = kind
        self.label = label
        self.frames = deque(frames)
        self.state = state
        self.of = of
        self.at = at
        self.evidence = Evidence()  # of what was learned of it, where novelty is told

    def advance(self, learner: OnlineLearner, novelty: Novelty | None = None) -> None:
        """Learn the next timestep; the learner's own state is put aside meanwhile.

        ``novelty`` is told of a remembered one.
        """
        held = learner.swap(self.state)
        try:
            logits = learner.forward(learner.as_input(self.frames[0]), self.at)
            if novelty is not None and self.kind == "rehearsed":
                confidence = float(logits[0].double().softmax(0).max())
                self.evidence = novelty.learned(self.label, self.of, self.state.network, confidence, self.evidence)
            learner.feedback(self.at, self.label)
            self.frames.popleft()
            self.at += 1
            if not self.frames:
                learner.reset()  # applies what OTTT_A still sums up
        finally:
            self.state = learner.swap(held)

    def state_dict(self, learner: OnlineLearner) -> State:
        """All of it."""
        return {
            "run": [self.kind, self.label, self.of, self.at],
            "evidence": list(self.evidence),
            "frames": pack(list(self.frames)),
            **under("learner", self.state.pack(learner.network)),
        }

    @classmethod
    def from_state(cls, state: State, learner: OnlineLearner) -> StretchRun:
        """The stretch that :meth:`state_dict` described."""
        kind, label, of, at = take(state, "run")
        frames = unpack(take(state, "frames"))
        try:
            own = LearnerState.unpack(learner.network, part(state, "learner"))
        except KeyError as e:
            raise ModelError(f"the saved state has no field {e} of the stretch that is being learned") from e
        run = cls(kind, label, frames, own, of=of, at=at)
        run.evidence = Evidence(*take(state, "evidence"))
        return run
