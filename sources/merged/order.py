"""Several streams of events, each in order of time, as one: what may go on, and what came too late."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stream_ottt.events.clock import NO_EVENTS
from stream_ottt.events.packet import LAST_US, EventArray, join_events


@dataclass(slots=True)
class Waiting:
    """What of one stream waits for the others.

    Attributes:
        chunks: events with the moment (s) at which they came.
        newest: time up to which the stream has been heard, µs; -1 before its first event.
        awaited: False where the others are not to wait for it.
    """

    chunks: deque[tuple[float, EventArray]] = field(default_factory=deque)
    newest: int = -1
    awaited: bool = True


class Order:
    """Merges streams by time. Events of one time go in the order of the streams, whatever the packets.

    An event goes on once every stream that is awaited has come further, or ``wait`` seconds after it came. One that is
    older than what has gone on is too late.

    Args:
        count: how many streams.
        wait: seconds that events wait for the other streams; None waits for ever.

    Attributes:
        streams: what waits, by stream.
        passed: time of the newest event that has gone on, µs; -1 before.
    """

    def __init__(self, count: int, wait: float | None) -> None:
        self.streams = [Waiting() for _ in range(count)]
        self.passed = -1
        self._wait = wait

    @property
    def held(self) -> int:
        """Events that wait."""
        return sum(len(events) for stream in self.streams for _, events in stream.chunks)

    def feed(self, stream: int, events: EventArray, now: float) -> int:
        """Take the next events [n] of a stream, which come at the moment ``now`` (s).

        Returns:
            How many of them are too late; these are not kept.
        """
        if not len(events):
            return 0
        waiting = self.streams[stream]
        waiting.newest = max(waiting.newest, int(events["t"][-1]))
        late = int(np.searchsorted(events["t"], self.passed))
        if late < len(events):
            waiting.chunks.append((now, np.ascontiguousarray(events[late:])))
        return late

    def ready(self, now: float) -> list[EventArray]:
        """What may go on at the moment ``now``, by stream, each in order of time; :func:`merged` makes one of it."""
        bound = self._bound(now)
        out = [_before(stream.chunks, bound) for stream in self.streams]
        self.passed = max([self.passed, *(int(events["t"][-1]) for events in out if len(events))])
        return out

    def due(self) -> float | None:
        """The moment from which on something goes on without the others; None where nothing waits."""
        first = [stream.chunks[0][0] for stream in self.streams if stream.chunks]
        return min(first) + self._wait if first and self._wait is not None else None

    def give_up(self) -> list[int]:
        """Forget what waits; how many events, by stream."""
        counts = [sum(len(events) for _, events in stream.chunks) for stream in self.streams]
        for stream in self.streams:
            stream.chunks.clear()
        return counts

    def _bound(self, now: float) -> int:
        """The time before which all events go on, µs."""
        bound = min((stream.newest for stream in self.streams if stream.awaited), default=LAST_US)
        if self._wait is None:
            return bound
        expired = [
            int(events["t"][-1])
            for stream in self.streams
            for came, events in stream.chunks
            if now - came >= self._wait
        ]
        return max([bound, *(t + 1 for t in expired)])


def merged(parts: list[EventArray]) -> tuple[EventArray, npt.NDArray[np.uint8]]:
    """Events of several streams, each in order of time, as one [n], with the number of the stream of each [n].

    Those of one time go in the streams' order.
    """
    of = np.repeat(np.arange(len(parts), dtype=np.uint8), [len(part) for part in parts])
    some = [part for part in parts if len(part)]
    if len(some) == 1:
        return some[0], of
    events = join_events(some)
    order = np.argsort(events["t"], kind="stable")
    return events[order], of[order]


def _before(chunks: deque[tuple[float, EventArray]], bound: int) -> EventArray:
    """Take the events before ``bound`` (µs) off the chunks."""
    taken = []
    while chunks:
        came, events = chunks[0]
        n = len(events) if events["t"][-1] < bound else int(np.searchsorted(events["t"], bound))
        if n:
            taken.append(events[:n])
        if n < len(events):
            chunks[0] = (came, events[n:])
            break
        chunks.popleft()
    return join_events(taken) if taken else NO_EVENTS
