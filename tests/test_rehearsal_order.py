"""A timestep's result is out before the rehearsal that it makes due, and the learning is the same as all in a row."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import (
    SIZE,
    WINDOW,
    ListSink,
    ListSource,
    LiveSource,
    intervals,
    labelled_events,
    pipeline_of,
    run,
    set_aside,
    small_learner,
    small_session,
    timesteps,
)

from stream_ottt.events.binning import Binner
from stream_ottt.events.config import BinningConfig
from stream_ottt.events.packet import EventPacket, Ledger
from stream_ottt.events.timestep import StepResult
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.learning.rehearsal import RehearsalConfig, RehearsalMemory, Stretch
from stream_ottt.learning.session import Session
from stream_ottt.pipeline.pipeline import Pipeline

PRESENTATIONS = 6
EVENTS = labelled_events(0, PRESENTATIONS)
STEPS = 10 * PRESENTATIONS
HOW = RehearsalConfig(mode="ratio", ratio=2, stretch=5)


def same_weights(a: OnlineLearner, b: OnlineLearner) -> bool:
    weights = a.network.parameters
    return all(torch.equal(weights[name], value) for name, value in b.network.parameters.items())


def drain(session: Session) -> None:
    while session.learn_due():
        pass


def in_a_row(steps: int = STEPS) -> tuple[OnlineLearner, list[int]]:
    """Without pipeline or session: predict, learn, rehearse, and only then the next timestep.

    Returns:
        The learner, and how many rehearsed updates there were before each timestep and after the last.
    """
    timeline = LabelTimeline(intervals(PRESENTATIONS))
    learner, memory = small_learner(), RehearsalMemory(HOW.max_bytes, np.random.default_rng(0))
    building: list[np.ndarray] = []
    rehearsed = [0]
    for timestep in timesteps(EVENTS, timeline)[:steps]:
        learner.step(timestep)
        label = timeline.at(timestep.t_start).label
        learner.feedback(timestep.index, label)
        building.append(timestep.frame.astype(np.uint8))
        rehearsed.append(rehearsed[-1])
        if len(building) == HOW.stretch:
            memory.store(Stretch(np.stack(building), label))
            building = []
            for _ in range(int(HOW.ratio)):
                drawn = memory.draw()
                with set_aside(learner):
                    for i, frame in enumerate(drawn.frames):
                        learner.forward(learner.as_input(frame), i)
                        learner.feedback(i, drawn.label)
                rehearsed[-1] += len(drawn.frames)
    return learner, rehearsed


class Watching(ListSink):
    """Notes at each result how much had been rehearsed; until it has all results so far, no rehearsal goes on."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.rehearsed: list[int] = []
        self.counters = session.counters
        self.changed = threading.Condition()
        self.draw = session.memory.draw
        session.memory.draw = self.wait_and_draw  # type: ignore[method-assign]

    def wait_and_draw(self) -> Stretch | None:
        with self.changed:
            seen = self.changed.wait_for(lambda: len(self.results) == self.counters.timesteps, 60)
        assert seen, "a result waited for the rehearsal after it"
        return self.draw()

    async def consume(self, result: StepResult) -> None:
        self.rehearsed.append(self.counters.updates.rehearsed)
        with self.changed:
            await super().consume(result)
            self.changed.notify_all()


def watched(**options: object) -> tuple[Pipeline, Session, Watching]:
    timeline = LabelTimeline(intervals(PRESENTATIONS))
    session = small_session(timeline, rehearsal=HOW)
    sink = Watching(session)
    source = ListSource(EVENTS, cut=len(EVENTS))  # timesteps always wait
    return pipeline_of(source, [sink], session, timeline, **options), session, sink


def test_each_result_is_out_before_the_rehearsal_that_its_timestep_makes_due() -> None:
    pipeline, session, sink = watched()
    assert run(pipeline).reason == "end"
    learner, rehearsed = in_a_row()
    assert sink.rehearsed == rehearsed[:-1]
    assert session.counters.updates.rehearsed == rehearsed[-1] == STEPS * HOW.ratio
    assert session.counters.steps.n == pipeline.snapshot().latency.n == STEPS
    assert same_weights(session.learner, learner)


@pytest.mark.parametrize("steps", [24, 25])
def test_the_last_of_max_steps_is_rehearsed_too(steps: int) -> None:
    pipeline, session, sink = watched(max_steps=steps)
    assert run(pipeline).reason == "max-steps"
    learner, rehearsed = in_a_row(steps)
    assert len(sink.results) == steps
    assert session.counters.updates.rehearsed == rehearsed[-1]
    assert same_weights(session.learner, learner)


def test_a_stop_does_not_wait_for_what_is_due_and_loses_no_result() -> None:
    pipeline, session, sink = watched()
    consume = sink.consume

    async def stop_at_25(result: StepResult) -> None:
        if len(sink.results) == 24:
            pipeline.stop()  # the rehearsal still waits for this result
        await consume(result)

    sink.consume = stop_at_25  # type: ignore[method-assign]
    assert run(pipeline).reason == "interrupted"
    _, rehearsed = in_a_row(25)
    assert [r.timestep.index for r in sink.results] == list(range(25))
    assert session.due and session.counters.updates.rehearsed <= rehearsed[-2] + 1  # one piece may be under way
    assert pipeline.snapshot().ledger.in_hand == 0


def test_an_error_in_a_rehearsal_loses_no_result_and_no_event() -> None:
    pipeline, session, sink = watched()

    def broken() -> None:
        raise ArithmeticError("no such memory")

    session.memory.draw = broken  # type: ignore[method-assign]
    assert isinstance(run(pipeline).error, ArithmeticError)
    assert len(sink.results) == session.counters.timesteps == HOW.stretch
    assert pipeline.snapshot().ledger.in_hand == 0


def test_at_the_end_of_a_pass_what_is_due_is_rehearsed_before_it_ends() -> None:
    timeline = LabelTimeline(intervals(PRESENTATIONS), delay="end")
    how = RehearsalConfig(mode="ratio", ratio=2, stretch=4)  # leaves half a stretch, which the end of the pass stores
    rowed, piped = (small_session(timeline, rehearsal=how) for _ in range(2))
    run(pipeline_of(ListSource(EVENTS), [], piped, timeline, passes=2))
    for number in range(2):
        for timestep in timesteps(EVENTS, timeline):
            rowed.process(replace(timestep, index=timestep.index + number * STEPS))
            drain(rowed)
        rowed.end_pass()
        drain(rowed)
    rowed.finish()
    drain(rowed)
    assert piped.counters.updates == rowed.counters.updates
    assert same_weights(piped.learner, rowed.learner)


def test_what_a_late_label_makes_due_is_rehearsed_after_the_next_timestep() -> None:
    how, late = RehearsalConfig(mode="ratio", ratio=2, stretch=3), intervals(PRESENTATIONS)
    rowed, piped = (small_session(LabelTimeline(), rehearsal=how, late_labels=True) for _ in range(2))
    cut = len(EVENTS) // PRESENTATIONS
    packets = [EVENTS[at : at + cut] for at in range(0, len(EVENTS), cut)]

    taken, add_label = threading.Event(), piped.labels.add

    def add_and_tell(interval: LabelInterval) -> int:
        n = add_label(interval)
        taken.set()
        return n

    piped.labels.add = add_and_tell  # type: ignore[method-assign]

    class Labelled(LiveSource):
        async def __aiter__(self) -> AsyncIterator[EventPacket]:
            for events, interval in zip(packets, late, strict=True):
                yield EventPacket(events, SIZE, SIZE)
                taken.clear()
                pipeline.add_label(interval)
                # The thread has nothing more to do, until the next packet.
                assert await asyncio.to_thread(taken.wait, 60)

    pipeline = pipeline_of(Labelled(EVENTS), [], piped, policy="block")
    run(pipeline)
    binner = Binner(BinningConfig(window=WINDOW, width=SIZE, height=SIZE), SIZE, SIZE, Ledger())
    for events, interval in zip(packets, late, strict=True):
        for timestep in binner.feed(events):
            rowed.process(timestep)
            drain(rowed)
        rowed.labels.add(interval)
        drain(rowed)
    for timestep in binner.flush():
        rowed.process(timestep)
        drain(rowed)
    rowed.finish()
    drain(rowed)
    assert rowed.counters.updates.deferred > STEPS // 2
    assert rowed.counters.updates.rehearsed > 0
    assert piped.counters.updates == rowed.counters.updates
    assert same_weights(piped.learner, rowed.learner)
