"""A wrong label that is taken back: nothing of it is remembered, due or scored any more, and nothing more learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import WINDOW, intervals, labelled_events, small_learner, small_session, timesteps
from watching import taught

from stream_ottt.errors import UsageError
from stream_ottt.labels.evaluation import EvaluationConfig, Evaluator
from stream_ottt.labels.recent_steps import RecentSteps
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.learning.novelty import NOBODY
from stream_ottt.learning.rehearsal import RehearsalConfig
from stream_ottt.learning.session import Session

LABELS = intervals(12)
STEPS = timesteps(labelled_events(0, 12), LabelTimeline(LABELS))
WRONG = 5
FIRST, SECOND = LabelInterval(0, 10 * WINDOW, 2), LabelInterval(10 * WINDOW, 20 * WINDOW, 1)


def watched(labels: list[LabelInterval]) -> Session:
    """It predicts and scores only, so that two of them say the same."""
    evaluator = Evaluator(EvaluationConfig(fading=0.9, window=80))
    return small_session(LabelTimeline(labels, delay=6 * WINDOW), evaluator=evaluator, learn=False)


def live(**rehearsal: object) -> Session:
    """Twenty timesteps were seen, and the first ten are labelled."""
    session = small_session(
        LabelTimeline(), late_labels=True, rehearsal=RehearsalConfig(**{"ratio": 4, "stretch": 4, **rehearsal})
    )
    for t in STEPS[:20]:
        session.process(t)
    session.labels.add(FIRST)
    return session


def learn_all(session: Session) -> None:
    while session.learn_due():
        pass


def weights(session: Session) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in session.learner.network.parameters.items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("after", [3, 8, 10, 14, 49])
def test_scores_are_those_of_a_stream_without_the_label(after: int) -> None:
    """While it is shown, before and after its label is known, and later, when others have a place behind it."""
    session, without = watched(LABELS), watched(LABELS[:WRONG] + LABELS[WRONG + 1 :])
    for i, t in enumerate(STEPS):
        if i == 10 * WRONG + after:
            taken = session.labels.retract(WRONG * 10 * WINDOW)
            assert taken == LABELS[WRONG]
        session.process(t)
        without.process(t)
    for each in (session, without):
        each.finish()
    a, b = session.evaluator, without.evaluator
    for key, value in a.accuracy().items():  # where labels followed before it was taken back, baselines knew it
        if after < 10 or key not in ("kappa_t", "majority", "no_change"):
            assert value == (b.accuracy()[key] if key not in ("faded", "windowed") else value), key
    assert (bytes(a.hits), a.steps.rows(), a.presentations.rows()) == (
        bytes(b.hits),
        b.steps.rows(),
        b.presentations.rows(),
    )
    assert (a.since_change(), a._seen, a._previous) == (b.since_change(), b._seen, b._previous)
    assert session.snapshot().labels_retracted == 1 and session.snapshot().intervals == without.snapshot().intervals
    assert session.snapshot().intervals_met == without.snapshot().intervals_met


def test_another_label_can_be_corrected_afterwards() -> None:
    """The presentations behind the one that left have moved up by one."""
    session = watched(LABELS)
    without = watched([i if k != 7 else replace(i, label=3 - i.label) for k, i in enumerate(LABELS) if k != WRONG])
    for t in STEPS:
        session.process(t)
        without.process(t)
    for each in (session, without):
        each.finish()
    session.labels.retract(WRONG * 10 * WINDOW)
    session.labels.correct(3 - LABELS[7].label, 7 * 10 * WINDOW)
    assert bytes(session.evaluator.hits) == bytes(without.evaluator.hits)
    assert session.evaluator.presentations.rows() == without.evaluator.presentations.rows()


@pytest.mark.parametrize("before", [0, 3, 8, 13, 21])
@pytest.mark.parametrize("gone", [0, 1, 2, 4])
def test_the_window_goes_on_in_order(before: int, gone: int) -> None:
    """Against a list, with a window of eight."""
    ring, plain = RecentSteps(8), []
    for i in range(before + 12):
        if i == before:
            ring.retract(gone)
            plain = [row for row in plain[-8:] if row[0] != gone]
        row = (i // 5, i % 2, i % 3 == 0)
        ring.add(*row)
        plain.append(row)
        assert ring.accuracy == np.mean([hit for _, _, hit in plain[-8:]])


def test_what_fades_leaves_out_what_was_taken_back() -> None:
    evaluator, left = Evaluator(EvaluationConfig(fading=0.5, window=8)), []
    session = small_session(LabelTimeline(LABELS, delay="end"), evaluator=evaluator, learn=False)
    for t in STEPS[:30]:
        result = session.process(t)
        left.append(result.prediction.label == result.truth)
    session.labels.retract(25 * WINDOW)
    weight = 0.5 ** np.arange(29, 9, -1.0)
    assert evaluator.accuracy()["faded"] == pytest.approx(weight @ left[:20] / weight.sum())
    assert evaluator.accuracy()["windowed"] is None  # its window holds nothing else
    for at in (15, 5):
        session.labels.retract(at * WINDOW)
    assert not {v for k, v in evaluator.accuracy().items() if k != "kappa"} - {None}


def test_what_is_remembered_is_forgotten_and_what_was_learned_stays() -> None:
    session = live()
    learn_all(session)
    session.labels.add(SECOND)
    learn_all(session)
    assert session.memory.counts() == {1: 3, 2: 3}
    kept, before = session.memory.bytes, weights(session)
    assert session.labels.retract(5 * WINDOW) == FIRST
    assert session.memory.counts() == {1: 3, 2: 0} and session.memory.bytes == kept / 2
    assert all(run is None or run.label == 1 for run in session._due.alongside._runs)
    assert same(weights(session), before) and not session.due
    seen = taught(session)
    session.process(STEPS[20])
    session.labels.add(LabelInterval(20 * WINDOW, 21 * WINDOW, 1))
    learn_all(session)
    assert set(seen) == {1}  # nothing of it is rehearsed


@pytest.mark.parametrize("pieces", [0, 3])
def test_what_is_due_is_not_learned(pieces: int) -> None:
    """Also where its stretch is under way."""
    session = live(ratio=0)
    session.labels.add(SECOND)
    for _ in range(pieces):
        session.learn_due()
    held = session.snapshot().waiting
    session.labels.retract(0)
    assert session.snapshot().waiting == held - 10 + pieces
    seen = taught(session)
    learn_all(session)
    assert seen == [SECOND.label] * 10
    assert session.snapshot().waiting == session.snapshot().waiting_bytes == 0


def test_what_waits_for_the_label_is_not_learned() -> None:
    session = small_session(LabelTimeline(LABELS[:2], delay="end"))
    for t in STEPS[:15]:
        session.process(t)
    learn_all(session)
    before, learned = weights(session), session.learner.counts.learned
    session.labels.retract(12 * WINDOW)
    for t in STEPS[15:20]:
        result = session.process(t)
        assert result.truth is None and not result.scored
    session.finish()
    learn_all(session)
    assert same(weights(session), before) and session.learner.counts.learned == learned
    assert session.snapshot().waiting == 0


@pytest.mark.parametrize("rule", [{"error_delay": 3}, {"rule": "ottt_a"}])
def test_an_error_that_is_under_way_never_reaches_the_weights(rule: dict[str, object]) -> None:
    session = Session(small_learner(**rule), timeline=LabelTimeline(LABELS[:1]))
    for t in STEPS[:3]:
        session.process(t)
    before = weights(session)
    session.labels.retract()
    for t in STEPS[3:12]:
        session.process(t)
    session.reset()
    assert same(weights(session), before) and session.learner.counts.updates == 0


def test_its_time_can_be_labelled_again_and_is_no_test_where_it_was_learned() -> None:
    session = small_session(LabelTimeline(), late_labels=True)
    for t in STEPS[:10]:
        session.process(t)
    session.labels.add(LabelInterval(0, 20 * WINDOW, 2))  # ten timesteps are still to come
    learn_all(session)
    assert session.evaluator.steps.n == 10
    session.labels.retract()
    assert session.evaluator.steps.n == 0
    for t in STEPS[10:30]:
        session.process(t)
    session.labels.add(LabelInterval(5 * WINDOW, 20 * WINDOW, 1))
    assert session.evaluator.steps.n == 0  # something of it had been learned
    session.labels.add(LabelInterval(20 * WINDOW, 30 * WINDOW, 1))
    assert session.evaluator.steps.n == 10
    learn_all(session)
    assert session.learner.counts.learned == 10 + 10 + 10


def test_what_cannot_be_taken_back_is_said() -> None:
    session = live()
    session.labels.retract()
    with pytest.raises(UsageError, match="no label was used yet"):
        session.labels.retract()
    with pytest.raises(UsageError, match="no label at 15000"):
        session.labels.retract(15 * WINDOW)
    with pytest.raises(UsageError, match="takes no labels"):
        small_session(None).labels.retract()


def test_what_was_taken_back_is_not_known_any_more() -> None:
    session = small_session(LabelTimeline(LABELS), unknown=0.9, rehearsal=RehearsalConfig(ratio=40, stretch=4))
    for t in STEPS[:40]:
        session.process(t)
        learn_all(session)
    novelty = session._novelty
    assert novelty is not None and 1 in novelty._of
    session.labels.retract(10 * WINDOW)
    assert set(novelty._of) - {NOBODY} == {0, 2, 3}
    for at in (0, 20, 30):
        session.labels.retract(at * WINDOW)
    assert novelty.distance(session.learner.network.state) is None
