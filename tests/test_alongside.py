"""Remembered stretches take turns with the stream, each with a state of its own, in a share that holds exactly."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers import intervals, labelled_events, small_learner, small_session, timesteps

from stream_ottt.labels.timeline import LabelTimeline
from stream_ottt.learning import alongside
from stream_ottt.learning.alongside import Alongside
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.learning.rehearsal import RehearsalConfig, RehearsalMemory, Stretch
from stream_ottt.learning.session import Session

PRESENTATIONS = 6
LABELS = intervals(PRESENTATIONS)
STEPS = timesteps(labelled_events(0, PRESENTATIONS), LabelTimeline(LABELS))


def drain(session: Session) -> None:
    while session.learn_due():
        pass


def remembered(labels: list[int], *, length: int = 4, seed: int = 0) -> RehearsalMemory:
    rng = np.random.default_rng(seed)
    memory = RehearsalMemory(1 << 20, np.random.default_rng(seed))
    for label in labels:
        memory.store(Stretch(rng.integers(0, 3, (length, 2, 8, 8)).astype(np.uint8), label))
    return memory


@pytest.mark.parametrize("delay", [0, 3500, "end"])
@pytest.mark.parametrize("ratio", [0, 0.3, 1, 2.5])
def test_each_timestep_that_is_learned_is_followed_by_its_share_of_remembered_ones(delay, ratio) -> None:
    session = small_session(
        LabelTimeline(LABELS, delay=delay), rehearsal=RehearsalConfig(mode="alongside", ratio=ratio, stretch=5)
    )
    counted = []
    for t in STEPS:
        session.process(t)
        drain(session)
        updates = session.counters.updates
        counted.append((updates.live + updates.deferred, updates.rehearsed))
    without = next(learned for learned, _ in counted if learned)  # nothing is remembered before the first stretch is
    learned, rehearsed = counted[-1]
    assert rehearsed == pytest.approx(ratio * learned, abs=ratio * max(without, 5) + 1)
    if delay == 0:
        later = [b[1] - a[1] for a, b in pairwise(counted[5:])]
        assert all(n in (int(ratio), int(ratio) + 1) for n in later)
        assert sum(later) == pytest.approx(ratio * len(later), abs=1)


class Watching(OnlineLearner):
    """Notes the label of each update."""

    labels: list[int]

    def feedback(self, step: int, label: int) -> bool:
        self.labels.append(label)
        return super().feedback(step, label)


def watching() -> Watching:
    learner = small_learner()
    learner.__class__ = Watching
    learner.labels = []
    return learner


def test_what_waited_for_its_label_is_learned_between_remembered_timesteps() -> None:
    how = RehearsalConfig(mode="alongside", ratio=2, stretch=5)
    session = small_session(LabelTimeline(LABELS, delay="end"), rehearsal=how)
    for t in STEPS[:20]:
        session.process(t)
        drain(session)
    kinds = []
    for t in STEPS[20:30]:
        session.process(t)
    while session.due:
        before = session.counters.updates.rehearsed
        session.learn_due()
        kinds.append(session.counters.updates.rehearsed > before)
    assert kinds == [True] * 2 + 9 * [False, True, True]


def test_each_of_them_goes_on_as_if_it_were_alone() -> None:
    """Without an effect of the updates, the states are those of stretches that are learned one after the other."""
    memory = remembered([1, 1, 2, 2])
    learner = small_learner(lr=0.0)
    ours = Alongside(learner, memory, RehearsalConfig(mode="alongside", ratio=3, stretch=4))
    for _ in range(2 * 3):
        ours.advance()
    for run in ours._runs:
        assert run is not None and run.at == 2
        stretch = next(s for s in memory.latest(9)[run.label] if (s.frames[2:] == np.stack(run.frames)).all())
        alone = small_learner(lr=0.0)
        for i in range(2):
            alone.forward(alone.as_input(stretch.frames[i]), i)
        for own, other in zip(run.state.network.layers, alone.network.state.layers, strict=True):
            for a, b in zip(own.neurons, other.neurons, strict=True):
                assert torch.equal(a.u, b.u)


def test_the_classes_run_alike_often() -> None:
    learner = small_learner()
    ours = Alongside(learner, remembered([1] * 20 + [2]), RehearsalConfig(mode="alongside", ratio=4, stretch=4))
    for _ in range(4):
        ours.advance()
    for _ in range(60):
        ours.advance()
        running = [run.label for run in ours._runs if run is not None]
        assert abs(running.count(1) - running.count(2)) <= 1


def test_a_class_that_was_just_named_is_drawn_at_once() -> None:
    learner = watching()
    memory = remembered([1, 1], length=1000)
    ours = Alongside(learner, memory, RehearsalConfig(mode="alongside", ratio=3, stretch=1000))
    for _ in range(5):
        ours.advance()
    memory.store(Stretch(np.zeros((1000, 2, 8, 8), np.uint8), 2))
    ours.advance()
    assert learner.labels == [1, 1, 1, 1, 1, 2]
    assert sorted(run.label for run in ours._runs) == [1, 1, 2]


def test_what_is_owed_is_bounded_and_the_rest_counted(monkeypatch) -> None:
    monkeypatch.setattr(alongside, "MOST_OWED", 7)
    session = small_session(LabelTimeline(LABELS), rehearsal=RehearsalConfig(mode="alongside", ratio=3, stretch=5))
    for t in STEPS[:20]:
        session.process(t)
    seen = session.snapshot()
    assert seen.rehearsals_due == 7
    assert seen.rehearsals_due + seen.rehearsals_given_up == 3 * 15  # after the timestep that made a stretch whole


def test_nothing_is_rehearsed_before_something_is_remembered() -> None:
    session = small_session(LabelTimeline(LABELS), rehearsal=RehearsalConfig(mode="alongside", ratio=3, stretch=5))
    for t in STEPS[:4]:
        session.process(t)
        assert not session.due
        assert not session.idle()


def test_what_is_owed_when_nothing_is_remembered_any_more_is_not_waited_for() -> None:
    session = small_session(LabelTimeline(LABELS), rehearsal=RehearsalConfig(mode="alongside", ratio=3, stretch=5))
    for t in STEPS[:8]:
        session.process(t)
    assert session.due
    session.labels.retract()
    assert session.snapshot().memory == {1: 0}
    assert not session.learn_due() and session.snapshot().rehearsals_due == 0


def test_idle_time_is_filled_with_the_same_turns() -> None:
    session = small_session(LabelTimeline(LABELS), rehearsal=RehearsalConfig(mode="idle", ratio=2, stretch=5))
    for t in STEPS[:20]:
        session.process(t)
        assert not session.due
    for pieces in range(1, 30):
        assert session.idle()
        assert session.counters.updates.rehearsed == pieces
        assert session.snapshot().rehearsals_due == 0
    session.pause()
    assert not session.idle()


def test_whole_stretches_need_a_whole_number() -> None:
    with pytest.raises(ValueError, match="whole number"):
        RehearsalConfig(mode="ratio", ratio=1.5)
