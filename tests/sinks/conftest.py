"""A run made by hand: results and progress as the pipeline would give them to a sink."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from stream_ottt.events.timestep import Prediction, StepResult, Timestep
from stream_ottt.labels.evaluation import Evaluator, PresentationScore
from stream_ottt.pipeline.progress import Progress
from stream_ottt.pipeline.sink import Sink

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


def make_progress(outcomes: list[tuple[int, int]] | None = None, **changes: Any) -> Progress:
    """Progress of a run in which each (truth, said) of ``outcomes`` was a presentation of one scored step."""
    evaluator = Evaluator()
    for truth, said in outcomes or []:
        logits = np.zeros(len(NAMES))
        logits[said] = 3.0
        score = PresentationScore(truth, list(NAMES))
        evaluator.add_step(score, said, softmax(logits))
        evaluator.close(score)
    progress = Progress(source="synthetic:?seed=3", settings={}, evaluation=evaluator)
    progress.class_names = dict(NAMES)
    for name, value in changes.items():
        setattr(progress, name, value)
    return progress


@pytest.fixture
def result() -> Callable[..., StepResult]:
    """Makes one step's result."""
    return make_result


@pytest.fixture
def progress() -> Callable[..., Progress]:
    """Makes the progress of a run."""
    return make_progress


def make_summary(progress: Progress, **changes: Any) -> dict[str, Any]:
    """The summary that ends the run of ``progress``."""
    ledger, updates = progress.ledger, progress.updates
    return {
        "schema": "stream-ottt/summary/1",
        "events": {
            "read": ledger.read,
            "binned": ledger.binned,
            "late": ledger.late,
            "malformed": ledger.malformed,
            "dropped": dict(ledger.dropped),
        },
        "timesteps": progress.timesteps,
        "updates": {"live": updates.live, "deferred": updates.deferred, "rehearsed": updates.rehearsed},
        "accuracy": progress.evaluation.accuracy() | {"per_class": progress.evaluation.per_class()},
        "presentations": progress.evaluation.presentations.n,
        "step_ms": {"p50": 4.2, "p99": 6.1},
        "latency_ms": {"p50": 2.1, "p99": 3.3},
        "wall_s": 20.0,
        "stream_s": 62.0,
        "peak_rss_mb": 412.0,
        "settings": {},
        "seed": 0,
        "versions": {},
        "learning": progress.learning,
        "exit": {"code": 0, "reason": "end of stream"},
    } | changes


def run_sink(
    sink: Sink, progress: Progress, results: Iterable[StepResult], summary: dict[str, Any] | None = None
) -> None:
    """Open, feed and close a sink as the pipeline does; it is closed also when it fails."""

    async def run() -> None:
        await sink.open(progress)
        try:
            for one in results:
                await sink.consume(one)
        finally:
            await sink.close(summary)

    asyncio.run(run())


@pytest.fixture
def summary() -> Callable[..., dict[str, Any]]:
    """Makes the summary of a run."""
    return make_summary


@pytest.fixture
def drive() -> Callable[..., None]:
    """Runs a sink over results."""
    return run_sink
