"""Labels in event time, and when each becomes known."""

from __future__ import annotations

import csv
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from stream_ottt.errors import UsageError
from stream_ottt.settings import Bytes, Delay, Duration, Settings


class LabelsConfig(Settings):
    """Where labels come from and when they become known.

    Attributes:
        file: CSV sidecar ``class,startTime_usec,endTime_usec``; None for the source's own labels, if it has any.
        delay: time from an interval's start until its label is known (``"500ms"``, ``"0"``), or ``"end"`` for its end.
        classes: the labels that the network tells apart; None for those that occur.
        reset: whether an interval's start and end begin a new sample (state reset). The boundary is then known at its
            time, the label only after ``delay``.
        keep_bytes: room for timesteps that wait for their label, bytes.
        key_span: how far back reaches a label that a person gives in a viewer.
    """

    file: str | None = None
    delay: Delay = 0
    classes: tuple[int, ...] | None = None
    reset: bool = True
    keep_bytes: Bytes = 64 * 2**20
    key_span: Duration = Field(1_000_000, ge=1)


@dataclass(frozen=True, slots=True, order=True)
class LabelInterval:
    """The class shown from ``t_start`` (inclusive) to ``t_end`` (exclusive), both in µs of event time."""

    t_start: int
    t_end: int
    label: int


class LabelTimeline:
    """Label intervals of one stream in order of time, each with the moment at which its label becomes known.

    What was predicted before that moment is what is scored.

    Args:
        intervals: disjoint intervals, in any order.
        delay: µs from an interval's start until its label is known, or ``"end"`` for its end. A delay beyond the
            interval's end is cut there.
        name: where the intervals came from, for messages.

    Raises:
        UsageError: intervals overlap, or one ends before it starts.
    """

    def __init__(
        self, intervals: Iterable[LabelInterval] = (), *, delay: int | Literal["end"] = 0, name: str = "labels"
    ) -> None:
        self.delay = delay
        self.name = name
        self._intervals: list[LabelInterval] = []
        for interval in sorted(intervals):
            self.add(interval)

    def add(self, interval: LabelInterval) -> None:
        """Add an interval, at any time.

        Raises:
            UsageError: it overlaps another one, or ends before it starts.
        """
        if interval.t_end <= interval.t_start:
            raise UsageError(
                f"{self.name}: interval {interval.t_start}..{interval.t_end} of class {interval.label} "
                "ends before it starts; swap its two times"
            )
        i = bisect_right(self._intervals, interval)
        for other in self._intervals[max(i - 1, 0) : i + 1]:
            if other.t_start < interval.t_end and interval.t_start < other.t_end:
                raise UsageError(
                    f"{self.name}: intervals {other.t_start}..{other.t_end} (class {other.label}) and "
                    f"{interval.t_start}..{interval.t_end} (class {interval.label}) overlap; "
                    "a moment can carry one label"
                )
        self._intervals.insert(i, interval)

    def forget_before(self, t: int) -> None:
        """Give up the intervals that end at or before ``t`` (µs)."""
        del self._intervals[: bisect_right(self._intervals, t, key=lambda i: i.t_end)]

    def __len__(self) -> int:
        return len(self._intervals)

    def __iter__(self) -> Iterator[LabelInterval]:
        return iter(self._intervals)

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


def read_label_csv(path: str | Path, classes: Sequence[int] | None = None) -> list[LabelInterval]:
    """Read a CSV sidecar in DVS128 Gesture's convention: ``class,startTime_usec,endTime_usec``, one header line.

    Args:
        path: the CSV file.
        classes: the labels that may occur; None accepts any integer ≥ 0.

    Raises:
        UsageError: naming the file and line: no such file, another header, a field that is no integer, a class
            that is not among ``classes``.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as e:
        raise UsageError(f"{path}: cannot read labels: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise UsageError(f"{path}, byte {e.start}: labels must be UTF-8 text") from e
    rows = csv.reader(text.splitlines())
    header = [h.strip().lower() for h in next(rows, [])]
    if header != ["class", "starttime_usec", "endtime_usec"]:
        raise UsageError(
            f"{path}, line 1: expected the header 'class,startTime_usec,endTime_usec', found {','.join(header)!r}"
        )
    out: list[LabelInterval] = []
    for number, row in enumerate(rows, start=2):
        if not row:
            continue
        try:
            label, start, end = (int(field) for field in row)
        except ValueError:
            raise UsageError(
                f"{path}, line {number}: expected three integers (class, start µs, end µs), found {','.join(row)!r}"
            ) from None
        if label < 0 or (classes is not None and label not in classes):
            expected = "an integer ≥ 0" if classes is None else f"one of {', '.join(map(str, classes))}"
            raise UsageError(f"{path}, line {number}: unknown class {label}; expected {expected}")
        out.append(LabelInterval(start, end, label))
    if not out:
        raise UsageError(f"{path}: no label intervals after the header")
    return out
