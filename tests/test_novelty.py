"""What is far from all that is remembered is said to be unknown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import SIZE, intervals, labelled_events, small_learner, small_session, timesteps

from stream_ottt.events.timestep import Timestep
from stream_ottt.labels.timeline import LabelTimeline
from stream_ottt.learning.novelty import FADING, FEWEST, NEUTRAL, Evidence, Novelty
from stream_ottt.learning.rehearsal import RehearsalConfig
from stream_ottt.learning.session import Session

PRESENTATIONS = 12
LABELS = intervals(PRESENTATIONS)
STEPS = timesteps(labelled_events(0, PRESENTATIONS), LabelTimeline(LABELS))
STRANGE = np.zeros((2, SIZE, SIZE), np.float32)
STRANGE[:, 0, 0] = 6  # in a corner alone


def watched(mode: str = "alongside", **rule: object) -> Session:
    how = RehearsalConfig(mode=mode, ratio=4, stretch=10)
    return small_session(LabelTimeline(LABELS), learner=small_learner(**rule), rehearsal=how, unknown=0.7)


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


class State:
    """Traces about a direction."""

    def __init__(self, direction: int, rng: np.random.Generator) -> None:
        self.saved = [type("Saved", (), {"pre": np.abs(10 * np.eye(6)[direction] + rng.normal(0, 1, 6))})]


class Taught:
    """Novelty that learns two classes of five presentations each, in stretches, and is shown samples."""

    def __init__(self, share: float) -> None:
        self.rng = np.random.default_rng(0)
        self.novelty = Novelty(share)
        self.learned = 0

    def sure(self) -> float:
        return float(self.rng.uniform(0.6, 1))

    def teach(self, timesteps: int, length: int = 10) -> None:
        for _ in range(timesteps):
            i, at = divmod(self.learned, length)
            self.evidence = Evidence() if not at else self.evidence
            state = State(i % 2, self.rng)
            self.evidence = self.novelty.learned(i % 2, i % 10, state, self.sure(), self.evidence)
            self.learned += 1

    def share_of(self, direction: int, doubt: float = 0.0, samples: int = 400) -> float:
        """Said to be unknown, of the timesteps of samples of ten."""
        said = []
        for _ in range(samples):
            self.novelty.begin()
            states = [State(direction, self.rng) for _ in range(10)]
            said += [self.novelty.is_unknown(state, self.sure() - doubt) for state in states]
        return float(np.mean(said))


@pytest.mark.parametrize("share", [0.6, 0.9])
def test_the_share_is_that_of_what_is_remembered_of_other_presentations(share: float) -> None:
    """What is shown begins neutral, so that it is called unknown no more often."""
    taught = Taught(share)
    taught.teach(6000)
    above = []
    for _ in range(2000):
        taught.teach(1)
        above.append(taught.evidence.mean > taught.novelty._threshold)
    assert np.mean(above) == pytest.approx(1 - share, abs=0.03)
    assert max(taught.share_of(k) for k in (0, 1)) <= 1 - share


@pytest.mark.parametrize(("direction", "doubt"), [(4, 0.0), (0, 0.4)])
def test_far_away_is_unknown_and_so_is_what_is_doubted(direction: int, doubt: float) -> None:
    """Each alone: one of the two says nothing."""
    taught = Taught(0.9)
    taught.teach(6000)
    assert taught.share_of(direction, doubt) > 0.5


def test_a_direction_is_told_however_long_the_traces_are() -> None:
    taught = Taught(0.9)
    taught.teach(3000)
    near = State(0, taught.rng)
    near.saved[0].pre = 1000 * np.eye(6)[0]
    assert not taught.novelty.is_unknown(near, 0.8)


def test_before_there_is_enough_to_compare_with_nothing_is_unknown() -> None:
    """The first stretch of each class has nothing to be compared with; then come shares, then evidence."""
    taught = Taught(0.9)
    taught.teach(20 + 2 * FEWEST - 1)
    assert taught.share_of(4, samples=1) == 0
    taught.teach(1)
    assert taught.share_of(4, samples=1) > 0


def test_evidence_is_a_fading_mean_since_the_sample_began() -> None:
    evidence = Evidence()
    assert evidence.mean == 0
    for e in (1.0, 5.0, 2.0):
        evidence = evidence.after(e)
    assert evidence.mean == pytest.approx((FADING**2 + 5 * FADING + 2) / (FADING**2 + FADING + 1))


def test_evidence_is_the_mean_of_both_shares() -> None:
    taught = Taught(0.9)
    taught.teach(3000)
    taught.novelty.begin()
    far, near = State(4, taught.rng), State(0, taught.rng)
    near.saved[0].pre = taught.novelty._traces[0]
    n = taught.novelty._sorted.shape[1]
    for state, confidence, e in ((far, 0.8, 0.75), (far, 0.5, 1.0), (near, 0.5, 0.5)):
        taught.novelty.begin()
        taught.novelty.is_unknown(state, confidence)
        expected = FADING * 0.5 + (1 - FADING) * e * n / (n + 1)
        assert taught.novelty.evidence.mean == pytest.approx(expected, abs=0.02 if e < 1 else 1e-12)


def test_what_is_forgotten_is_near_to_nothing() -> None:
    taught = Taught(0.9)
    taught.teach(3000)
    near = State(0, taught.rng)
    assert taught.novelty.distance(near) < 0.1
    for presentation in range(0, 10, 2):  # all of the first class
        taught.novelty.forget(presentation)
    assert taught.novelty.distance(near) > 0.5


def test_a_class_of_one_presentation_is_not_measured_by_its_distance_to_others() -> None:
    rng, novelty = np.random.default_rng(0), Novelty(0.9)
    for i in range(40):
        novelty.learned(0, i % 2, State(0, rng), 0.9, Evidence())
    measured = len(novelty._values)
    for _ in range(20):
        novelty.learned(1, 2, State(1, rng), 0.9, Evidence())
    assert len(novelty._values) == measured > 30


def test_a_sample_begins_neutral() -> None:
    session = watched()
    teach(session, STEPS[:100])
    novelty = session._novelty
    assert novelty is not None
    novelty.evidence = Evidence(50.0, 50.0)
    session.process(replace(STEPS[0], frame=STRANGE, index=101, new_sample=False))
    assert novelty.evidence.weight == FADING * 50 + 1
    session.process(replace(STEPS[0], frame=STRANGE, index=102, new_sample=True))
    assert novelty.evidence.weight == NEUTRAL.after(0).weight
    session.reset()
    assert novelty.evidence == NEUTRAL


def test_one_presentation_alone_makes_nothing_unknown() -> None:
    """Neighbours within a stretch are alike: the distances among them would call all others unknown."""
    rng = np.random.default_rng(0)
    novelty = Novelty(0.9)
    for _ in range(2000):
        novelty.learned(1, 7, State(0, rng), 0.9, Evidence())
    assert not novelty.is_unknown(State(4, rng), 0.2) and novelty.distance(State(4, rng)) > 0.5


def test_what_has_not_fired_is_neither_known_nor_unknown() -> None:
    taught = Taught(0.9)
    silent = State(0, taught.rng)
    silent.saved[0].pre = np.zeros(6)
    evidence = Evidence(3.0, 2.0)
    for _ in range(2000):
        taught.teach(1)
        assert taught.novelty.learned(0, 0, silent, 0.9, evidence) == evidence
    assert taught.novelty.distance(silent) is None and not taught.novelty.is_unknown(silent, 0.1)
    assert taught.novelty.evidence == NEUTRAL
    assert taught.share_of(4) > 0.4


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
