"""Labels in event time, and when each becomes known."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from stream_ottt.errors import UsageError
from stream_ottt.settings import Bytes, Delay, Duration, Settings, Shift
from stream_ottt.state import State, take


class LabelsConfig(Settings):
    """Where labels come from and when they become known.

    Attributes:
        file: CSV sidecar ``class,startTime_usec,endTime_usec``; None for the source's own labels, if it has any.
        delay: time from an interval's start until its label is known (``"500ms"``, ``"0"``), or ``"end"`` for its end.
        shift: time that is added to each label of the file (``"-1.5s"``), or ``"auto"``: where all labels end before
            the first event, they count from it.
        classes: the labels that the network tells apart; None for those that occur.
        reset: whether an interval's start and end begin a new sample (state reset). The boundary is then known at its
            time, the label only after ``delay``.
        keep_bytes: memory for timesteps that wait for their label or to be learned, bytes.
        key_span: how far back reaches a label that a person gives in a viewer.
        new_classes: whether a label of an unknown class, that comes while the stream runs, adds that class; else it is
            refused.
        unknown: share of remembered timesteps that count as known, such as 0.8 or 0.95; predictions say ``unknown``
            where what is seen lies farther from all that is remembered, and is predicted with less confidence, than
            these; 0 never says so.
    """

    file: str | None = None
    delay: Delay = 0
    shift: Shift = 0
    classes: tuple[int, ...] | None = None
    reset: bool = True
    keep_bytes: Bytes = 64 * 2**20
    key_span: Duration = Field(1_000_000, ge=1)
    new_classes: bool = False
    unknown: float = Field(0, ge=0, lt=1)

    @field_validator("classes")
    @classmethod
    def _classes(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        seen = set()
        for label in value or ():
            if label < 0:
                raise ValueError(f"class {label} is negative; classes are whole numbers from 0 on")
            if label in seen:
                raise ValueError(f"class {label} stands there twice; name each class once")
            seen.add(label)
        return value


LONGEST_NAME = 64
"""Characters of a class's name."""


@dataclass(frozen=True, slots=True, order=True)
class LabelInterval:
    """The class shown from ``t_start`` (inclusive) to ``t_end`` (exclusive), both in µs of event time.

    Attributes:
        label: the class; -1 where only its ``name`` was told.
        name: the class's name, where it came with a label that is not yet taken.
        source: which of several sources says so; empty where there is one, or it is said of what all see.
    """

    t_start: int
    t_end: int
    label: int
    name: str | None = field(default=None, compare=False)
    source: str = field(default="", compare=False)

    def holds(self, t: float) -> bool:
        """Whether time ``t`` (µs) lies in it."""
        return self.t_start <= t < self.t_end

    def overlaps(self, other: LabelInterval) -> bool:
        """Whether a moment lies in both."""
        return self.t_start < other.t_end and other.t_start < self.t_end

    def check(self, name: str) -> None:
        """Raise UsageError, which begins with ``name``, where the interval holds no time."""
        where = f"{name}: interval {self.t_start}..{self.t_end} of class {self.label}"
        if self.t_end == self.t_start:
            raise UsageError(f"{where} is empty: it starts where it ends; give it a length or leave it out")
        if self.t_end < self.t_start:
            raise UsageError(f"{where} ends before it starts; swap its two times")


class LabelTimeline:
    """Label intervals of one stream in order of time, each with the moment at which its label becomes known.

    What was predicted before that moment is what is scored.

    Args:
        intervals: disjoint intervals, in any order.
        delay: µs from an interval's start until its label is known, or ``"end"`` for its end. A delay beyond the
            interval's end is cut there.
        name: where the intervals came from, for messages.

    Attributes:
        met: how many intervals the stream has met so far.

    Raises:
        UsageError: intervals overlap, one is empty, or one ends before it starts.
    """

    def __init__(
        self, intervals: Iterable[LabelInterval] = (), *, delay: int | Literal["end"] = 0, name: str = "labels"
    ) -> None:
        self.delay = delay
        self.name = name
        self.met = 0
        self._intervals: list[LabelInterval] = []
        self._met: set[LabelInterval] = set()  # those still kept
        self._forgotten = 0  # how many
        self._forgotten_until: int | None = None
        self._begin: int | None = None  # of the first interval ever held
        self._end: int | None = None
        for interval in sorted(intervals):
            self.add(interval)

    def add(self, interval: LabelInterval) -> None:
        """Add an interval, at any time.

        Raises:
            UsageError: it overlaps another one, also one that is forgotten; or it holds no time.
        """
        i = self.check(interval)
        self._intervals.insert(i, interval)
        self._begin = interval.t_start if self._begin is None else min(self._begin, interval.t_start)
        self._end = interval.t_end if self._end is None else max(self._end, interval.t_end)

    def check(self, interval: LabelInterval) -> int:
        """Where in their order it would come; raises as :meth:`add`."""
        interval.check(self.name)
        i = bisect_right(self._intervals, interval)
        for other in self._intervals[max(i - 1, 0) : i + 1]:
            if other.overlaps(interval):
                raise UsageError(
                    f"{self.name}: intervals {other.t_start}..{other.t_end} (class {other.label}) and "
                    f"{interval.t_start}..{interval.t_end} (class {interval.label}) overlap; "
                    "a moment can carry one label"
                )
        if self._forgotten_until is not None and interval.t_start < self._forgotten_until < interval.t_end:
            raise UsageError(
                f"{self.name}: interval {interval.t_start}..{interval.t_end} (class {interval.label}) reaches into "
                f"the time before {self._forgotten_until}, whose labels were used already; a moment can carry one label"
            )
        return i

    def left_by_others(self, interval: LabelInterval) -> tuple[list[LabelInterval], bool]:
        """What of a label is left where other sources said something before, and whether that was anything else.

        Raises:
            UsageError: it overlaps another one of its own source; or it holds no time.
        """
        first = bisect_right(self._intervals, interval.t_start, key=lambda o: o.t_end)
        others = self._intervals[first : bisect_left(self._intervals, interval.t_end, key=lambda o: o.t_start)]
        if not interval.source or not others or any(o.source == interval.source for o in others):
            self.check(interval)
            return [interval], False
        start, parts = interval.t_start, []
        for other in others:
            if start < other.t_start:
                parts.append(replace(interval, t_start=start, t_end=other.t_start))
            start = max(start, other.t_end)
        if start < interval.t_end:
            parts.append(replace(interval, t_start=start))
        return parts, any(other.label != interval.label for other in others)

    def correct(self, wrong: LabelInterval, label: int) -> None:
        """Give an interval another label, where it is not forgotten."""
        if wrong in self._intervals:
            right = replace(wrong, label=label)
            self._intervals[self._intervals.index(wrong)] = right
            if wrong in self._met:
                self._met.remove(wrong)
                self._met.add(right)

    def retract(self, wrong: LabelInterval) -> None:
        """Take an interval out, where it is not forgotten; its time is free again."""
        if wrong in self._intervals:
            self._intervals.remove(wrong)
            if wrong in self._met:
                self._met.remove(wrong)
                self.met -= 1

    def shifted(self, us: int) -> LabelTimeline:
        """The same labels, each ``us`` µs later."""
        moved = (replace(i, t_start=i.t_start + us, t_end=i.t_end + us) for i in self._intervals)
        return LabelTimeline(moved, delay=self.delay, name=self.name)

    def meet(self, interval: LabelInterval) -> None:
        """Note that the stream has a timestep in ``interval``."""
        if interval not in self._met:
            self._met.add(interval)
            self.met += 1

    def forget_before(self, t: int, *, keep: int = 0) -> None:
        """Give up the intervals that end at or before ``t`` (µs), but for the latest ``keep``; no later interval may
        overlap them."""
        n = bisect_right(self._intervals, t, key=lambda i: i.t_end) - keep
        if n > 0:
            self._forgotten += n
            self._met.difference_update(self._intervals[:n])
            latest = self._intervals[n - 1].t_end
            self._forgotten_until = latest if self._forgotten_until is None else max(self._forgotten_until, latest)
            del self._intervals[:n]

    def begin_again(self) -> None:
        """The stream starts anew, at any time: what was forgotten overlaps nothing any more."""
        self._forgotten_until = None

    def unlabelled_since(self, start: int, end: int) -> int:
        """The earliest time from ``start`` on, after which no interval lies before ``end`` (µs)."""
        i = bisect_right(self._intervals, end - 1, key=lambda interval: interval.t_start)
        last = self._intervals[i - 1].t_end if i else start
        return max(start, last, start if self._forgotten_until is None else self._forgotten_until)

    def __len__(self) -> int:
        return len(self._intervals)

    def __iter__(self) -> Iterator[LabelInterval]:
        return iter(self._intervals)

    @property
    def total(self) -> int:
        """How many intervals it was ever given."""
        return len(self._intervals) + self._forgotten

    @property
    def span(self) -> tuple[int, int] | None:
        """(start of the first, end of the last) of all intervals ever held, µs; None without any."""
        return None if self._begin is None or self._end is None else (self._begin, self._end)

    def at(self, t: float) -> LabelInterval | None:
        """The interval that holds time ``t`` (µs), or None."""
        i = bisect_right(self._intervals, t, key=lambda interval: interval.t_start) - 1
        return self._intervals[i] if i >= 0 and t < self._intervals[i].t_end else None

    def known_at(self, interval: LabelInterval) -> int:
        """The moment (µs) at which the label of ``interval`` becomes known."""
        if self.delay == "end":
            return interval.t_end
        return min(interval.t_start + self.delay, interval.t_end)

    def boundaries(self) -> list[int]:
        """Times (µs) at which one sample ends or another begins, ascending."""
        return sorted({t for i in self._intervals for t in (i.t_start, i.t_end)})

    def classes(self) -> list[int]:
        """The distinct labels, ascending."""
        return sorted({i.label for i in self._intervals})

    def state_dict(self) -> State:
        """Its intervals, and which of them were met or forgotten."""
        rows = [(i.t_start, i.t_end, i.label, i in self._met) for i in self._intervals]
        return {
            "intervals": np.array(rows, np.int64).reshape(-1, 4),
            "sources": [i.source for i in self._intervals],
            "delay": self.delay,
            "met": self.met,
            "forgotten": self._forgotten,
            "forgotten_until": self._forgotten_until,
            "span": self.span,
        }

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` gave."""
        rows = take(state, "intervals").tolist()
        self._intervals = [
            LabelInterval(start, end, label, source=source)
            for (start, end, label, _), source in zip(rows, take(state, "sources"), strict=True)
        ]
        self._met = {i for i, row in zip(self._intervals, rows, strict=True) if row[3]}
        self.delay, self.met = take(state, "delay"), take(state, "met")
        self._forgotten, self._forgotten_until = take(state, "forgotten"), take(state, "forgotten_until")
        self._begin, self._end = take(state, "span") or (None, None)
