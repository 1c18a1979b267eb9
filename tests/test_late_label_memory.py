"""A late label for what is still shown: its predictions are scored, and nothing of them is kept beside the frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from helpers import WINDOW, intervals, labelled_events, small_session, timesteps

from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.learning.session import Session
from stream_ottt.learning.waiting import Waiting

STEPS = timesteps(labelled_events(0, 3), LabelTimeline(intervals(3)))


def waiting_for_the_end(steps: int) -> Session:
    """A session in the middle of a presentation whose label came after so many timesteps, and is learned at its end."""
    session = small_session(LabelTimeline(delay="end"), late_labels=True)
    for t in STEPS[:steps]:
        session.process(t)
    assert session.labels.add(LabelInterval(0, 10 * WINDOW, 1)) == steps
    return session


def test_predictions_that_were_scored_take_no_room() -> None:
    session = waiting_for_the_end(4)
    frame = Waiting(np.zeros(STEPS[0].frame.shape, np.uint8), 0.5).nbytes
    seen = session.snapshot()
    assert (seen.waiting, seen.waiting_bytes) == (4, 4 * frame)
    assert session.evaluator.steps.n == 4


def test_a_restart_within_such_a_presentation_loses_none_of_its_timesteps() -> None:
    """Those that came before the label and those that came after it wait together."""
    session = waiting_for_the_end(4)
    for t in STEPS[4:7]:
        session.process(t)
    other = small_session(LabelTimeline(delay="end"), late_labels=True)
    other.learner.load_state_dict(session.learner.state_dict())
    other.load_state_dict(session.state_dict())
    for one in (session, other):
        for t in STEPS[7:12]:
            one.process(replace(t))
        assert one.snapshot().due == 9
        assert one.snapshot().presentations == 1
        assert one.evaluator.steps.n == 10
