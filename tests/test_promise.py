"""No prediction is scored that was made after something of its presentation was learned: random orders of everything.

The model of the promise knows nothing of sessions: it keeps which frames the learner was taught so far, and, for each
prediction, which it had been taught by then.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import numpy as np
from helpers import SIZE, WINDOW
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from torch import Tensor

from stream_ottt.errors import UsageError
from stream_ottt.events.timestep import Timestep
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.learning.rehearsal import RehearsalConfig
from stream_ottt.learning.session import Session
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.topologies import build_network

STEPS = 16
FRAMES = np.random.default_rng(0).integers(0, 3, (STEPS, 2, SIZE, SIZE)).astype(np.float32)
FRAMES[:, 0, 0, 0] = np.arange(STEPS)  # tells them apart, also when they come back from memory

times = st.integers(0, STEPS).map(lambda k: k * WINDOW // 2 * 2)
labels = st.sampled_from([1, 2])
cuts = st.lists(st.integers(0, STEPS), min_size=2, max_size=8, unique=True).map(sorted)


def step(frame: Tensor) -> int:
    """Which of ``FRAMES`` a network's input is."""
    return int(frame.flatten()[0])


class Pupil(OnlineLearner):
    """Notes which frames it was taught."""

    def __init__(self) -> None:
        network = build_network(
            NetworkConfig(layers=(2,), readout="flatten"), input_shape=(2, SIZE, SIZE), classes=2, seed=0
        )
        super().__init__(network, config=LearnerConfig(time_steps=5), classes=[1, 2])
        self.taught: set[int] = set()
        self.seen = -1

    def forward(self, frames: Tensor, step_: int, *, learn: bool = True) -> Tensor:
        self.seen = step(frames)
        return super().forward(frames, step_, learn=learn)

    def feedback(self, step_: int, label: int) -> bool:
        self.taught.add(self.seen)
        return super().feedback(step_, label)


class Noted(LabelTimeline):
    """Notes which intervals were taken."""

    def __init__(self, intervals: list[LabelInterval], delay: object) -> None:
        self.taken: list[LabelInterval] = []
        super().__init__(intervals, delay=delay)

    def add(self, interval: LabelInterval) -> None:
        super().add(interval)
        self.taken.append(interval)


class Promise(RuleBasedStateMachine):
    @initialize(
        cuts=cuts,
        delay=st.sampled_from([0, 2 * WINDOW, 2 * WINDOW + 1, "end"]),
        live=st.booleans(),
        mode=st.sampled_from(["off", "alongside", "ratio", "idle"]),
    )
    def begin(self, cuts: list[int], delay: object, live: bool, mode: str) -> None:
        given = [] if live else [LabelInterval(a * WINDOW, b * WINDOW, 1) for a, b in pairwise(cuts)]
        self.timeline = Noted(given[::2], delay)
        self.live = live
        self.learner = Pupil()
        self.session = Session(
            self.learner,
            timeline=self.timeline,
            late_labels=live,
            rehearsal=RehearsalConfig(mode=mode, ratio=2, stretch=3),
        )
        self.at = self.index = 0
        self.taught_at: list[set[int]] = []  # before each prediction of this pass
        self.waiting: set[int] = set()  # timesteps of this pass in no interval
        self.anything_used = False

    def frames_of(self, interval: LabelInterval) -> set[int]:
        return {i for i in range(STEPS) if interval.holds((i + 0.5) * WINDOW)}

    @precondition(lambda self: self.at < STEPS)
    @rule(n=st.integers(1, 10))
    def watch(self, n: int) -> None:
        for i in range(self.at, min(self.at + n, STEPS)):
            scored_before = self.session.evaluator.steps.n
            self.taught_at.append(set(self.learner.taught))
            interval = self.timeline.at((i + 0.5) * WINDOW)
            nothing_used = not self.learner.taught and not self.session.due
            updates = self.learner.counts.updates
            result = self.session.process(Timestep(FRAMES[i], i * WINDOW, (i + 1) * WINDOW, self.index, 1, not i))
            assert self.learner.counts.updates - updates <= 1
            if result.scored:
                assert interval is not None
                assert not self.taught_at[i] & self.frames_of(interval)
            if interval is not None and nothing_used and not self.anything_used:
                assert result.scored
            if interval is None:
                assert not result.scored
                if self.live:
                    self.waiting.add(i)
            assert self.session.evaluator.steps.n - scored_before == result.scored
            self.anything_used |= bool(self.learner.taught) or self.session.due
            self.at, self.index = i + 1, self.index + 1

    @rule(start=times, length=st.integers(1, 3 * WINDOW), label=labels)
    def label(self, start: int, length: int, label: int) -> None:
        self._take(lambda: self.session.add_label(LabelInterval(start, start + length, label)))

    @rule(a=st.integers(0, STEPS), n=st.integers(1, 6), label=labels)
    def label_whole_steps(self, a: int, n: int, label: int) -> None:
        self._take(lambda: self.session.add_label(LabelInterval(a * WINDOW, (a + n) * WINDOW, label)))

    @rule(label=labels, steps=st.integers(1, 8))
    def label_what_is_shown(self, label: int, steps: int) -> None:
        self._take(lambda: self.session.label_now(label, steps * WINDOW))

    def _take(self, act) -> None:
        before, taken = self.session.evaluator.steps.n, len(self.timeline.taken)
        with suppress(UsageError):
            act()
        claimed = set()
        for interval in self.timeline.taken[taken:]:
            claimed = self.waiting & self.frames_of(interval)
            self.waiting -= claimed
        scored = self.session.evaluator.steps.n - before
        if scored:
            assert scored == len(claimed)
            assert not any(self.taught_at[i] & self.frames_of(interval) for i in claimed)
        elif claimed:
            assert self.anything_used
        self.anything_used |= bool(self.learner.taught) or self.session.due

    @rule()
    def pause(self) -> None:
        self.session.pause()

    @rule()
    def resume(self) -> None:
        self.session.resume()

    @rule()
    def reset(self) -> None:
        self.session.reset()

    @rule(n=st.integers(1, 30))
    def learn_some(self, n: int) -> None:
        for _ in range(n):
            updates = self.learner.counts.updates
            more = self.session.learn_due()
            assert self.learner.counts.updates - updates <= 1
            if not more:
                break

    @rule()
    def idle(self) -> None:
        self.session.idle()

    @precondition(lambda self: self.at > STEPS // 2)
    @rule()
    def end_pass(self) -> None:
        self.session.end_pass()
        self.at = 0
        self.taught_at, self.waiting = [], set()

    @invariant()
    def figures_add_up(self) -> None:
        if hasattr(self, "session"):
            seen = self.session.snapshot()
            assert sum(seen.updates.values()) == self.learner.counts.updates
            assert len(self.session._room.unlabelled) == len(self.waiting)


TestPromise = Promise.TestCase
TestPromise.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
