"""Timesteps whose label is not known yet: kept within a bound of memory, and given back once it is."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from stream_ottt.events.timestep import Prediction
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.learning.rehearsal import Frames


@dataclass(slots=True, eq=False)
class Waiting:
    """A timestep that waits for its label.

    Attributes:
        frame: uint8 [polarities, height, width].
        middle: the middle of its span, µs.
        prediction: what was said of it.
    """

    frame: Frames
    middle: float
    prediction: Prediction


class WaitingRoom:
    """Timesteps that wait for their label, in the order of the stream.

    Args:
        keep_bytes: room for their frames; the oldest go when there are more.
    """

    def __init__(self, keep_bytes: int) -> None:
        self.keep_bytes = keep_bytes
        self._kept: deque[Waiting] = deque()
        self._release_at: int | None = None  # when the next label that something waits for becomes known, µs

    def keep(self, waiting: Waiting) -> int:
        """Keep a timestep that comes after all others; returns how many had to go."""
        self._kept.append(waiting)
        gone = 0
        while len(self._kept) * waiting.frame.nbytes > self.keep_bytes:
            self._kept.popleft()
            gone += 1
        return gone

    def expect(self, known_at: int) -> None:
        """A label that something waits for becomes known at this time, µs."""
        self._release_at = known_at if self._release_at is None else min(known_at, self._release_at)

    def inside(self, interval: LabelInterval) -> list[Waiting]:
        """Those that an interval holds."""
        return [w for w in self._kept if interval.t_start <= w.middle < interval.t_end]

    def oldest(self) -> float | None:
        """The middle of the oldest, µs; None when nothing waits."""
        return self._kept[0].middle if self._kept else None

    def release(self, timeline: LabelTimeline, now: int) -> list[tuple[LabelInterval, list[Frames]]]:
        """Let those go whose label is known at ``now`` (µs): their intervals, and the frames of each."""
        if self._release_at is None or self._release_at > now:
            return []
        self._release_at = None
        kept: deque[Waiting] = deque()
        ready: list[tuple[LabelInterval, list[Frames]]] = []
        for waiting in self._kept:
            interval = timeline.at(waiting.middle)
            if interval is None or timeline.known_at(interval) > now:
                kept.append(waiting)
                if interval is not None:
                    self.expect(timeline.known_at(interval))
            elif ready and ready[-1][0] is interval:
                ready[-1][1].append(waiting.frame)
            else:
                ready.append((interval, [waiting.frame]))
        self._kept = kept
        return ready

    def clear(self) -> None:
        """Give up all that waits."""
        self._kept.clear()
        self._release_at = None
