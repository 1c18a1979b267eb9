"""A run made by hand: results and snapshots as the pipeline would give them to a sink."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from stream_ottt.events.packet import Ledger
from stream_ottt.events.timestep import Prediction, StepResult, Timestep
from stream_ottt.labels.evaluation import Evaluator
from stream_ottt.labels.presentation_score import PresentationScore
from stream_ottt.learning.snapshot import SessionSnapshot
from stream_ottt.pipeline.sink import Sink
from stream_ottt.pipeline.view import RunFacts, RunSnapshot, RunView
from stream_ottt.run.summary import NOTHING, summarize
from stream_ottt.sinks.meter import Rates
from stream_ottt.sinks.terminal_account import Shown

NAMES = {0: "circle", 1: "triangle", 2: "square", 3: "star", 4: "cross", 5: "ring"}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax of [classes]."""
    e = np.exp(logits - logits.max())
    return e / e.sum()


def make_result(
    step: int = 0,
    *,
    said: int = 0,
    truth: int | None = None,
    frame: np.ndarray | None = None,
    duration: int = 20_000,
    **changes: Any,
) -> StepResult:
    """One step's result; the network is fairly sure of ``said``."""
    if frame is None:
        frame = np.zeros((2, 32, 32), np.float32)
    logits = np.linspace(0.0, 0.5, len(NAMES))
    logits[said] = 2.0
    t = step * duration
    fields: dict[str, Any] = {
        "step": step,
        "t_start": t,
        "t_end": t + duration,
        "logits": logits,
        "index": said,
        "label": said,
        "confidence": float(softmax(logits)[said]),
        "latency_s": 0.0042,
    } | changes
    timestep = Timestep(frame=frame, t_start=t, t_end=t + duration, index=step, events=int(frame.sum()))
    return StepResult(timestep, Prediction(**fields), truth=truth, scored=truth is not None)


class FakeRun(RunView):
    """A run of which everything can be set: fields of facts, snapshot and session, by their names."""

    def __init__(self, outcomes: list[tuple[int, int]], **changes: Any) -> None:
        evaluator = Evaluator()
        for truth, predicted in outcomes:
            logits = np.zeros(len(NAMES))
            logits[predicted] = 3.0
            score = PresentationScore(truth, list(NAMES))
            evaluator.add_step(score, predicted, softmax(logits))
            evaluator.close(score)
        session = replace(
            NOTHING,
            learning="on",
            updates={"live": 1, "deferred": 0, "rehearsed": 0},
            accuracy=evaluator.accuracy(),
            per_class=tuple(evaluator.per_class()),
            presentations=len(evaluator.hits),
            hits=bytes(evaluator.hits),
        )
        super().__init__(RunFacts("synthetic:?seed=3", class_names=dict(NAMES)), lambda: self.now)
        self.now = RunSnapshot(session, Ledger())
        self.set(**changes)

    @property
    def session(self) -> SessionSnapshot:
        assert self.now.session is not None
        return self.now.session

    def set(self, **changes: Any) -> None:
        """Replace fields, wherever they belong."""

        def of(kind: type) -> dict[str, Any]:
            return {f.name: changes.pop(f.name) for f in fields(kind) if f.name in changes}

        self.facts = replace(self.facts, **of(RunFacts))
        session = replace(self.session, **of(SessionSnapshot))
        self.now = replace(self.now, session=session, **of(RunSnapshot))
        assert not changes, changes

    def shown(self, rates: Rates | None = None) -> Shown:
        """As the terminal shows it."""
        return Shown(self.facts, self.now, self.session, rates or Rates())


def make_run(outcomes: list[tuple[int, int]] | None = None, **changes: Any) -> FakeRun:
    """A run in which each (truth, predicted) of ``outcomes`` was a presentation of one scored step."""
    return FakeRun(outcomes or [], **changes)


@pytest.fixture
def result() -> Callable[..., StepResult]:
    """Makes one step's result."""
    return make_result


@pytest.fixture
def view() -> Callable[..., FakeRun]:
    """Makes a run as sinks see it."""
    return make_run


def make_summary(run: FakeRun, **changes: Any) -> dict[str, Any]:
    """The summary that ends ``run``."""
    return summarize(run.facts, run.now, seed=0, code=0, reason="end") | changes


def run_sink(sink: Sink, run: RunView, results: Iterable[StepResult], summary: dict[str, Any] | None = None) -> None:
    """Open, feed and close a sink as the pipeline does; it is closed also when it fails."""

    async def go() -> None:
        await sink.open(run)
        try:
            for one in results:
                await sink.consume(one)
        finally:
            await sink.close(summary)

    asyncio.run(go())


@pytest.fixture
def summary() -> Callable[..., dict[str, Any]]:
    """Makes the summary of a run."""
    return make_summary


@pytest.fixture
def drive() -> Callable[..., None]:
    """Runs a sink over results."""
    return run_sink
