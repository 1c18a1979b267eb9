"""Orders of labels, pauses and passes in which a prediction that was learned could be taken for a test."""

from __future__ import annotations

import pytest
from helpers import WINDOW, intervals, labelled_events, small_session, timesteps

from stream_ottt.errors import UsageError
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.learning.session import Session

PRESENTATIONS = 12
STEPS = timesteps(labelled_events(0, PRESENTATIONS), LabelTimeline(intervals(PRESENTATIONS)))
LABELS = intervals(PRESENTATIONS)


def live() -> Session:
    return small_session(LabelTimeline(), late_labels=True)


def scored(session: Session) -> tuple[int, int]:
    """Timesteps and presentations scored."""
    return session.evaluator.steps.n, session.evaluator.presentations.n


def test_a_late_label_makes_no_step_of_another_presentation_a_test() -> None:
    session = live()
    for t in STEPS[:80]:
        session.process(t)
    session.labels.add(LABELS[8])  # known before it is shown
    flags = []
    for k, t in enumerate(STEPS[80:90]):
        flags.append(session.process(t).scored)
        if k < 7:
            session.labels.add(LABELS[k])
    assert flags == [True] + 9 * [False]
    session.finish()
    assert scored(session) == (71, 8)


def test_a_late_label_leaves_a_presentation_that_is_being_scored_open() -> None:
    timeline = LabelTimeline(delay="end")
    session = small_session(timeline, late_labels=True)
    session.labels.add(LABELS[1])
    for t in STEPS[:14]:
        session.process(t)
    assert scored(session) == (4, 0)
    session.labels.add(LABELS[0])
    assert scored(session) == (14, 1)
    assert all(session.process(t).scored for t in STEPS[14:20])
    session.process(STEPS[20])
    assert scored(session) == (20, 2)
    assert session.evaluator.presentations.margins()[0] == {1: 1, 2: 1}


@pytest.mark.parametrize("paused_at", [0, 25, 60])
def test_a_pause_before_a_pass_ends_makes_no_test_of_what_was_learned(paused_at: int) -> None:
    session = small_session(LabelTimeline(LABELS[:6], delay="end"))
    for t in STEPS[:paused_at]:
        session.process(t)
    session.pause()
    for t in STEPS[paused_at:60]:
        session.process(t)
    session.end_pass()
    again = [session.process(t).scored for t in STEPS[:60]]
    assert not any(again) if paused_at else all(again)
    session.end_pass()  # what no pass has learned yet is a test in any pass
    session.resume()
    third = [session.process(t).scored for t in STEPS[:60]]
    assert not any(third) if paused_at else all(third)
    session.end_pass()
    assert not any(session.process(t).scored for t in STEPS[:60])


def test_what_is_due_is_no_test_either() -> None:
    session = small_session(LabelTimeline([LabelInterval(0, 10 * WINDOW, 1)], delay=4500))
    flags = [session.process(t).scored for t in STEPS[:10]]
    assert flags == 5 * [True] + 5 * [False]
    assert session.counters.updates.deferred == 0 and session.snapshot().due == 4


def test_a_reset_makes_no_test_of_what_was_learned() -> None:
    session = small_session(LabelTimeline(LABELS))
    flags = []
    for t in STEPS[:20]:
        flags.append(session.process(t).scored)
        session.reset()
    assert flags == [True, *9 * [False]] * 2


def test_a_resumed_presentation_is_a_test_until_something_of_it_is_learned() -> None:
    session = small_session(LabelTimeline(LABELS))
    session.pause()
    flags = [session.process(t).scored for t in STEPS[:5]]
    session.resume()
    flags += [session.process(t).scored for t in STEPS[5:10]]
    assert flags == 6 * [True] + 4 * [False]


def test_no_label_reaches_back_into_a_presentation_that_is_forgotten() -> None:
    session = live()
    for t in STEPS[:15]:
        session.process(t)
    session.labels.add(LABELS[0])
    assert session.labels.now(2, 5 * WINDOW) == 5
    with pytest.raises(UsageError, match="has a label already"):  # what is shown now has a label
        session.labels.now(1, 100 * WINDOW)
    for t in STEPS[15:18]:
        session.process(t)
    assert scored(session) == (15, 2)
    with pytest.raises(UsageError, match=r"interval 5000\.\.18000 .* labels were used already"):
        session.labels.add(LabelInterval(5 * WINDOW, 18 * WINDOW, 1))
    assert scored(session) == (15, 2)
    assert session.labels.now(1, 100 * WINDOW) == 3
    assert scored(session) == (18, 3)
    assert session.snapshot().labels_refused == 2
    assert session.snapshot().label_refusal.startswith("what was shown last has a label already")


def test_in_another_pass_labels_may_lie_where_others_were_forgotten() -> None:
    session = live()
    for t in STEPS[:15]:
        session.process(t)
    session.labels.add(LABELS[0])
    session.labels.now(2, 5 * WINDOW)
    session.end_pass()
    for t in STEPS[:15]:
        session.process(t)
    assert session.labels.add(LabelInterval(5 * WINDOW, 18 * WINDOW, 1)) == 10
    assert scored(session) == (15, 2)  # the second time nothing is a test
