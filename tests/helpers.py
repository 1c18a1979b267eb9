"""Small parts that several tests build runs from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from stream_ottt.events.binning import Binner
from stream_ottt.events.config import BinningConfig
from stream_ottt.events.packet import EventArray, EventPacket, make_events
from stream_ottt.events.timestep import StepResult, Timestep
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.learning.average import Average
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.learning.session import Session
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.network import Network
from stream_ottt.network.topologies import build_network
from stream_ottt.pipeline.handed import Pass
from stream_ottt.pipeline.outcome import Outcome
from stream_ottt.pipeline.pipeline import Pipeline
from stream_ottt.pipeline.sink import Sink, SinkConfig
from stream_ottt.pipeline.source import BlockingSource, Source, SourceConfig
from stream_ottt.pipeline.view import RunFacts

WINDOW = 1000
SIZE = 8


def labelled_events(seed: int, presentations: int, *, steps: int = 10, per_step: int = 20) -> EventArray:
    """Events of two classes, told apart by the half of the image that they fall into; alternating labels 1, 2."""
    rng = np.random.default_rng(seed)
    n = presentations * steps * per_step
    t = np.sort(rng.integers(0, presentations * steps * WINDOW, n))
    label = t // (steps * WINDOW) % 2
    return make_events(rng.integers(0, 4, n) + 4 * label, rng.integers(0, SIZE, n), t, rng.random(n) < 0.5)


def intervals(presentations: int, *, steps: int = 10) -> list[LabelInterval]:
    """The labels of :func:`labelled_events`."""
    span = steps * WINDOW
    return [LabelInterval(k * span, (k + 1) * span, 1 + k % 2) for k in range(presentations)]


def small_learner(seed: int = 0, **rule: object) -> OnlineLearner:
    def network() -> Network:
        how = NetworkConfig(layers=(4,), readout="flatten")
        return build_network(how, input_shape=(2, SIZE, SIZE), classes=2, seed=seed)

    config = LearnerConfig(**{"time_steps": 5, **rule})
    average = Average(network(), config.average) if config.average else None
    return OnlineLearner(network(), config=config, classes=[1, 2], average=average)


@contextmanager
def set_aside(learner: OnlineLearner) -> Iterator[None]:
    """Put the current sample aside, run another, and take it up again."""
    held = learner.swap(learner.rest())
    try:
        yield
    finally:
        learner.reset()
        learner.swap(held)


def small_session(
    timeline: LabelTimeline | None, *, learner: OnlineLearner | None = None, **options: object
) -> Session:
    return Session(learner or small_learner(), timeline=timeline, **options)


def timesteps(events: EventArray, timeline: LabelTimeline | None = None) -> list[Timestep]:
    """The timesteps of a stream, cut at the labels' boundaries."""
    from stream_ottt.events.packet import Ledger

    boundaries = [] if timeline is None else timeline.boundaries()
    binner = Binner(BinningConfig(window=WINDOW, width=SIZE, height=SIZE), SIZE, SIZE, Ledger(), boundaries=boundaries)
    return [*binner.feed(events), *binner.flush()]


class Prepared:
    """Gives a pipeline a session that was built before."""

    def __init__(self, session: Session, timeline: LabelTimeline | None = None) -> None:
        self.session = session
        self.timeline = timeline

    def begin_pass(self, labels: object, first: int) -> Pass:
        timeline = self.timeline
        return Pass(timeline, () if timeline is None else tuple(timeline.boundaries()))

    def build(self, width: int, height: int, begins: Pass) -> tuple[Session, RunFacts]:
        return self.session, RunFacts("test", sensor=(width, height))


def pipeline_of(
    source: Source,
    sinks: Sequence[Sink],
    session: Session,
    timeline: LabelTimeline | None = None,
    **options: object,
) -> Pipeline:
    """A pipeline through ``session``."""
    binning = BinningConfig(window=WINDOW, width=SIZE, height=SIZE)
    return Pipeline(source, sinks, RunFacts("test"), Prepared(session, timeline), binning, **options)


async def to_the_end(pipeline: Pipeline) -> Outcome:
    """Run with its sinks opened and closed."""
    await pipeline.writers.open(pipeline.view)
    outcome = await pipeline.run()
    await pipeline.writers.drain()
    await pipeline.writers.close(None)
    return outcome


def run(pipeline: Pipeline, within: float = 60) -> Outcome:
    return asyncio.run(asyncio.wait_for(to_the_end(pipeline), within))


class ListSource(BlockingSource):
    """Plays packets from memory, then raises ``error`` when there is one."""

    name = "list"
    Config = SourceConfig

    def __init__(self, events: EventArray, *, cut: int = 100, error: Exception | None = None) -> None:
        super().__init__(SourceConfig())
        self.events, self.cut, self.error = events, cut, error

    def packets(self) -> Iterator[EventPacket]:
        for at in range(0, len(self.events), self.cut):
            yield EventPacket(self.events[at : at + self.cut], SIZE, SIZE)
        if self.error is not None:
            raise self.error


class LiveSource(Source):
    """Pushes packets without ever waiting for the consumer, as a camera does."""

    name = "push"
    Config = SourceConfig
    live = True

    def __init__(self, events: EventArray, *, cut: int = 100) -> None:
        super().__init__(SourceConfig())
        self.events, self.cut = events, cut

    async def __aiter__(self) -> AsyncIterator[EventPacket]:
        for at in range(0, len(self.events), self.cut):
            yield EventPacket(self.events[at : at + self.cut], SIZE, SIZE)


class ListSink(Sink):
    """Keeps results; fails at the ``fail_at``-th."""

    name = "list"

    def __init__(self, *, fail_at: int | None = None) -> None:
        super().__init__(SinkConfig())
        self.results: list[StepResult] = []
        self.fail_at = fail_at

    async def consume(self, result: StepResult) -> None:
        if len(self.results) == self.fail_at:
            raise RuntimeError("the disk is full")
        self.results.append(result)
