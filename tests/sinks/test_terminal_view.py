"""The terminal's live view at many sizes, and what it is made of."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from screens import busy, rendered

from stream_ottt.events.packet import Ledger
from stream_ottt.learning.snapshot import Durations
from stream_ottt.pipeline.view import Controls, RunView, SinkState
from stream_ottt.sinks.blocks import Picture, bar, chart
from stream_ottt.sinks.keys import KEYS, Keys
from stream_ottt.sinks.meter import Meter, Rates
from stream_ottt.sinks.terminal_account import account_lines, short
from stream_ottt.sinks.terminal_view import live_view, waiting_view


def keys_of(run: RunView) -> Keys:
    """All keys that there are."""

    def act(*_: object) -> Future[Any]:
        raise AssertionError("nothing is pressed")

    names = ("label_now", *(key.control for key in KEYS))
    run.controls = Controls(**dict.fromkeys(names, act))
    return Keys(run)


# The fixtures are factories: every example gets its own objects.
STATELESS = [HealthCheck.function_scoped_fixture]


@settings(max_examples=40, deadline=None, suppress_health_check=STATELESS)
@given(
    width=st.integers(40, 200),
    height=st.integers(12, 60),
    planes=st.integers(1, 2),
    shape=st.sampled_from([(1, 1), (5, 9), (32, 32), (34, 34), (260, 346), (128, 20)]),
    classes=st.integers(1, 12),
    odd=st.booleans(),
)
def test_the_live_view_fits_its_terminal(
    result: Callable,
    view: Callable,
    width: int,
    height: int,
    planes: int,
    shape: tuple[int, int],
    classes: int,
    odd: bool,
) -> None:
    frame = np.random.default_rng(0).integers(0, 3, (planes, *shape)).astype(np.float32)
    run = busy(view)
    logits = np.linspace(0, 9, classes)
    if odd:
        run.set(
            source="/a/long/way/to/some/folder/with/a/recording/of/long/name.aedat4",
            class_names={k: f"a class of a very long name {k}" for k in range(classes)},
            learning="no labels",
            ledger=Ledger(123_456_789_012, 123_456_789_012),
        )
        logits = np.array([np.nan, *([np.inf] * (classes - 1))])
    step = result(3, truth=1, frame=frame, logits=logits, index=0, label=0)
    lines = rendered(live_view(run.shown(), step, Meter(0.0), width, height, keys_of(run)), width, "truecolor")
    assert len(lines) <= height
    assert max(map(cell_len, lines)) <= width
    if width >= 60 and height >= 20:
        assert len(lines) == height
        assert any("timestep 3" in line for line in lines)
        assert any("123,456,789,012 binned" in line for line in lines) == odd


@pytest.mark.parametrize(("width", "height"), [(60, 24), (80, 24), (120, 24), (60, 40), (80, 40), (120, 40)])
def test_usual_terminals_are_filled_and_nothing_is_cut(
    width: int, height: int, result: Callable, view: Callable
) -> None:
    run = busy(view, sensor=(320, 240), filtered=(320, 240), classes=tuple(range(6)))
    frame = np.ones((2, 32, 32), np.float32)
    step = result(12_345, said=2, truth=1, frame=frame)
    lines = rendered(live_view(run.shown(), step, Meter(0.0), width, height, keys_of(run)), width, "truecolor")
    assert len(lines) == height
    text = "\n".join(lines)
    assert "…" not in "\n".join(lines[1:])  # the network's description alone may be cut
    for part in (
        "triangle",
        "timestep 12,345",
        "4.2, p99 6.1 ms",
        "8.4, p99 9.9 ms",
        "9,300 rehearsed",
        "k checkpoint",
    ):
        assert part in text, part
    for digit, name in enumerate(("circle", "triangle", "square", "star", "cross", "ring")):
        assert re.search(rf"^ label .*\b{digit} {name}\b", text, re.MULTILINE)
    equation = re.search(
        r"([\d,]+) read = ([\d,]+) binned\s+\+ ([\d,]+) late\s+\+ ([\d,]+) malformed"
        r"\s+\+ ([\d,]+) dropped\s+\+ ([\d,]+) in hand",
        text,
    )
    assert equation is not None
    read, *rest = (int(n.replace(",", "")) for n in equation.groups())
    assert read == sum(rest) == 12_345_678
    # The picture is in the sensor's aspect, and as large as what stands beside it lets it be.
    drawn = [len(found[1]) for line in lines if (found := re.match(r"│ *([▀▄]{8,}) *│", line))]
    across, down = max(drawn), 2 * len(drawn)
    assert abs(across / down - 4 / 3) < 0.15
    assert across * down / 2 >= width * height * (0.12 if height == 24 else 0.2)


def test_the_live_view_shows_the_state_of_the_run(result: Callable, view: Callable) -> None:
    run = busy(view, sinks={"csv": SinkState("out.csv: cannot be written"), "jsonl": SinkState()})
    rates = Rates(live=154, rehearsed=462, events=420_000, speed=3.1)
    text = "\n".join(rendered(live_view(run.shown(rates), result(9, said=2, truth=1), Meter(0.0), 80, 25), 80))
    for part in (
        "synthetic:?seed=3 · 346×260 · 16-32-AP2-64 (57.4k weights)",
        "● learning",
        "timestep 9",
        "✗ square  truth triangle",
        "0.750 of 4 presentations",
        "steps     154/s",
        "rehearsed 462/s",
        "events    0.420 M/s",
        "stream    62.4 s at 3.10×",
        "step      4.2, p99 6.1 ms",
        "latency   8.4, p99 9.9 ms",
        "updates   1,200 live, 1,800 deferred, 9,300 rehearsed",
        "12,345,678 read = 12,340,000 binned + 78 late + 500 malformed + 5,000 dropped",
        "  + 100 in hand",
        "sink csv failed: out.csv: cannot be written",
    ):
        assert part in text
    assert "✓ square" in "\n".join(rendered(live_view(run.shown(), result(9, said=2, truth=2), Meter(0.0), 80, 24), 80))


@pytest.mark.parametrize(
    ("learning", "updates", "said"),
    [
        ("on", 1, "● learning"),
        ("on", 0, "○ nothing learned yet"),
        ("paused", 1, "○ paused"),
        ("off", 0, "○ off (--no-learn)"),
        ("no labels", 0, "○ nothing learned: no labels"),
    ],
)
def test_the_head_says_whether_it_learns(
    learning: str, updates: int, said: str, result: Callable, view: Callable
) -> None:
    run = busy(view, learning=learning, updates={"live": updates, "deferred": 0, "rehearsed": 0})
    for width in (60, 120):
        first = rendered(live_view(run.shown(), result(0), Meter(0.0), width, 24), width)[0]
        assert first.rstrip().endswith(said)


def test_what_a_live_source_lost_is_in_the_view(result: Callable, view: Callable) -> None:
    def text(**transport: object) -> str:
        run = busy(view, transport=transport)
        return "\n".join(rendered(live_view(run.shown(), result(0), Meter(0.0), 80, 30), 80))

    assert " lost" not in text()
    assert "0 messages lost" in text(lost_messages=0, malformed_messages=0, messages=7, malformed=[])
    assert "1,203 messages lost, 2 messages malformed" in text(lost_messages=1203, malformed_messages=2)
    assert "4 datagrams lost" in text(lost_datagrams=4)


def test_silence_and_a_file_that_is_held_are_said(result: Callable, view: Callable) -> None:
    run = busy(view)
    shown = run.shown()
    for silent_s, held, said in ((1.9, False, "0 events ON OFF"), (12.3, False, "nothing for 12 s"), (0, True, "held")):
        now = replace(shown, silent_s=silent_s, run=replace(shown.run, held=held))
        assert f"─ {said} ─" in "\n".join(rendered(live_view(now, result(0), Meter(0.0), 80, 24), 80))


def test_before_the_first_timestep_it_says_for_what_it_waits(view: Callable) -> None:
    run = view(ledger=Ledger(0))
    for snapshot, said in (
        (replace(run.now, session=None), "waiting for the first events … 3 s"),
        (replace(run.now, session=None, ledger=Ledger(1200)), "1,200 events so far, loading the network … 3 s"),
        (replace(run.now, ledger=Ledger(1200)), "1,200 events so far, less than a timestep … 3 s"),
    ):
        for width in (60, 120):
            lines = rendered(waiting_view(run.facts, snapshot, 3.2, width, None), width)
            assert [line.strip() for line in lines] == ["synthetic:?seed=3", said]


def test_bars_carry_the_labels_of_their_positions(result: Callable, view: Callable) -> None:
    run = view(classes=(40, 30, 20, 10, 50, 60), class_names={20: "twenty"})
    step = result(0, said=2, label=20)
    lines = rendered(live_view(run.shown(), step, Meter(0.0), 80, 24), 80)
    rows = [re.search(r"│ (\w+) +(█\S*|▏) *(\d+)% +│$", line) for line in lines]
    shown = [(m[1], int(m[3])) for m in rows if m]
    assert [name for name, _ in shown] == ["twenty", "60", "50", "10", "30", "40"]
    assert shown[0][1] == round(100 * step.prediction.confidence)


def test_every_cell_of_the_picture_is_two_pixels() -> None:
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 256, (7, 9, 3)).astype(np.uint8)
    lit = rng.random((7, 9)) < 0.6
    console = Console(width=20, color_system="truecolor", force_terminal=True)
    cells: list[list[tuple[object, object]]] = [[]]
    for segment in console.render(Picture(rgb, lit)):
        for character in segment.text:
            if character == "\n":
                cells.append([])
                continue
            ink = segment.style and segment.style.color and tuple(segment.style.color.triplet)
            paper = segment.style and segment.style.bgcolor and tuple(segment.style.bgcolor.triplet)
            cells[-1].append({" ": (None, None), "▀": (ink, paper), "▄": (paper, ink)}[character])
    assert [len(row) for row in cells] == [9] * 4 + [0]
    for y in range(7):
        for x in range(9):
            expected = tuple(int(v) & 0xF8 for v in rgb[y, x]) if lit[y, x] else None
            assert cells[y // 2][x][y % 2] == expected
    # Without colour the shape remains.
    plain = rendered(Picture(rgb, lit), 20)
    assert [[c in "▀█" for c in row.ljust(9)] for row in plain[:3]] == lit[0:6:2].tolist()


def test_bars_and_charts_have_eight_steps_a_cell() -> None:
    assert bar(0.0, 4) == ""
    assert bar(1.0, 4) == "████"
    assert [bar(k / 8, 1) for k in range(1, 9)] == list("▏▎▍▌▋▊▉█")
    assert bar(0.53, 10) == "█████▎"
    assert chart([0.0, 0.5, 1.0], 1) == "▁▄█"
    assert chart([0.0, 0.25, 0.75, 1.0], 2) == "  ▄█\n▁▄██"


def test_counts_in_three_digits() -> None:
    numbers = (0, 7, 843, 999, 1000, 12_345, 999_949, 999_999, 4_567_890, 2.5e9, 123_456_789_012)
    assert [short(n) for n in numbers] == [
        *("0", "7", "843", "999", "1k", "12.3k", "1000k", "1000k", "4.57M", "2.5G", "123G"),
    ]
    assert account_lines(1235, 1000, 200, 30, 4, 1, 40) == [
        "1,235 read = 1,000 binned + 200 late",
        "  + 30 malformed + 4 dropped + 1 in hand",
    ]
    assert account_lines(0, 0, 0, 0, 0, None, 80) == ["0 read = 0 binned + 0 late + 0 malformed + 0 dropped"]


def test_rates_are_over_the_last_two_seconds(view: Callable) -> None:
    run, meter = view(), Meter(100.0)
    steps = stream_us = read = 0
    for second in range(1, 11):
        per_second = 50 if second <= 6 else 200
        steps, stream_us, read = steps + per_second, stream_us + per_second * 20_000, read + per_second * 300
        run.set(
            step_ms=Durations(steps, 1.0, 1.0, 1.0),
            rehearsal_ms=Durations(2 * steps, 1.0, 1.0, 1.0),
            stream_us=stream_us,
            ledger=Ledger(read + 10_000, read),  # read ahead
        )
        rates = meter.measure(run.snapshot(), 100.0 + second)
        if second == 1:
            assert (rates.live, rates.rehearsed, rates.speed) == pytest.approx((50, 100, 1.0))
    assert (rates.live, rates.rehearsed, rates.speed) == pytest.approx((200, 400, 4.0))
    assert rates.events == pytest.approx(15_000)


@settings(max_examples=60, deadline=None, suppress_health_check=STATELESS)
@given(hits=st.lists(st.booleans(), max_size=120), points=st.integers(1, 40), looks=st.integers(1, 4))
def test_the_course_of_accuracy_is_a_running_mean(view: Callable, hits: list[bool], points: int, looks: int) -> None:
    meter, run = Meter(0.0), view()
    for look in range(1, looks + 1):
        run.set(hits=bytes(hits[: len(hits) * look // looks]))
        course = meter.course(run.session, points)
    n = len(hits)
    cells = min(points, n)
    assert len(course) == cells
    for i, value in enumerate(course):
        end = (i + 1) * n // cells
        last = hits[max(0, end - max(10, -(-n // cells))) : end]
        assert value == pytest.approx(sum(last) / len(last))


@pytest.mark.parametrize(("width", "said"), [(120, "no test: learned from before"), (80, "no test"), (60, "no test")])
def test_scores_of_what_was_learned_before_are_no_test(view: Callable, result: Callable, width: int, said: str) -> None:
    run = busy(view, seen_before=True)
    text = "\n".join(rendered(live_view(run.shown(), result(0), Meter(0.0), width, 24), width))
    assert said in text and "accuracy before learning" not in text
