"""Honest scoring, labels used only once known, deferred learning, rehearsal, all counted apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import intervals, labelled_events, small_learner, small_session, timesteps

from stream_ottt.errors import UsageError
from stream_ottt.events.timestep import StepResult, Timestep
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.learning.rehearsal import RehearsalConfig
from stream_ottt.learning.session import Session

PRESENTATIONS = 12
EVENTS = labelled_events(0, PRESENTATIONS)


def drain(session: Session) -> None:
    """Learn all that is due, as a run over a file does before the next timestep."""
    while session.learn_due():
        pass


def predicted(session: Session, timestep: Timestep) -> np.ndarray:
    """The logits of a timestep, after which what it made due was learned."""
    logits = session.process(timestep).prediction.logits
    drain(session)
    return logits


def go_through(session: Session, steps: list[Timestep]) -> list[StepResult]:
    """All timesteps and what they make due."""
    results = []
    for timestep in steps:
        results.append(session.process(timestep))
        drain(session)
    return results


@pytest.mark.parametrize(("delay", "scored_each"), [(0, 1), (3000, 3), (2500, 3), ("end", 10), (99_000, 10)])
def test_only_predictions_made_before_the_label_was_known_are_scored(delay, scored_each) -> None:
    timeline = LabelTimeline(intervals(PRESENTATIONS), delay=delay)
    session = small_session(timeline)
    results = [session.process(t) for t in timesteps(EVENTS, timeline)]
    session.finish()
    scored = [r.timestep.index for r in results if r.scored]
    assert scored == [10 * k + i for k in range(PRESENTATIONS) for i in range(scored_each)]
    for r in results:
        if r.scored and r.prediction.learned:
            # Learned from this step itself, hence after its prediction: its label became known at its very end.
            assert timeline.known_at(timeline.at(r.timestep.t_start)) <= r.timestep.t_end
        elif r.scored:
            assert timeline.known_at(timeline.at(r.timestep.t_start)) > r.timestep.t_end
    assert session.evaluator.steps.n == len(scored)
    assert session.evaluator.presentations.n == PRESENTATIONS


@pytest.mark.parametrize("delay", [0, 3000, "end"])
def test_labels_cannot_reach_a_prediction_before_they_are_known(delay) -> None:
    """Swap the labels from some interval on: nothing said before that interval's label was known may change."""
    changed_from = 7

    def run(swap: bool) -> list[np.ndarray]:
        labels = [
            LabelInterval(i.t_start, i.t_end, 3 - i.label if swap and k >= changed_from else i.label)
            for k, i in enumerate(intervals(PRESENTATIONS))
        ]
        timeline = LabelTimeline(labels, delay=delay)
        session = small_session(timeline, rehearsal=RehearsalConfig(mode="ratio", ratio=1, stretch=5))
        return [predicted(session, t) for t in timesteps(EVENTS, timeline)]

    plain, swapped = run(False), run(True)
    known = 10 * changed_from + {0: 1, 3000: 3, "end": 10}[delay]
    np.testing.assert_array_equal(plain[:known], swapped[:known])
    assert any((a != b).any() for a, b in zip(plain[known:], swapped[known:], strict=True))


def test_every_labelled_step_is_learned_once_live_or_deferred() -> None:
    for delay, live_each in ((0, 10), (3000, 8), ("end", 1)):
        timeline = LabelTimeline(intervals(PRESENTATIONS), delay=delay)
        session = small_session(timeline)
        go_through(session, timesteps(EVENTS, timeline))
        session.finish()
        drain(session)
        updates = session.counters.updates
        assert updates.live == live_each * PRESENTATIONS
        assert updates.live + updates.deferred == 10 * PRESENTATIONS
        assert updates.rehearsed == 0


def test_rehearsal_has_counts_of_its_own_and_leaves_the_live_state_alone() -> None:
    timeline = LabelTimeline(intervals(PRESENTATIONS))
    session = small_session(
        timeline, learner=small_learner(lr=0.0), rehearsal=RehearsalConfig(mode="ratio", ratio=2, stretch=5)
    )
    plain = small_session(timeline, learner=small_learner(lr=0.0))
    for t in timesteps(EVENTS, timeline):
        np.testing.assert_array_equal(predicted(session, t), predicted(plain, t))
    updates = session.counters.updates
    assert updates.live == plain.counters.updates.live == 10 * PRESENTATIONS
    assert updates.rehearsed == 2 * PRESENTATIONS * 10
    seen = session.snapshot()
    assert seen.rehearsal_ms.n == updates.rehearsed
    assert seen.step_ms.n == plain.snapshot().step_ms.n
    assert seen.memory == {1: PRESENTATIONS, 2: PRESENTATIONS}


def test_idle_rehearsal_waits_to_be_asked() -> None:
    timeline = LabelTimeline(intervals(PRESENTATIONS))
    session = small_session(timeline, rehearsal=RehearsalConfig(mode="idle", stretch=5))
    assert not session.idle()
    for t in timesteps(EVENTS, timeline):
        session.process(t)
    assert session.counters.updates.rehearsed == 0
    for pieces in range(1, 8):
        assert session.idle()
        assert session.counters.updates.rehearsed == pieces  # one timestep each


def test_it_learns() -> None:
    timeline = LabelTimeline(intervals(60), delay="end")
    session = small_session(timeline, learner=small_learner(lr=0.03))
    go_through(session, timesteps(labelled_events(1, 60), timeline))
    session.finish()
    assert session.evaluator.accuracy()["second_half"] > 0.9


def test_without_learning_everything_labelled_is_scored_and_no_weight_moves() -> None:
    timeline = LabelTimeline(intervals(PRESENTATIONS))
    learner = small_learner()
    before = {k: v.clone() for k, v in learner.network.parameters.items()}
    session = small_session(timeline, learner=learner, learn=False)
    results = [session.process(t) for t in timesteps(EVENTS, timeline)]
    session.finish()
    assert all(r.scored and not r.prediction.learned for r in results)
    assert all(torch.equal(before[k], v) for k, v in learner.network.parameters.items())


def test_a_second_pass_is_no_test() -> None:
    timeline = LabelTimeline(intervals(PRESENTATIONS), delay="end")
    session = small_session(timeline)
    steps = timesteps(EVENTS, timeline)
    go_through(session, steps)
    session.end_pass()
    n = session.evaluator.steps.n
    later = go_through(session, steps)
    session.end_pass()
    drain(session)
    assert not any(r.scored for r in later)
    assert session.evaluator.steps.n == n
    updates = session.counters.updates
    assert updates.live + updates.deferred == 2 * len(steps)


def test_labels_that_come_with_the_stream_late_are_scored_and_learned_then() -> None:
    session = small_session(LabelTimeline(), late_labels=True)
    steps = timesteps(EVENTS, LabelTimeline(intervals(PRESENTATIONS)))
    labels = [session.process(t).prediction.label for t in steps[:30]]
    assert not session.due
    late = intervals(PRESENTATIONS)[1]
    assert session.labels.add(late) == 10
    assert session.counters.updates.deferred == 0
    drain(session)
    assert session.counters.updates.deferred == 10
    assert session.evaluator.steps.n == 10
    assert session.evaluator.steps.table.get((2, 2), 0) == labels[10:20].count(2)
    session.finish()
    assert session.evaluator.presentations.n == 1


def test_a_label_for_what_is_shown_now_is_learned_from_now_on() -> None:
    session = small_session(LabelTimeline(), late_labels=True)
    steps = timesteps(EVENTS, LabelTimeline(intervals(PRESENTATIONS)))
    for t in steps[:5]:
        session.process(t)
    session.labels.add(intervals(1)[0])
    drain(session)
    assert session.counters.updates.deferred == 5
    results = [session.process(t) for t in steps[5:10]]
    assert all(r.prediction.learned and not r.scored for r in results)
    session.finish()
    assert session.evaluator.steps.n == 5
    assert session.evaluator.presentations.n == 1


def test_a_live_label_that_is_no_class_is_refused() -> None:
    session = small_session(LabelTimeline(), late_labels=True)
    with pytest.raises(UsageError, match="label 7 is not among"):
        session.labels.add(LabelInterval(0, 10, 7))


@pytest.mark.parametrize(("delay", "mode", "warned"), [(4, "paper", False), (5, "paper", True), (9, "snapshot", False)])
def test_an_error_delay_that_nears_a_stimulus_is_said_once(delay, mode, warned) -> None:
    timeline = LabelTimeline(intervals(PRESENTATIONS))
    session = small_session(timeline, learner=small_learner(error_delay=delay, delay_mode=mode))
    for t in timesteps(EVENTS, timeline):
        session.process(t)
    warnings = session.snapshot().warnings
    assert len(warnings) == int(warned)
    assert not warned or "snapshot" in warnings[0]


@pytest.mark.parametrize("name", ["pause", "resume"])
def test_what_does_not_learn_is_neither_paused_nor_resumed(name: str) -> None:
    session = small_session(LabelTimeline(intervals(PRESENTATIONS)), learn=False)
    with pytest.raises(UsageError, match="does not learn"):
        getattr(session, name)()
    assert session.snapshot().learning == "off"


def test_nothing_is_rehearsed_while_learning_is_paused() -> None:
    """What was due before the pause waits for its end; the weights of a paused model stay as they are."""
    timeline = LabelTimeline(intervals(PRESENTATIONS), delay=0)
    session = small_session(timeline, rehearsal=RehearsalConfig(mode="ratio", ratio=2, stretch=5))
    stream = iter(timesteps(EVENTS, timeline))
    while not session.due:
        session.process(next(stream))
    before = {name: value.clone() for name, value in session.learner.network.parameters.items()}
    session.pause()
    session.reset()
    predicted(session, next(stream))
    assert not session.due and not session.learn_due() and session.counters.updates.rehearsed == 0
    for name, value in session.learner.network.parameters.items():
        assert torch.equal(value, before[name]), name
    session.resume()
    drain(session)
    assert session.counters.updates.rehearsed == 2 * 5
