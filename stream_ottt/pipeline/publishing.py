"""What the learner's thread tells others of itself while it works: snapshots of its session, a few a second."""

from __future__ import annotations

import time
from dataclasses import dataclass

from stream_ottt.learning.durations import DurationHistogram
from stream_ottt.learning.session import Session
from stream_ottt.learning.snapshot import Durations, SessionSnapshot

PUBLISH_S = 0.1
"""Shortest time between two snapshots while there is work."""


@dataclass(frozen=True, slots=True)
class Published:
    """What the thread last said of itself.

    Attributes:
        session: the session's own snapshot.
        latency: from a complete timestep to its prediction.
    """

    session: SessionSnapshot
    latency: Durations


class Publisher:
    """Publishes snapshots; used in the learner's thread.

    Attributes:
        latency: what it was so far, from a complete timestep to its prediction.
        latest: the latest snapshot, read in any thread; None before the first pass.
    """

    def __init__(self) -> None:
        self.latency = DurationHistogram()
        self.latest: Published | None = None
        self._due_at = 0.0  # time.monotonic() of the next one

    def look(self, session: Session) -> Published:
        """A snapshot of now."""
        return Published(session.snapshot(), Durations.of(self.latency))

    def publish(self, session: Session) -> None:
        """Publish a snapshot of now."""
        self.latest = self.look(session)
        self._due_at = time.monotonic() + PUBLISH_S

    def publish_in_time(self, session: Session) -> None:
        """Publish a snapshot where the last one is old."""
        if time.monotonic() >= self._due_at:
            self.publish(session)
