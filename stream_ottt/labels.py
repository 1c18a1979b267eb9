"""Labels in event time, and when each becomes known."""

from __future__ import annotations

import csv
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stream_ottt.errors import UsageError


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
        self, intervals: Iterable[LabelInterval], *, delay: int | str = 0, name: str = "labels"
    ) -> None:
        self.intervals: list[LabelInterval] = sorted(intervals)
        self.delay = delay
        for a in self.intervals:
            if a.t_end <= a.t_start:
                raise UsageError(
                    f"{name}: interval {a.t_start}..{a.t_end} of class {a.label} ends before it starts; "
                    "swap its two times"
                )
        for a, b in zip(self.intervals, self.intervals[1:], strict=False):
            if b.t_start < a.t_end:
                raise UsageError(
                    f"{name}: intervals {a.t_start}..{a.t_end} (class {a.label}) and {b.t_start}..{b.t_end} "
                    f"(class {b.label}) overlap; a moment can carry one label"
                )
        self._starts = [i.t_start for i in self.intervals]

    def __len__(self) -> int:
        return len(self.intervals)

    def __iter__(self) -> Iterator[LabelInterval]:
        return iter(self.intervals)

    def index_at(self, t: float) -> int | None:
        """Index of the interval that holds time ``t`` (µs), or None."""
        i = bisect_right(self._starts, t) - 1
        return i if i >= 0 and t < self.intervals[i].t_end else None

    def known_at(self, index: int) -> int:
        """The moment (µs) at which the label of interval ``index`` becomes known."""
        interval = self.intervals[index]
        if self.delay == "end":
            return interval.t_end
        return min(interval.t_start + int(self.delay), interval.t_end)

    def boundaries(self) -> list[int]:
        """Times (µs) at which one sample ends or another begins, ascending."""
        return sorted({t for i in self.intervals for t in (i.t_start, i.t_end)})

    def classes(self) -> list[int]:
        """The distinct labels, ascending."""
        return sorted({i.label for i in self.intervals})


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
