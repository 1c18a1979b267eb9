"""Label files: the CSV sidecar that lies beside a recording, in DVS128 Gesture's convention."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from stream_ottt.errors import UsageError
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.registry import near_miss

HEADER = ["class", "starttime_usec", "endtime_usec"]
LARGEST = 2**63 - 1
NUMBER = re.compile(r"[+-]?([0-9]+)(\.0*)?", re.ASCII)


class LabelFile(NamedTuple):
    """What a label file holds.

    Attributes:
        intervals: in the order of the file.
        names: label → name, where the file names its classes.
    """

    intervals: list[LabelInterval]
    names: dict[int, str]


def read_label_csv(
    path: str | Path, classes: Collection[int] | None = None, names: Mapping[int, str] | None = None
) -> LabelFile:
    """Read ``class,startTime_usec,endTime_usec`` with one header line; a fourth column names the class.

    Where the class column holds names, they are the labels 0, 1, … in alphabetical order, or those that ``names``
    gives. Blank lines are passed over; ``1.0`` is 1.

    Args:
        path: the CSV file.
        classes: the labels that may occur; None accepts any integer ≥ 0.
        names: label → name, where a model or a source knows them already.

    Raises:
        UsageError: naming the file and line: no such file, another header, a field that is no whole number, an empty
            interval, an unknown class, a class with two names.
    """
    rows = _rows(Path(path))
    if not rows:
        raise UsageError(f"{path}: no label intervals after the header")
    numbers = [_whole(row[0]) for _, row in rows]
    by_name = numbers[0] is None
    for (line, row), number in zip(rows, numbers, strict=True):
        if number is None and _is_number(row[0]):
            raise UsageError(f"{path}, line {line}: class {row[0]!r} is neither a whole number nor a name")
        if (number is None) != by_name:
            raise UsageError(
                f"{path}, line {line}: class {row[0]!r}, where line {rows[0][0]} has {rows[0][1][0]!r}; "
                "write either the number of each class or its name"
            )
    found: dict[int, str] = {}
    if by_name:
        found = dict(names) if names else dict(enumerate(sorted({row[0] for _, row in rows})))
        of_name = {name: label for label, name in found.items()}
        for i, (line, row) in enumerate(rows):
            if row[0] not in of_name:
                raise UsageError(f"{path}, line {line}: unknown class {row[0]!r}{near_miss(row[0], of_name)}")
            numbers[i] = of_name[row[0]]
    intervals = []
    for (line, row), label in zip(rows, numbers, strict=True):
        assert label is not None
        if label < 0 or (classes is not None and label not in classes):
            expected = "an integer ≥ 0" if classes is None else f"one of {', '.join(map(str, classes))}"
            raise UsageError(f"{path}, line {line}: unknown class {label}; expected {expected}")
        start, end = (_time(path, line, row, field) for field in row[1:3])
        interval = LabelInterval(start, end, label)
        interval.check(f"{path}, line {line}")
        name = row[3] if len(row) == 4 else ""
        if name and found.setdefault(label, name) != name:
            raise UsageError(f"{path}, line {line}: class {label} is {found[label]!r} above and {name!r} here")
        intervals.append(interval)
    return LabelFile(intervals, found)


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """(line number, stripped fields) of each line after the header that is not blank."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as e:
        raise UsageError(f"{path}: cannot read labels: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise UsageError(f"{path}, byte {e.start}: labels must be UTF-8 text; save the file as UTF-8") from e
    rows = []
    header = None
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            fields = [field.strip() for field in next(csv.reader([line]), [])]
        except csv.Error as e:
            raise UsageError(f"{path}, line {number}: no line of CSV: {e}") from e
        if header is None:
            header = [field.lower() for field in fields]
            if header[:3] != HEADER or len(header) > 4:
                raise UsageError(
                    f"{path}, line 1: expected the header 'class,startTime_usec,endTime_usec' "
                    f"(a fourth column may name the class), found {line.strip()[:80]!r}"
                )
        elif any(fields):
            if not 3 <= len(fields) <= 4 or not fields[0]:
                raise UsageError(
                    f"{path}, line {number}: expected three integers (class, start µs, end µs), "
                    f"and perhaps the name of the class; found {line.strip()[:80]!r}"
                )
            rows.append((number, fields))
    return rows


def _whole(field: str) -> int | None:
    """The whole number that a field holds, also written ``12.0``; None where it holds no number."""
    match = NUMBER.fullmatch(field)
    return None if match is None or len(match[1]) > 19 else int(field.partition(".")[0])


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _time(path: str | Path, line: int, row: list[str], field: str) -> int:
    time = _whole(field)
    if time is None or abs(time) > LARGEST:
        raise UsageError(
            f"{path}, line {line}: expected three integers (class, start µs, end µs), "
            f"found {','.join(row)[:80]!r}; times are whole µs"
        )
    return time
