"""Labels of several sources: each source's own, on its own clock, until they are those of the one stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from stream_ottt.labels.alignment import shift_of
from stream_ottt.labels.merging import merge_labels, numbered_alike
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.sources.merged.lane import Lane

MAX_LABELS = 1000
"""Labels that wait for their source's first event, which says what time it is there; more are left out."""


class FileLabels:
    """The labels of recordings that are merged: known as a whole once each has begun.

    Args:
        lanes: the sources in their order, which is that in which they have the word.
        shift: see ``labels.shift``; for each source against its own first event.

    Attributes:
        intervals: the labels of the one stream; None where no source has any.
        names: of their classes.
        counts: by source, how many labels it has, and how many of them another source contradicts.
    """

    def __init__(self, lanes: Sequence[Lane], shift: int | Literal["auto"]) -> None:
        given = []
        for lane in lanes:
            if lane.labels is not None:
                intervals = _shifted(lane, lane.labels.intervals, shift)
                given.append((lane.name, intervals, lane.labels.names))
            elif lane.source.labels is not None:
                given.append((lane.name, list(lane.source.labels), lane.source.class_names))
            else:
                given.append((lane.name, [], {}))
        self.intervals: list[LabelInterval] | None = None
        self.counts = [(0, 0)] * len(lanes)
        alike, self.names = numbered_alike(given)
        if any(lane.labels is not None or lane.source.labels is not None for lane in lanes):
            self.intervals, contradicted = merge_labels(alike)
            self.counts = [(len(own), against) for own, against in zip(alike, contradicted, strict=True)]


class LiveLabels:
    """The labels of one live source: those that come with it, and those of its file, which come as they become known.

    Args:
        lane: the source.
        delay: of the labels of its file; see ``labels.delay``.
        shift: of the labels of its file; see ``labels.shift``.

    Attributes:
        lost: labels that came before the source's first event, and were too many.
    """

    def __init__(self, lane: Lane, delay: int | Literal["end"], shift: int | Literal["auto"]) -> None:
        self.lost = 0
        self._lane = lane
        self._delay = delay
        self._shift = shift
        self._waiting: list[LabelInterval] = []
        self._of_file: deque[tuple[int, LabelInterval]] | None = None

    def come(self, interval: LabelInterval, shift: int | None) -> list[LabelInterval]:
        """A label in the source's time has come; what can go on, ``shift`` µs (None: unknown) later."""
        if shift is not None:
            return [self._moved(interval, shift)]
        if len(self._waiting) < MAX_LABELS:
            self._waiting.append(interval)
        else:
            self.lost += 1
        return []

    def reach(self, t: int, shift: int) -> list[LabelInterval]:
        """The source has come to ``t`` (µs, its own time): labels that can go on, in the run's time."""
        if self._of_file is None:
            self._of_file = self._due()
        out, self._waiting = [self._moved(i, shift) for i in self._waiting], []
        while self._of_file and self._of_file[0][0] <= t:
            out.append(self._moved(self._of_file.popleft()[1], shift))
        return out

    def rest(self, shift: int | None) -> list[LabelInterval]:
        """The source has ended: labels of what it has shown that were not known yet."""
        rest, self._of_file = self._of_file or deque(), None
        last = self._lane.newest
        return [self._moved(i, shift) for _, i in rest if shift is not None and last is not None and i.t_start <= last]

    def _due(self) -> deque[tuple[int, LabelInterval]]:
        labels = self._lane.labels
        if labels is None:
            return deque()
        timeline = LabelTimeline(_shifted(self._lane, labels.intervals, self._shift), delay=self._delay)
        return deque(sorted((timeline.known_at(i), i) for i in timeline))

    def _moved(self, interval: LabelInterval, shift: int) -> LabelInterval:
        start, end = interval.t_start + shift, interval.t_end + shift
        return replace(interval, t_start=start, t_end=end, source=self._lane.name)


def _shifted(lane: Lane, intervals: Sequence[LabelInterval], shift: int | Literal["auto"]) -> list[LabelInterval]:
    span = min(i.t_start for i in intervals), max(i.t_end for i in intervals)
    by = 0 if lane.first is None else shift_of(shift, span, lane.first, name=lane.name)
    return [replace(i, t_start=i.t_start + by, t_end=i.t_end + by) for i in intervals]
