"""What waits for its label or to be learned: bounded in all the memory that it takes, and the oldest go first."""

from __future__ import annotations

import tracemalloc
from collections import deque
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import SIZE, WINDOW, intervals, labelled_events, small_learner, small_session, timesteps

from stream_ottt.events.timestep import Timestep
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.learning.rehearsal import RehearsalConfig
from stream_ottt.learning.session import Session
from stream_ottt.learning.waiting import Waiting, WaitingRoom

PRESENTATIONS = 12
STEPS = timesteps(labelled_events(0, PRESENTATIONS), LabelTimeline(intervals(PRESENTATIONS)))


@pytest.mark.parametrize("side", [4, 32])
@pytest.mark.parametrize("labelled", [False, True])
def test_all_bytes_that_are_held_count(side: int, labelled: bool) -> None:
    keep_bytes = 1 << 20
    room = WaitingRoom(keep_bytes)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        gone = n = 0
        while gone < 10:
            frame = np.zeros((2, side, side), np.uint8)
            waiting = Waiting(frame, n + 0.5) if labelled else Waiting(frame, n + 0.5, 3, np.zeros(10))
            gone += room.keep(waiting, room.unlabelled)
            n += 1
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.7 * keep_bytes < held <= room.bytes <= keep_bytes
    assert len(room.unlabelled) == room.timesteps == n - gone


def test_what_no_interval_holds_goes_before_what_one_does() -> None:
    frames = np.zeros((4, 2, 8, 8), np.uint8)
    unlabelled, *labelled = (Waiting(frame, i + 0.5) for i, frame in enumerate(frames))
    room, presentation = WaitingRoom(3 * unlabelled.nbytes), deque(labelled[:1])
    room.count(presentation)
    assert room.keep(unlabelled, room.unlabelled) == 0
    assert [room.keep(waiting, presentation) for waiting in labelled[1:]] == [0, 1]
    assert list(presentation) == labelled and not room.unlabelled
    assert room.keep(Waiting(frames[0], 4.5), presentation) == 1
    assert list(presentation)[:2] == labelled[1:]


def room_for(steps: int, session: Session) -> int:
    """Memory that takes so many unlabelled timesteps."""
    session.process(STEPS[0])
    return steps * session.snapshot().waiting_bytes


def test_the_oldest_go_and_the_loss_is_counted() -> None:
    keep = room_for(20, small_session(LabelTimeline(), late_labels=True))
    session = small_session(LabelTimeline(), late_labels=True, keep_bytes=keep)
    for t in STEPS:
        session.process(t)
        assert session.snapshot().waiting_bytes <= keep
    assert session.snapshot().timesteps_not_kept == len(STEPS) - 20
    assert session.labels.add(intervals(PRESENTATIONS)[-1]) == 10
    assert session.labels.add(intervals(PRESENTATIONS)[0]) == 0


def test_what_is_due_takes_room_until_it_is_learned() -> None:
    keep = room_for(20, small_session(LabelTimeline(), late_labels=True))
    session = small_session(LabelTimeline(), late_labels=True, keep_bytes=keep)
    for t in STEPS[:20]:
        session.process(t)
    session.labels.add(LabelInterval(0, 20 * WINDOW, 1))
    for t in STEPS[20:40]:
        session.process(t)
    seen = session.snapshot()
    assert seen.due == 20 and seen.waiting_bytes <= keep
    kept = seen.waiting - seen.due
    assert seen.timesteps_not_kept == 20 - kept
    assert session.labels.add(LabelInterval(20 * WINDOW, 40 * WINDOW, 2)) == kept
    while session.learn_due():
        pass
    assert session.snapshot().updates["deferred"] == 20 + kept
    assert (session.snapshot().waiting, session.snapshot().waiting_bytes) == (0, 0)


def test_a_known_interval_longer_than_the_room_keeps_its_latest() -> None:
    keep = room_for(3, small_session(LabelTimeline(), late_labels=True))
    timeline = LabelTimeline(intervals(PRESENTATIONS), delay="end")
    session = small_session(timeline, keep_bytes=keep)
    for t in STEPS[:10]:
        session.process(t)
    seen = session.snapshot()
    assert seen.due == seen.waiting >= 3
    assert seen.due + seen.timesteps_not_kept == 9


def test_the_end_gives_up_what_waits_and_keeps_what_is_due() -> None:
    session = small_session(LabelTimeline(delay="end"), late_labels=True)
    for t in STEPS[:10]:
        session.process(t)
    session.labels.add(LabelInterval(2 * WINDOW, 5 * WINDOW, 1))  # over, and due
    session.labels.add(LabelInterval(8 * WINDOW, 20 * WINDOW, 2))  # shown, and not known before its end
    assert session.snapshot().waiting == 10
    session.finish()
    seen = session.snapshot()
    assert (seen.due, seen.waiting) == (3, 3)
    assert seen.presentations == 2
    while session.learn_due():
        pass
    assert session.snapshot().waiting_bytes == 0
    rested = small_learner().step(STEPS[7]).logits
    fresh = small_session(None)
    for t in STEPS[:7]:
        fresh.process(t)
    assert not np.array_equal(fresh.process(replace(STEPS[7], new_sample=False)).prediction.logits, rested)
    fresh.finish()
    assert np.array_equal(fresh.process(replace(STEPS[7], new_sample=False, index=8)).prediction.logits, rested)


@pytest.mark.parametrize("largest", [1000, 255])
def test_counts_above_255_are_stored_as_255_and_that_is_said_once(largest: int) -> None:
    frame = np.zeros((2, SIZE, SIZE), np.float32)
    frame[1, 2, 3], frame[0, 4, 4] = largest, 255
    stored = np.minimum(frame, 255)
    seen: list[torch.Tensor] = []
    timeline = LabelTimeline([LabelInterval(0, 4 * WINDOW, 1)], delay="end")
    session = small_session(timeline, rehearsal=RehearsalConfig(mode="ratio", ratio=1, stretch=4))
    forward = session.learner.forward

    def watched(frames, *args, **options):
        seen.append(frames[0].numpy().copy())
        return forward(frames, *args, **options)

    session.learner.forward = watched
    for i in range(4):
        session.process(Timestep(frame, i * WINDOW, (i + 1) * WINDOW, i, 1255, not i))
    while session.learn_due():
        pass
    assert len(seen) == 4 + 3 + 4  # live, deferred, rehearsed
    assert all(np.array_equal(s, frame) for s in seen[:4])
    assert all(np.array_equal(s, stored) for s in seen[4:])
    warnings = session.snapshot().warnings
    assert ["more than 255 events" in line for line in warnings] == [True] * (largest > 255)
