"""Learning that is due: in order, a timestep at a time, never in front of a prediction, and bounded."""

from __future__ import annotations

import pytest
from helpers import WINDOW, intervals, labelled_events, small_learner, small_session, timesteps

from stream_ottt.errors import UsageError
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.learning import due, presentations
from stream_ottt.learning.rehearsal import RehearsalConfig
from stream_ottt.learning.session import Session

PRESENTATIONS = 6
LABELS = intervals(PRESENTATIONS)
STEPS = timesteps(labelled_events(0, PRESENTATIONS), LabelTimeline(LABELS))


def pieces(session: Session) -> list[str]:
    """Learn all that is due; of which kind each piece was."""
    kinds = []
    while session.due:
        before = session.snapshot().updates
        more = session.learn_due()
        after = session.snapshot().updates
        kinds += [kind for kind in after if after[kind] > before[kind]]
        assert sum(after.values()) == sum(before.values()) + 1
        assert more == session.due
    assert not session.learn_due()
    return kinds


@pytest.mark.parametrize("delay", [0, 3500, "end"])
def test_no_timestep_makes_more_than_one_update_before_its_prediction_is_out(delay: int | str) -> None:
    session = small_session(
        LabelTimeline(LABELS, delay=delay), rehearsal=RehearsalConfig(mode="ratio", ratio=5, stretch=2)
    )
    counts = session.learner.counts
    for t in STEPS:
        before = counts.updates
        session.process(t)
        assert counts.updates - before <= 1
    assert session.due


def test_what_waited_is_learned_before_what_is_remembered() -> None:
    session = small_session(
        LabelTimeline(LABELS, delay="end"), rehearsal=RehearsalConfig(mode="ratio", ratio=2, stretch=5)
    )
    for t in STEPS[:10]:
        session.process(t)
    assert (session.snapshot().due, session.snapshot().rehearsals_due) == (9, 4)
    assert pieces(session) == 9 * ["deferred"] + 4 * 5 * ["rehearsed"]
    for t in STEPS[10:20]:
        session.process(t)
    for _ in range(11):
        session.learn_due()
    for t in STEPS[20:30]:  # while a stretch is rehearsed, more is deferred
        session.process(t)
    assert pieces(session) == 3 * ["rehearsed"] + 9 * ["deferred"] + 7 * 5 * ["rehearsed"]


def test_idle_time_is_for_what_is_due_first() -> None:
    timeline = LabelTimeline(LABELS[:1], delay="end")
    session = small_session(timeline, rehearsal=RehearsalConfig(mode="idle", stretch=5))
    for t in STEPS[:10]:
        session.process(t)
    assert not session.snapshot().rehearsals_due
    for _ in range(9 + 4):
        assert session.idle()
    assert session.snapshot().updates == {"live": 1, "deferred": 9, "rehearsed": 4}
    assert not session.due  # what is begun in idle time goes on in idle time
    session.pause()
    assert not session.idle()


def test_a_stretch_is_learned_from_rest_whatever_lies_between_its_timesteps() -> None:
    """Two sessions: one learns what is due in one go, one between timesteps that are only watched."""
    timeline = LabelTimeline(LABELS[:1], delay="end")
    in_one_go, in_pieces = (small_session(timeline) for _ in range(2))
    for session in (in_one_go, in_pieces):
        for t in STEPS[:10]:
            session.process(t)
    assert len(pieces(in_one_go)) == 9
    for t in STEPS[10:19]:
        in_pieces.process(t)
        in_pieces.learn_due()
    assert not in_pieces.due
    ours, theirs = (s.learner.network.parameters for s in (in_one_go, in_pieces))
    assert all((ours[name] == value).all() for name, value in theirs.items())


def test_rehearsals_that_a_stream_without_a_pause_makes_due_are_bounded_and_counted(monkeypatch) -> None:
    monkeypatch.setattr(due, "MOST_OWED", 7)
    session = small_session(LabelTimeline(LABELS), rehearsal=RehearsalConfig(mode="ratio", ratio=3, stretch=5))
    for t in STEPS[:25]:
        session.process(t)
    assert (session.snapshot().rehearsals_due, session.snapshot().rehearsals_given_up) == (7, 3 * 5 - 7)
    assert len(pieces(session)) == 7 * 5


def test_labels_that_lie_ahead_are_bounded(monkeypatch) -> None:
    monkeypatch.setattr(presentations, "MOST_INTERVALS", 3)
    session = small_session(LabelTimeline(), late_labels=True)
    for k in range(3):
        session.labels.add(LABELS[k])
    with pytest.raises(UsageError, match="3 label intervals lie ahead of the stream"):
        session.labels.add(LABELS[3])
    for t in STEPS[:20]:
        session.process(t)
    with pytest.raises(UsageError):
        session.labels.add(LABELS[3])
    session._presentations.timeline.forget_before(10 * WINDOW)
    session.labels.add(LABELS[3])


def test_the_live_timeline_forgets_what_no_timestep_can_need() -> None:
    session = small_session(LabelTimeline(delay="end"), late_labels=True)
    timeline = session._presentations.timeline
    kept = []
    for k, t in enumerate(STEPS):
        session.process(t)
        if k % 10 == 4:
            session.labels.add(LabelInterval(k * WINDOW, (k + 3) * WINDOW, 1))
        if k % 10 == 9:
            session.labels.add(LabelInterval((k - 9) * WINDOW, (k - 5) * WINDOW, 2))
            session.labels.add(LabelInterval((k - 2) * WINDOW, (k + 1) * WINDOW, 2))
            kept.append(len(timeline))
    assert max(kept) <= 2
    seen = session.snapshot()
    assert (seen.intervals, seen.intervals_met, seen.presentations) == (18, 18, 18)
    assert seen.label_span == (0, len(STEPS) * WINDOW)


def test_a_label_that_a_waiting_timestep_needs_is_not_forgotten() -> None:
    session = small_session(LabelTimeline(), late_labels=True)
    for t in STEPS[:10]:
        session.process(t)
    session.labels.add(LabelInterval(4 * WINDOW, 6 * WINDOW, 1))  # 0 … 4 still wait, for a label that may overlap it
    with pytest.raises(UsageError, match="overlap"):
        session.labels.add(LabelInterval(0, 5 * WINDOW, 2))
    assert session.labels.add(LabelInterval(0, 4 * WINDOW, 2)) == 4


@pytest.mark.parametrize(("steps", "updates"), [(11, 2), (10, 2), (13, 3)])
def test_the_end_of_a_stretch_applies_what_ottt_a_still_sums_up(steps: int, updates: int) -> None:
    session = small_session(
        LabelTimeline(), late_labels=True, learner=small_learner(rule="ottt_a", time_steps=6 if steps > 10 else 5)
    )
    for t in STEPS[:steps]:
        session.process(t)
    session.labels.add(LabelInterval(0, steps * WINDOW, 1))
    while session.due:
        before = session.learner.counts.updates
        session.learn_due()
        assert session.learner.counts.updates - before <= 1
    assert session.snapshot().updates["deferred"] == session.learner.counts.updates == updates


def test_a_reset_ends_a_stretch() -> None:
    session = small_session(LabelTimeline(LABELS), rehearsal=RehearsalConfig(mode="idle", stretch=8))
    for t in STEPS[:4]:
        session.process(t)
    session.reset()  # half a stretch is remembered
    for t in STEPS[4:7]:
        session.process(t)
    session.reset()  # less is not
    for t in STEPS[7:11]:
        session.process(t)
    assert session.snapshot().memory == {1: 1}
    (stretch,) = session.memory._kept[1]
    assert [f.sum() for f in stretch.frames] == [t.frame.sum() for t in STEPS[:4]]
