"""What is far from all that is remembered is said to be unknown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import SIZE, intervals, labelled_events, small_learner, small_session, timesteps

from stream_ottt.events.timestep import Timestep
from stream_ottt.labels.timeline import LabelTimeline
from stream_ottt.learning.novelty import FEWEST, Novelty
from stream_ottt.learning.rehearsal import RehearsalConfig
from stream_ottt.learning.session import Session

PRESENTATIONS = 12
LABELS = intervals(PRESENTATIONS)
STEPS = timesteps(labelled_events(0, PRESENTATIONS), LabelTimeline(LABELS))
STRANGE = np.zeros((2, SIZE, SIZE), np.float32)
STRANGE[:, 2:6] = 6


def watched(mode: str = "alongside", **rule: object) -> Session:
    how = RehearsalConfig(mode=mode, ratio=4, stretch=10)
    return small_session(LabelTimeline(LABELS), learner=small_learner(**rule), rehearsal=how, unknown=0.95)


def teach(session: Session, steps: list[Timestep]) -> None:
    for t in steps:
        session.process(t)
        while session.learn_due():
            pass


@pytest.mark.parametrize("mode", ["alongside", "ratio"])
@pytest.mark.parametrize("rule", [{}, {"average": 40}], ids=str)
@pytest.mark.parametrize("paused", [False, True])
def test_a_strange_thing_is_unknown_and_a_known_one_is_not(mode: str, rule: dict[str, int], paused: bool) -> None:
    session = watched(mode, **rule)
    teach(session, STEPS[:100])
    if paused:
        session.pause()
    counted = session.snapshot().unknown
    known = [session.process(t).prediction.unknown for t in STEPS[100:120]]
    after = [replace(STEPS[0], frame=STRANGE, index=120 + i, new_sample=not i) for i in range(10)]
    strange = [session.process(t).prediction.unknown for t in after]
    assert np.mean(known) <= 0.25 and np.mean(strange) >= 0.8
    assert session.snapshot().unknown == counted + sum(known) + sum(strange)


def test_the_share_is_that_of_what_is_remembered() -> None:
    rng = np.random.default_rng(0)

    class State:
        def __init__(self, mean: float) -> None:
            self.saved = [type("Saved", (), {"pre": rng.normal(mean, 1, 3)})]

    novelty = Novelty(0.9)
    for i in range(FEWEST // 2):
        novelty.learned(i % 2, State(10.0 * (i % 2)))
        assert not novelty.is_unknown(State(1000.0))
    for i in range(4000):
        novelty.learned(i % 2, State(10.0 * (i % 2)))
    shares = [np.mean([novelty.is_unknown(State(mean)) for _ in range(2000)]) for mean in (0.0, 10.0, 5.0)]
    assert shares == pytest.approx([0.1, 0.1, 1.0], abs=0.03)


def test_it_changes_no_prediction_and_goes_on_after_a_restart() -> None:
    session, plain = (
        watched(),
        small_session(LabelTimeline(LABELS), rehearsal=RehearsalConfig(mode="alongside", ratio=4, stretch=10)),
    )
    for each in (session, plain):
        teach(each, STEPS[:90])
    again = watched()
    again.learner.load_state_dict(session.learner.state_dict())
    again.load_state_dict(session.state_dict())
    for t in STEPS[90:]:
        one, other, without = (each.process(t).prediction for each in (session, again, plain))
        assert one.unknown == other.unknown
        assert np.array_equal(one.logits, other.logits) and np.array_equal(one.logits, without.logits)
        for each in (session, again, plain):
            while each.learn_due():
                pass
    assert session.counters.unknown == again.counters.unknown > 0 and not plain.counters.unknown
