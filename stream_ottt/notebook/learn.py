"""A run with ``await``: ``result = await stream_ottt.learn("recording.aedat4", labels="labels.csv")``."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stream_ottt.events.timestep import StepResult
from stream_ottt.learning.session import Session
from stream_ottt.pipeline.sink import Sink, SinkConfig
from stream_ottt.report.recorded import NO_LABEL, Predictions, RecordedRun
from stream_ottt.run.config import merge
from stream_ottt.run.request import RunRequest
from stream_ottt.run.run import Run
from stream_ottt.sinks.curves import Curves, Point


async def learn(
    source: str | Path,
    *,
    preset: str | None = None,
    labels: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    sinks: Sequence[str] = (),
    load: str | Path | None = None,
    save: str | Path | None = None,
    learning: bool = True,
    every: int = 10,
    force: bool = False,
) -> RecordedRun:
    """Run a source through a network that learns while it watches, as ``stream-ottt run`` does.

    It runs in threads beside the event loop; cancelling it ends the run.

    Args:
        source: path or URI.
        preset: name of a preset, or a TOML file.
        labels: CSV of labels.
        settings: nested tables on top, such as ``{"learner": {"lr": 0.01}}``.
        sinks: sink URIs, such as ``"record:runs/first"``.
        load: model file to start from, with its settings.
        save: model file to write at the end.
        learning: False only predicts and scores.
        every: timesteps from one point of the curves to the next.
        force: whether outputs that exist are written anew.

    Returns:
        The run: its summary, a prediction a timestep, its curves.

    Raises:
        StreamOtttError: what cannot be used. Damage that is met on the way is in ``summary["exit"]``.
    """
    own = {} if labels is None else {"labels": {"file": str(labels)}}
    request = RunRequest(
        str(source),
        preset=preset,
        overrides=merge(settings or {}, own),
        sinks=list(sinks),
        load=None if load is None else Path(load),
        save=None if save is None else Path(save),
        learn=learning,
        force=force,
    )
    run, keeper = Run(request), Keeper(every)
    run.sinks.append(keeper)
    await _to_the_end(run)
    return keeper.result(Path(str(source).partition("?")[0]).name or str(source))


async def _to_the_end(run: Run) -> None:
    """Go to the end of a run; when this is cancelled, stop it in order, as Ctrl-C does."""
    going = asyncio.ensure_future(run.go())
    try:
        await asyncio.shield(going)
    except asyncio.CancelledError:
        if run.stopping.act is None:  # nothing has begun that would have to be ended
            going.cancel()
        else:
            run.stopping.act()
        await asyncio.gather(going, return_exceptions=True)
        raise


class Keeper(Sink):
    """Keeps a run in memory: 25 bytes a timestep, and the points of the curves.

    Args:
        every: timesteps from one point to the next.
    """

    name = "notebook"
    looks = True

    def __init__(self, every: int) -> None:
        super().__init__(SinkConfig())
        self._curves = Curves(every)
        self._columns = array("q"), array("q"), array("q"), array("b")
        self._summary: dict[str, Any] = {}
        self._points: list[Point] = []

    def look(self, session: Session, result: StepResult) -> None:
        self._curves.look(session, result)

    async def consume(self, result: StepResult) -> None:
        p, truth = result.prediction, result.truth
        row = (p.t_end, p.label, NO_LABEL if truth is None else truth, result.scored)
        for column, value in zip(self._columns, row, strict=True):
            column.append(value)

    async def close(self, summary: dict[str, Any] | None) -> None:
        self._points = self._curves.take()
        self._summary = summary or {}

    def result(self, name: str) -> RecordedRun:
        """The run, once it has ended."""
        t, label, truth, scored = (np.array(column) for column in self._columns)
        predictions = Predictions(
            t.astype(np.int64), label.astype(np.int64), truth.astype(np.int64), scored.astype(np.bool_)
        )
        return RecordedRun(name, self._summary, predictions, tuple(self._points))
