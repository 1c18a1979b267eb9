"""The course of a run for what is drawn of it afterwards: a point every so many timesteps, taken in the learner's
thread and written elsewhere."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from stream_ottt.memory import resident_bytes
from stream_ottt.settings import Unit

if TYPE_CHECKING:
    from stream_ottt.events.timestep import StepResult
    from stream_ottt.learning.session import Session

Every = Annotated[int, Field(ge=1, le=1_000_000), Unit("timesteps")]
"""Timesteps from one point to the next."""

Point = dict[str, Any]
"""``step`` and ``t`` (µs, its end) of the timestep; ``wall_s`` since the beginning; ``accuracy`` as in the summary and
``updates``, so far; ``rss_mb`` (10⁶ bytes). Since the point before, on average over timesteps: ``firing``, the share of
each layer's neurons that fired; ``events``; ``latency_ms``."""


class Curves:
    """Takes the points.

    Args:
        every: timesteps from one to the next.
    """

    def __init__(self, every: int) -> None:
        self._every = every
        self._points: deque[Point] = deque()
        self._began = time.perf_counter()
        self._n = 0
        self._events = 0
        self._latency_s = 0.0
        self._firing: dict[str, float] = {}

    def look(self, session: Session, result: StepResult) -> None:
        """See one timestep; in the learner's thread."""
        self._n += 1
        self._events += result.timestep.events
        self._latency_s += result.prediction.latency_s
        for layer, share in session.learner.predictor.firing().items():
            self._firing[layer] = self._firing.get(layer, 0.0) + share
        step = result.timestep.index
        if (step + 1) % self._every:
            return
        point: Point = {
            "step": step,
            "t": result.timestep.t_end,
            "wall_s": round(time.perf_counter() - self._began, 4),
            "accuracy": session.evaluator.accuracy(),
            "updates": asdict(session.counters.updates),
            "firing": {layer: total / self._n for layer, total in self._firing.items()},
            "rss_mb": rss_mb(),
            "events": self._events / self._n,
            "latency_ms": 1e3 * self._latency_s / self._n,
        }
        self._points.append(point)
        self._n, self._events, self._latency_s, self._firing = 0, 0, 0.0, {}

    def take(self, step: int | None = None) -> list[Point]:
        """The points up to a timestep that were not taken yet, or all; from any one thread."""
        found = []
        while self._points and (step is None or self._points[0]["step"] <= step):
            found.append(self._points.popleft())
        return found


def rss_mb() -> float | None:
    """Resident memory of this process now, MB (10⁶ bytes); None where the system does not say."""
    resident = resident_bytes()
    return None if resident is None else round(resident / 1e6, 2)
