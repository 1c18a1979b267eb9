"""A wrong label that is taken back: what is remembered, due and scored of it, and what is learned then."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from helpers import WINDOW, intervals, labelled_events, small_session, timesteps
from watching import taught

from stream_ottt.errors import UsageError
from stream_ottt.labels.evaluation import EvaluationConfig, Evaluator
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.learning.rehearsal import RehearsalConfig
from stream_ottt.learning.session import Session

PRESENTATIONS = 12
LABELS = intervals(PRESENTATIONS)
STEPS = timesteps(labelled_events(0, PRESENTATIONS), LabelTimeline(LABELS))
WRONG = 5
SWAPPED = [LabelInterval(i.t_start, i.t_end, 3 - i.label if k == WRONG else i.label) for k, i in enumerate(LABELS)]


def of_file(labels: list[LabelInterval], **options: object) -> Session:
    evaluator = Evaluator(EvaluationConfig(fading=0.9, window=80))
    return small_session(LabelTimeline(labels, delay=6 * WINDOW), evaluator=evaluator, **options)


def figures(session: Session) -> tuple[object, ...]:
    """What a wrong label must leave no trace in; the baselines said what they said."""
    e = session.evaluator
    held = {k: v for k, v in e.accuracy().items() if k not in ("kappa_t", "majority", "no_change")}
    faded = held.pop("faded")
    return held, pytest.approx(faded), e.per_class(), e.steps.rows(), bytes(e.hits), e._seen


@pytest.mark.parametrize("at", [None, WRONG * 10 * WINDOW])
@pytest.mark.parametrize("after", [3, 6, 10, 14])
def test_scores_are_those_of_the_right_label(after: int, at: int | None) -> None:
    """While it is shown, before and after its label is known, and later."""
    session, right = of_file(SWAPPED, learn=False), of_file(LABELS, learn=False)
    for i, t in enumerate(STEPS):
        if i == 10 * WRONG + after:
            if at is None and after < 6:  # the latest label that is known is the one before
                with pytest.raises(UsageError, match="already"):
                    session.labels.correct(LABELS[WRONG - 1].label)
                at = WRONG * 10 * WINDOW
            session.labels.correct(LABELS[WRONG].label, at)
            with pytest.raises(UsageError, match="already"):
                session.labels.correct(LABELS[WRONG].label, at)
        session.process(t)
        right.process(t)
    for each in (session, right):
        each.finish()
    assert figures(session) == figures(right)
    assert session.snapshot().labels_corrected == 1
    assert figures(of_file(SWAPPED, learn=False)) != figures(right)


def learn_all(session: Session) -> None:
    while session.learn_due():
        pass


def live() -> Session:
    session = small_session(
        LabelTimeline(), late_labels=True, rehearsal=RehearsalConfig(mode="ratio", ratio=0, stretch=4)
    )
    for t in STEPS[:20]:
        session.process(t)
    session.labels.add(LabelInterval(0, 10 * WINDOW, 2))
    learn_all(session)
    return session


def test_what_is_remembered_gets_the_right_label_and_is_learned_once_more() -> None:
    session = live()
    before = session.memory.latest(99)
    assert session.memory.counts() == {2: 3}  # of 4, 4 and 2
    scored, seen, updates = session.evaluator.steps.n, taught(session), session.counters.updates.deferred
    wrong = session.labels.correct(1)
    assert (wrong.t_start, wrong.t_end, wrong.label) == (0, 10 * WINDOW, 2)
    assert {k: n for k, n in session.memory.counts().items() if n} == {1: 3}
    after = session.memory.latest(99)[1]
    assert all(np.array_equal(a.frames, b.frames) for a, b in zip(before[2], after, strict=True))
    learn_all(session)
    assert seen == [1] * 10 and session.counters.updates.deferred == updates + 10
    assert session.evaluator.steps.n == scored and session.evaluator.presentations.margins()[0] == {1: 1}
    assert session.snapshot().waiting == 10  # those that have no label yet


def test_frames_that_are_learned_once_more_are_those_that_were_shown() -> None:
    session = live()
    session.labels.correct(1)
    again = session._due._deferred[0].waited
    assert all(np.array_equal(w.frame, t.frame) for w, t in zip(again, STEPS[:10], strict=True))


def test_what_is_due_is_learned_with_the_right_label() -> None:
    session = small_session(LabelTimeline(), late_labels=True)
    for t in STEPS[:20]:
        session.process(t)
    session.labels.add(LabelInterval(0, 10 * WINDOW, 2))
    session.labels.add(LabelInterval(10 * WINDOW, 20 * WINDOW, 2))
    seen = taught(session)
    for _ in range(3):
        session.learn_due()  # of the first, which is under way
    session.labels.correct(1, 0)
    session.labels.correct(1)
    learn_all(session)
    assert seen == [2] * 3 + [1] * 17  # without a memory there is nothing to learn again
    with pytest.raises(UsageError, match="already"):
        session.labels.correct(1, 5 * WINDOW)


def test_what_is_shown_goes_on_with_the_right_label() -> None:
    session = small_session(LabelTimeline(SWAPPED[:1] + SWAPPED[5:6]), rehearsal=RehearsalConfig(ratio=0, stretch=4))
    seen = taught(session)
    for t in STEPS[50:56]:
        session.process(t)
    assert seen == [SWAPPED[5].label] * 6
    session.labels.correct(LABELS[5].label)
    learn_all(session)
    for t in STEPS[56:60]:
        result = session.process(t)
        assert result.truth == LABELS[5].label and not result.scored
    session.finish()
    assert seen[6:] == [LABELS[5].label] * 10  # six once more, four that were still to come
    assert {k: n for k, n in session.memory.counts().items() if n} == {LABELS[5].label: 3}


def test_what_is_being_rehearsed_too() -> None:
    session = small_session(LabelTimeline(), late_labels=True, rehearsal=RehearsalConfig(ratio=2, stretch=4))
    for t in STEPS[:20]:
        session.process(t)
    session.labels.add(LabelInterval(0, 10 * WINDOW, 2))
    for _ in range(9):
        session.learn_due()
    assert any(run is not None for run in session._due.alongside._runs)
    seen = taught(session)
    session.labels.correct(1)
    learn_all(session)
    assert set(seen) == {1}


def test_another_pass_has_the_right_label() -> None:
    session = of_file(SWAPPED)
    for t in STEPS[:60]:
        session.process(t)
    session.labels.correct(LABELS[WRONG].label, 55 * WINDOW)
    session.end_pass()
    learn_all(session)
    seen = [session.process(t).truth for t in STEPS[:60]]
    assert seen[50:60] == [LABELS[WRONG].label] * 10


def test_what_cannot_be_corrected_changes_nothing() -> None:
    session = live()
    before = session.state_dict()
    for name, at, wrong in (
        (3, None, "label 3"),
        ("mug", None, "'mug'"),
        (1, 15 * WINDOW, "no label at"),
        (2, 0, "already"),
    ):
        with pytest.raises(UsageError, match=wrong):
            session.labels.correct(name, at)
    with pytest.raises(UsageError, match="takes no labels"):
        small_session(None).labels.correct(1)
    with pytest.raises(UsageError, match="no label was used"):
        small_session(LabelTimeline()).labels.correct(1)
    after = session.state_dict()
    assert before.keys() == after.keys()
    for key, value in before.items():
        same = np.array_equal if hasattr(value, "shape") else operator.eq
        assert same(value, after[key]), key
