"""No prediction is scored that was made after something of its presentation was learned: random orders of everything.

The model of the promise knows nothing of sessions: it keeps which frames the learner was taught so far, and, for each
prediction, which it had been taught by then.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise

import numpy as np
from helpers import SIZE, WINDOW
from hypothesis import given, settings
from hypothesis import strategies as st
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


class Promise:
    """A session, and what a plain model knows of it: what was taught by when, and which timesteps have no label."""

    def __init__(self, cuts: list[int], delay: object, live: bool, mode: str) -> None:
        given = [] if live else [LabelInterval(a * WINDOW, b * WINDOW, 1) for a, b in pairwise(cuts)]
        self.live = live
        self.timeline = Noted(given, delay)
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

    def watch(self, n: int) -> None:
        for i in range(self.at, min(self.at + n, STEPS)):
            steps, updates = self.session.evaluator.steps.n, self.learner.counts.updates
            self.taught_at.append(set(self.learner.taught))
            interval = self.timeline.at((i + 0.5) * WINDOW)
            result = self.session.process(Timestep(FRAMES[i], i * WINDOW, (i + 1) * WINDOW, self.index, 1, not i))
            assert self.learner.counts.updates - updates <= 1
            assert self.session.evaluator.steps.n - steps == result.scored
            if result.scored:
                assert interval is not None
                assert not self.taught_at[i] & self.frames_of(interval)
            elif interval is not None:
                assert self.anything_used
            elif self.live:
                self.waiting.add(i)
            self.note()
            self.at, self.index = i + 1, self.index + 1

    def label(self, back: int, length: int, label: int) -> None:
        """An interval that begins so many half timesteps before the next one."""
        start = self.at * WINDOW - back * WINDOW // 2
        if start >= 0:
            self.take(lambda: self.session.labels.add(LabelInterval(start, start + length * WINDOW // 2, label)))

    def now(self, steps: int, label: int) -> None:
        self.take(lambda: self.session.labels.now(label, steps * WINDOW))

    def take(self, act: Callable[[], object]) -> None:
        steps, taken = self.session.evaluator.steps.n, len(self.timeline.taken)
        with suppress(UsageError):
            act()
        claimed: set[int] = set()
        for interval in self.timeline.taken[taken:]:
            claimed = self.waiting & self.frames_of(interval)
            self.waiting -= claimed
            if self.session.evaluator.steps.n > steps:
                assert not any(self.taught_at[i] & self.frames_of(interval) for i in claimed)
        assert self.session.evaluator.steps.n - steps == len(claimed) or self.anything_used
        assert self.session.evaluator.steps.n - steps in (0, len(claimed))
        self.note()

    def correct(self, back: int, label: int) -> None:
        """The label of so many half timesteps ago, or the latest one; nothing more becomes a test by it."""
        steps, tests = self.session.evaluator.steps.n, self.session.evaluator.presentations.n
        at = self.at * WINDOW - back * WINDOW // 2
        with suppress(UsageError):
            self.session.labels.correct(label, at if back and at >= 0 else None)
        assert (self.session.evaluator.steps.n, self.session.evaluator.presentations.n) == (steps, tests)
        self.note()

    def retract(self, back: int) -> None:
        """As :meth:`correct`, with no label in its place."""
        steps, tests = self.session.evaluator.steps.n, self.session.evaluator.presentations.n
        at = self.at * WINDOW - back * WINDOW // 2
        with suppress(UsageError):
            self.session.labels.retract(at if back and at >= 0 else None)
        assert self.session.evaluator.steps.n <= steps
        assert self.session.evaluator.presentations.n == len(self.session.evaluator.hits) <= tests
        self.note()

    def due(self, n: int) -> None:
        for _ in range(n):
            updates = self.learner.counts.updates
            self.session.learn_due()
            assert self.learner.counts.updates - updates <= 1

    def idle(self) -> None:
        self.session.idle()

    def pause(self) -> None:
        self.session.pause()

    def resume(self) -> None:
        self.session.resume()

    def reset(self) -> None:
        self.session.reset()

    def end_pass(self) -> None:
        self.session.end_pass()
        self.at, self.taught_at, self.waiting = 0, [], set()

    def note(self) -> None:
        self.anything_used |= bool(self.learner.taught) or self.session.due or self.session.snapshot().due > 0
        assert sum(self.session.snapshot().updates.values()) == self.learner.counts.updates


def call(name: str, *arguments: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[str, tuple[int, ...]]]:
    return st.tuples(st.just(name), st.tuples(*arguments))


labels = st.sampled_from([1, 2])
some = st.integers(1, 8)
acts = st.one_of(
    call("watch", some),
    call("watch", some),
    call("watch", st.integers(1, 3)),
    call("label", st.integers(0, 14), st.integers(1, 14), labels),
    call("label", st.sampled_from([2, 4, 8]), st.sampled_from([2, 4, 8, 12]), labels),
    call("now", some, labels),
    call("correct", st.integers(0, 20), labels),
    call("retract", st.integers(0, 20)),
    call("due", st.integers(1, 20)),
    call("due", st.just(1000)),
    st.sampled_from(["pause", "resume", "reset", "idle"]).map(lambda name: (name, ())),
    st.sampled_from(["pause", "resume", "end_pass", "end_pass"]).map(lambda name: (name, ())),
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, STEPS), min_size=3, max_size=8, unique=True).map(sorted),
    st.sampled_from([0, 2 * WINDOW, 2 * WINDOW + 1, "end"]),
    st.booleans(),
    st.sampled_from(["off", "alongside", "ratio", "idle"]),
    st.lists(acts, min_size=12, max_size=40),
)
def test_nothing_that_was_learned_is_scored(cuts: list[int], delay: object, live: bool, mode: str, program) -> None:
    promise = Promise(cuts, delay, live, mode)
    for name, arguments in program:
        getattr(promise, name)(*arguments)
