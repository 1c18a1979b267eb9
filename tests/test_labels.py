"""Label intervals, and when each label becomes known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_ottt.errors import UsageError
from stream_ottt.labels.alignment import misfit, mistaken_unit, shift_of, unmet
from stream_ottt.labels.timeline import LabelInterval, LabelsConfig, LabelTimeline

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
    ("interval", "complaint"),
    [
        (LabelInterval(300, 300, 2), "interval 300..300 of class 2 is empty: it starts where it ends"),
        (LabelInterval(300, 200, 2), "interval 300..200 of class 2 ends before it starts; swap its two times"),
    ],
)
def test_an_interval_that_holds_no_time_is_refused_with_its_cause(interval: LabelInterval, complaint: str) -> None:
    with pytest.raises(UsageError) as error:
        LabelTimeline([interval], name="my labels")
    assert str(error.value).startswith("my labels: " + complaint)


def test_it_counts_what_the_stream_met_also_of_what_is_forgotten() -> None:
    a, b, c = (LabelInterval(k, k + 10, 1) for k in (0, 20, 40))
    timeline = LabelTimeline([c, a, b])
    assert (timeline.total, timeline.met, timeline.span) == (3, 0, (0, 50))
    for interval in (a, a, b):
        timeline.meet(interval)
    timeline.forget_before(30)
    assert (timeline.total, timeline.met, timeline.span, list(timeline)) == (3, 2, (0, 50), [c])
    assert LabelTimeline().span is None


def test_no_interval_may_overlap_one_that_is_forgotten_until_the_stream_begins_again() -> None:
    timeline = LabelTimeline([LabelInterval(0, 10, 1), LabelInterval(20, 30, 1)])
    timeline.forget_before(25)
    late = LabelInterval(5, 15, 2)
    with pytest.raises(UsageError, match="reaches into the time before 10, whose labels were used already"):
        timeline.add(late)
    timeline.add(LabelInterval(10, 15, 2))
    timeline.add(LabelInterval(2, 8, 2))  # too late to meet anything
    timeline.begin_again()
    timeline.add(LabelInterval(8, 9, 2))


def test_the_end_of_what_is_forgotten_does_not_go_back() -> None:
    timeline = LabelTimeline([LabelInterval(0, 10, 1)])
    timeline.forget_before(10)
    timeline.add(LabelInterval(2, 8, 2))  # too late to meet anything
    timeline.forget_before(10)
    with pytest.raises(UsageError, match="reaches into the time before 10"):
        timeline.add(LabelInterval(8, 12, 2))


@given(disjoint, st.integers(0, 10_000), st.integers(1, 3000))
def test_finds_since_when_nothing_has_a_label(intervals, end, span) -> None:
    timeline = LabelTimeline(intervals)
    start = max(end - span, 0)
    want = max([start, *(i.t_end for i in intervals if i.t_start < end)])
    assert timeline.unlabelled_since(start, end) == want


@pytest.mark.parametrize(
    ("value", "shift"),
    [("1.5s", 1_500_000), ("-2ms", -2000), ("-7us", -7), ("0", 0), ("auto", "auto")],
)
def test_a_shift_is_a_time_of_either_sign_or_auto(value: object, shift: object) -> None:
    assert LabelsConfig.load({"shift": value}).shift == shift


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"shift": "2 parsecs"}, "labels.shift"),
        ({"shift": True}, "labels.shift"),
        ({"shift": "--2s"}, "labels.shift"),
        ({"classes": [3, 1, 3]}, "labels.classes.*class 3 stands there twice"),
        ({"classes": [1, -1]}, "labels.classes"),
    ],
)
def test_settings_that_mean_nothing_are_refused(values: dict[str, object], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        LabelsConfig.load(values, where="labels")


EPOCH = 1_589_163_147_368_868


@pytest.mark.parametrize(
    ("shift", "labels", "first", "moved"),
    [
        (0, (0, 700), EPOCH, 0),
        (-5, (0, 700), 0, -5),
        ("auto", (0, 700), 100, 0),  # they meet
        ("auto", (0, 700), 700, 700),  # they end before it begins: they count from its first event
        ("auto", (0, 700), EPOCH, EPOCH),
        ("auto", (50, 700), 0, 0),  # what is ahead may still come
    ],
)
def test_labels_are_moved_to_the_stream(shift: object, labels: tuple[int, int], first: int, moved: int) -> None:
    assert shift_of(shift, labels, first, name="my labels") == moved


def test_labels_of_another_epoch_need_a_shift_that_a_person_knows() -> None:
    with pytest.raises(UsageError, match=f"my labels: .*{EPOCH} … {EPOCH + 700} µs.* 0 µs.*labels.shift"):
        shift_of("auto", (EPOCH, EPOCH + 700), 0, name="my labels")


def test_a_timeline_is_moved_as_a_whole() -> None:
    timeline = LabelTimeline([LabelInterval(0, 10, 1), LabelInterval(20, 30, 2)], delay="end", name="mine")
    moved = timeline.shifted(-5)
    assert list(moved) == [LabelInterval(-5, 5, 1), LabelInterval(15, 25, 2)]
    assert (moved.delay, moved.name, moved.span) == ("end", "mine", (-5, 25))
    assert timeline.span == (0, 30)


@pytest.mark.parametrize(
    ("labels", "stream", "said"),
    [
        ((0, 700), (0, None), False),
        ((0, 700), (699, None), False),
        ((0, 700), (700, None), True),  # for certain, whatever comes
        ((0, 700), (EPOCH, EPOCH + 700), True),
        ((500, 700), (0, None), False),
        ((500, 700), (0, 500), True),
        ((500, 700), (0, 501), False),
        ((EPOCH, EPOCH + 700), (0, None), True),  # no stream lasts so long
        (None, (0, 10), False),
    ],
)
def test_labels_that_cannot_meet_the_stream_are_said_with_both_spans(labels, stream, said) -> None:
    line = misfit(labels, stream, name="my labels")
    assert (line is not None) == said
    if line is not None:
        assert line.startswith("my labels: no label meets the stream")
        assert f"{labels[0]} … {labels[1]} µs" in line and f"{stream[0]} " in line and "labels.shift" in line


def test_labels_between_the_timesteps_are_said_too() -> None:
    assert "cover 10 … 20 µs, the stream covers 0 … 90 µs; they lie between" in unmet((10, 20), (0, 90), name="x")


@pytest.mark.parametrize(
    ("labels", "stream", "unit"),
    [
        ((0, 240), (0, 240_000), "ms"),
        ((50, 130), (0, 240_000), "ms"),
        ((0, 110), (0, 240_000), None),  # less than half of it
        ((0, 400), (0, 240_000), None),
        ((0, 134), (10_000, 134_000_000), "s"),
        ((0, 240_000), (0, 240_000), None),
        ((EPOCH // 1_000, EPOCH // 1_000 + 700), (EPOCH, None), "ms"),
        ((EPOCH // 1_000_000, EPOCH // 1_000_000 + 7), (EPOCH, EPOCH + 9_000_000), "s"),
        ((0, 240_000_000), (0, 240_000), "ns"),
        ((0, 110_000_000), (0, 240_000), None),
        ((EPOCH * 1000 + 8, EPOCH * 1000 + 700_000), (EPOCH, None), "ns"),
        ((0, 700), (EPOCH, None), None),
        ((0, 700), (0, None), None),
        ((0, 700), (700_000, None), None),
    ],
)
def test_labels_in_another_unit_than_the_stream_are_told(labels, stream, unit) -> None:
    assert mistaken_unit(labels, stream) == unit
    if unit:
        assert unmet(labels, stream, name="x").endswith(f"; their times look like {unit}; write them in µs")
