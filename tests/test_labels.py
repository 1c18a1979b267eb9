"""Label intervals, their files, and when each label becomes known."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_ottt.errors import UsageError
from stream_ottt.labels.sidecar import read_label_csv
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline

HEADER = "class,startTime_usec,endTime_usec\n"

disjoint = st.lists(st.integers(0, 10_000), min_size=2, max_size=30, unique=True).map(
    lambda cuts: [
        LabelInterval(a, b, i % 4) for i, (a, b) in enumerate(zip(sorted(cuts)[::2], sorted(cuts)[1::2], strict=False))
    ]
)


@given(disjoint, st.integers(-5, 10_005), st.randoms())
def test_finds_the_interval_that_a_plain_search_finds(intervals, t, random) -> None:
    shuffled = intervals[:]
    random.shuffle(shuffled)
    timeline = LabelTimeline(shuffled)
    want = next((i for i in intervals if i.t_start <= t < i.t_end), None)
    assert timeline.at(t) == want
    assert list(timeline) == sorted(intervals)


@given(disjoint, st.integers(0, 10_000))
def test_forgets_only_what_has_ended(intervals, t) -> None:
    timeline = LabelTimeline(intervals)
    timeline.forget_before(t)
    assert list(timeline) == [i for i in sorted(intervals) if i.t_end > t]


def test_a_label_becomes_known_after_its_delay_and_never_after_its_end() -> None:
    interval = LabelInterval(1000, 3000, 1)
    assert LabelTimeline([interval], delay=0).known_at(interval) == 1000
    assert LabelTimeline([interval], delay=500).known_at(interval) == 1500
    assert LabelTimeline([interval], delay=5000).known_at(interval) == 3000
    assert LabelTimeline([interval], delay="end").known_at(interval) == 3000


@pytest.mark.parametrize(
    "later",
    [LabelInterval(50, 150, 1), LabelInterval(150, 250, 1), LabelInterval(120, 130, 0), LabelInterval(0, 300, 1)],
)
def test_overlaps_are_refused_whichever_comes_first(later: LabelInterval) -> None:
    first = LabelInterval(100, 200, 0)
    for order in ([first, later], [later, first]):
        timeline = LabelTimeline([order[0]])
        with pytest.raises(UsageError, match="overlap"):
            timeline.add(order[1])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1: expected the header"),
        ("a,b,c\n1,2,3\n", "line 1: expected the header 'class,startTime_usec,endTime_usec' "),
        (HEADER, "no label intervals"),
        (HEADER + "1,2\n", "line 2: expected three integers"),
        (HEADER + "1,0,10\n2,x,30\n", "line 3: expected three integers"),
        (HEADER + "9,0,10\n", "line 2: unknown class 9; expected one of 1, 2"),
        (HEADER + "-1,0,10\n", "line 2: unknown class -1"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "labels.csv"
    file.write_text(text)
    with pytest.raises(UsageError) as error:
        read_label_csv(file, [1, 2])
    assert str(file) in str(error.value) and complaint in str(error.value)


def test_reads_what_a_spreadsheet_writes(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_bytes(b"\xef\xbb\xbf" + HEADER.encode().replace(b"\n", b"\r\n") + b"3,0,10\r\n\r\n1,10,20\r\n")
    assert read_label_csv(file).intervals == [LabelInterval(0, 10, 3), LabelInterval(10, 20, 1)]


def test_bytes_that_are_no_text_are_named_with_their_offset(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_bytes(HEADER.encode() + b"1,\xff,3\n")
    with pytest.raises(UsageError, match=f"byte {len(HEADER) + 2}"):
        read_label_csv(file)
