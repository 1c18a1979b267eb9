"""Small parts that several tests build runs from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import numpy as np

from stream_ottt.events.binning import Binner, BinningConfig
from stream_ottt.events.packet import EventArray, EventPacket, make_events
from stream_ottt.events.timestep import StepResult, Timestep
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.learning.learner import LearnerConfig, OnlineLearner
from stream_ottt.learning.session import Session
from stream_ottt.network.topologies import NetworkConfig, build_network
from stream_ottt.pipeline.progress import Progress
from stream_ottt.pipeline.sink import Sink, SinkConfig
from stream_ottt.pipeline.source import BlockingSource, Source, SourceConfig

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
    network = build_network(
        NetworkConfig(layers=(4,), readout="flatten"), input_shape=(2, SIZE, SIZE), classes=2, seed=seed
    )
    return OnlineLearner(network, config=LearnerConfig(**{"time_steps": 5, **rule}), classes=[1, 2])


def small_session(
    timeline: LabelTimeline | None, *, learner: OnlineLearner | None = None, **options: object
) -> Session:
    session = Session(learner or small_learner(), timeline=timeline, **options)
    session.progress = Progress(source="test", settings={}, evaluation=session.evaluator)
    return session


def timesteps(events: EventArray, timeline: LabelTimeline | None = None) -> list[Timestep]:
    """The timesteps of a stream, cut at the labels' boundaries."""
    from stream_ottt.events.packet import Ledger

    boundaries = [] if timeline is None else timeline.boundaries()
    binner = Binner(BinningConfig(window=WINDOW, width=SIZE, height=SIZE), SIZE, SIZE, Ledger(), boundaries=boundaries)
    return [*binner.feed(events), *binner.flush()]


def prepare_for(session: Session, timeline: LabelTimeline | None = None) -> Callable[..., object]:
    """What a pipeline calls once the sensor is known."""

    def prepare(width: int, height: int, labels: object) -> tuple[Session, Callable[..., object]]:
        config = BinningConfig(window=WINDOW, width=SIZE, height=SIZE)
        boundaries = [] if timeline is None else timeline.boundaries()
        ledger = session.progress.ledger

        def begin_pass(first_index: int, labels: object) -> tuple[Binner, None]:
            return Binner(config, width, height, ledger, boundaries=boundaries, first_index=first_index), None

        return session, begin_pass

    return prepare


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
