"""Speeds of a run, and the course of its accuracy, from its counters."""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from stream_ottt.learning.snapshot import SessionSnapshot
    from stream_ottt.pipeline.view import RunSnapshot

RATE_WINDOW_S = 2.0


class _Sample(NamedTuple):
    wall: float
    stream_us: int
    events: int
    live: int
    rehearsed: int


@dataclass(slots=True)
class Rates:
    """Speeds over the last two seconds of wall time.

    Attributes:
        live: timesteps of the stream per second.
        rehearsed: rehearsed timesteps per second.
        events: events per second of stream time.
        speed: seconds of stream per second.
    """

    live: float = 0.0
    rehearsed: float = 0.0
    events: float = 0.0
    speed: float = 0.0


class Meter:
    """Turns snapshots of a run into speeds, and its outcomes into the course of its accuracy.

    Args:
        started: ``time.perf_counter()`` at the run's start.
    """

    def __init__(self, started: float) -> None:
        self._samples: deque[_Sample] = deque([_Sample(started, 0, 0, 0, 0)])
        self._hits = array("I", [0])  # presentations said right among the first 0, 1, 2, …

    def measure(self, snapshot: RunSnapshot, now: float) -> Rates:
        """Speeds from the samples of the last two seconds; ``now`` is ``time.perf_counter()``."""
        session = snapshot.session
        if session is None:
            return Rates()
        new = _Sample(now, session.stream_us, snapshot.ledger.accounted, session.step_ms.n, session.rehearsal_ms.n)
        self._samples.append(new)
        while len(self._samples) > 2 and self._samples[1].wall < now - RATE_WINDOW_S:
            self._samples.popleft()
        old = self._samples[0]
        wall = max(now - old.wall, 1e-9)
        stream_us = new.stream_us - old.stream_us
        return Rates(
            live=(new.live - old.live) / wall,
            rehearsed=(new.rehearsed - old.rehearsed) / wall,
            events=(new.events - old.events) / stream_us * 1e6 if stream_us > 0 else 0.0,
            speed=stream_us / 1e6 / wall,
        )

    def course(self, session: SessionSnapshot, points: int) -> list[float]:
        """Accuracy along the presentations at up to ``points`` places, each over ten or more before it."""
        del self._hits[len(session.hits) + 1 :]  # a label that is taken back leaves fewer
        for hit in session.hits[len(self._hits) - 1 :]:
            self._hits.append(self._hits[-1] + hit)
        n = len(self._hits) - 1
        points = min(points, n)
        span = max(10, -(-n // max(points, 1)))
        ends = [(i + 1) * n // points for i in range(points)]
        return [(self._hits[end] - self._hits[max(0, end - span)]) / (end - max(0, end - span)) for end in ends]
