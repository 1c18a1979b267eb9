"""What the learner's thread says of itself while it works, and what it leaves when it has ended."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future

import pytest
from helpers import (
    ListSink,
    ListSource,
    LiveSource,
    intervals,
    labelled_events,
    pipeline_of,
    run,
    small_session,
)

from stream_ottt.events.timestep import StepResult
from stream_ottt.labels.timeline import LabelTimeline
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.learning.session import Session
from stream_ottt.pipeline.cut import Cut
from stream_ottt.pipeline.view import CheckpointState

EVENTS = labelled_events(0, 6)  # 60 timesteps


class Kept:
    """A keeper that takes every cut."""

    def __init__(self) -> None:
        self.cuts: list[Cut] = []

    def wants(self) -> bool:
        return True

    def take(self, cut: Cut) -> None:
        self.cuts.append(cut)

    def state(self) -> CheckpointState:
        return CheckpointState(written=len(self.cuts))


def at_timestep(session: Session, index: int, act: Callable[[], object]) -> None:
    """Call ``act`` before a timestep is predicted."""
    process = session.process

    def watched(timestep):  # type: ignore[no-untyped-def]
        if timestep.index == index:
            act()
        return process(timestep)

    session.process = watched  # type: ignore[method-assign]


def test_each_piece_of_what_is_due_is_work_of_its_own() -> None:
    """A watchdog must not take many short pieces for a long one."""
    timeline = LabelTimeline(intervals(6), delay="end")
    session = small_session(timeline)
    pipeline = pipeline_of(ListSource(EVENTS), [], session, timeline)
    learn, since = session.learn_due, []

    def watched() -> bool:
        since.append(pipeline.learning.busy_since)
        return learn()

    session.learn_due = watched  # type: ignore[method-assign]
    run(pipeline)
    assert len(since) > 60 and None not in since and len(set(since)) == len(since)


def test_at_rest_and_at_the_end_it_is_busy_with_nothing() -> None:
    class Resting(LiveSource):
        async def __aiter__(self):  # type: ignore[no-untyped-def]
            async for packet in super().__aiter__():
                yield packet
            while pipeline.learning.publisher.latest is None or pipeline.snapshot().busy_s:  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    pipeline = pipeline_of(Resting(EVENTS), [], small_session(None), policy="drop-oldest", queue_events=1 << 20)
    assert run(pipeline).reason == "end"
    assert pipeline.snapshot().busy_s == 0


def test_what_is_known_of_the_run_grows_with_its_classes() -> None:
    session = small_session(None)
    pipeline = pipeline_of(ListSource(EVENTS), [], session)
    before = session.learner.network.size
    at_timestep(session, 10, lambda: session.classes.add("mug"))
    run(pipeline)
    facts = pipeline.view.facts
    assert len(facts.classes) == 3 and facts.class_names[facts.classes[-1]] == "mug"
    assert facts.parameters == session.learner.network.size > before


def test_a_watcher_is_called_until_it_has_seen_enough() -> None:
    seen: list[int] = []

    def watch(_: OnlineLearner, result: StepResult) -> bool:
        seen.append(result.timestep.index)
        return len(seen) < 3

    session = small_session(None)
    pipeline = pipeline_of(ListSource(EVENTS), [], session)
    at_timestep(session, 10, lambda: pipeline.learning.watch(watch))
    run(pipeline)
    assert len(seen) == 3 and seen == list(range(seen[0], seen[0] + 3))


def test_what_is_asked_at_the_very_end_is_answered() -> None:
    """The thread may end between the look whether it runs and the asking."""
    session = small_session(None)
    pipeline = pipeline_of(ListSource(EVENTS), [], session)
    learning = pipeline.learning
    add, looked, ended = learning._tasks.add, threading.Event(), threading.Event()
    answers: list[Future[int]] = []

    def late(act: Callable[[], int]) -> Future[int]:
        looked.set()
        assert ended.wait(60)
        return add(act)

    learning._tasks.add = late  # type: ignore[method-assign, assignment]
    asking = threading.Thread(target=lambda: answers.append(learning.do(lambda s: s.counters.timesteps)))

    def ask() -> None:
        asking.start()
        assert looked.wait(60)

    at_timestep(session, 10, ask)
    run(pipeline)
    ended.set()
    asking.join(60)
    assert answers[0].result(0) == 60


@pytest.mark.parametrize("broken", [False, True])
def test_it_leaves_the_state_to_go_on_from_unless_it_failed(broken: bool) -> None:
    session, kept = small_session(None), Kept()
    pipeline = pipeline_of(ListSource(EVENTS), [ListSink()], session)
    pipeline.learning.keeper = kept
    if broken:
        at_timestep(session, 20, lambda: 1 / 0)
    assert run(pipeline).reason == ("failed" if broken else "end")
    assert (pipeline.last is None) == broken
    assert broken or (pipeline.last is not None and pipeline.last.timesteps == 60)


def test_a_mark_that_was_asked_for_is_sent_once() -> None:
    session, kept = small_session(None), Kept()
    pipeline = pipeline_of(ListSource(EVENTS), [], session)
    pipeline.learning.keeper = kept
    at_timestep(session, 10, pipeline.binner.mark)
    run(pipeline)
    assert len(kept.cuts) == 1 and kept.cuts[0].timesteps > 10


@pytest.mark.parametrize("gap", [False, True])
def test_after_a_gap_what_was_in_hand_is_counted_as_lost(gap: bool) -> None:
    """Without one it is read again."""
    session, kept = small_session(None), Kept()
    pipeline = pipeline_of(ListSource(EVENTS, cut=70), [], session)
    pipeline.learning.keeper = kept
    at_timestep(session, 10, pipeline.binner.mark)
    run(pipeline)
    resumed = pipeline_of(ListSource(EVENTS), [], small_session(None))
    resumed.load_state_dict(kept.cuts[0].state, gap=gap)
    ledger = resumed.snapshot().ledger
    lost = ledger.dropped.get("interrupted", 0)
    assert (lost > 0) == gap and (ledger.in_hand > 0) != gap
    assert ledger.in_hand + lost == ledger.read - ledger.binned > 0
