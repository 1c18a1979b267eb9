"""The terminal: its live view on a pseudo-terminal, plain lines elsewhere, and the table at the end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType

from stream_ottt.errors import OutputError, UsageError
from stream_ottt.events.packet import Ledger
from stream_ottt.learning.snapshot import Durations
from stream_ottt.pipeline.view import SinkState
from stream_ottt.sinks.blocks import Picture, bar, chart
from stream_ottt.sinks.meter import Meter, Rates
from stream_ottt.sinks.opening import open_sink
from stream_ottt.sinks.terminal_report import report
from stream_ottt.sinks.terminal_view import ledger_line, live_view, plain_line, short

FACTORY = Path(__file__).with_name("conftest.py")
RUN = """
import importlib.util, sys, time
import numpy as np
from stream_ottt.sinks.opening import open_sink
spec = importlib.util.spec_from_file_location("factory", sys.argv[1])
factory = importlib.util.module_from_spec(spec)
spec.loader.exec_module(factory)
run = factory.make_run([(1, 1), (2, 0)], sensor=(32, 32), network="16-32", parameters=12345)
frame = np.zeros((2, 32, 32), np.float32)
frame[1, 4:20, 4:20] = 1

def stream():
    began = time.perf_counter()
    i = 0
    while time.perf_counter() - began < 0.6:
        yield factory.make_result(i, said=1, truth=1, frame=frame)
        i += 1

sink = open_sink("terminal:?mode=" + sys.argv[2])
factory.run_sink(sink, run, stream(), factory.make_summary(run))
"""
# The fixtures are factories: every example gets its own objects.
STATELESS = [HealthCheck.function_scoped_fixture]
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def rendered(renderable: RenderableType, width: int, colour: str | None = None) -> list[str]:
    """Lines as a terminal of that width gets them."""
    console = Console(width=width, color_system=colour, force_terminal=colour is not None, legacy_windows=False)
    with console.capture() as capture:
        console.print(renderable)
    return [ANSI.sub("", line) for line in capture.get().splitlines()]


def busy(view: Callable, **changes: object) -> Any:
    """A run with something in every counter."""
    return view(
        [(0, 0), (1, 1), (1, 1), (2, 0)],
        **{
            "sensor": (346, 260),
            "network": "16-32-AP2-64",
            "parameters": 57_384,
            "started": time.perf_counter() - 20,
            "ledger": Ledger(12_345_678, 12_340_000, 78, 600, {"overflow": 5000}),
            "updates": {"live": 1200, "deferred": 1800, "rehearsed": 9300},
            "timesteps": 3120,
            "stream_us": 62_400_000,
            "step_ms": Durations(1, 0.0042, 4.2, 6.1),
            **changes,
        },
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_on_a_terminal_the_view_is_drawn_in_place_and_the_table_stays() -> None:
    import fcntl
    import pty
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    for name in ("NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR", "TTY_COMPATIBLE"):
        environment.pop(name, None)
    child = subprocess.Popen(
        [sys.executable, "-c", RUN, str(FACTORY), "auto"], stdout=slave, stderr=subprocess.PIPE, env=environment
    )
    os.close(slave)
    chunks = []
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(master)
    _, errors = child.communicate(timeout=30)
    assert child.returncode == 0, errors.decode()
    text = b"".join(chunks).decode()

    assert "\x1b[?25l" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # the cursor is back
    draws = text.count("● learning")
    assert 2 <= draws <= 8  # at most ten a second
    assert "38;2;248;168;48" in text  # ON in its colour
    assert max(cell_len(ANSI.sub("", line)) for line in re.split(r"[\r\n]+", text)) <= 80
    table = ANSI.sub("", text[text.rindex("\x1b[?25h") :])
    assert "2 presentations" in table
    assert "● learning" not in table


def test_elsewhere_there_are_plain_lines_and_the_table(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    result: Callable,
    view: Callable,
    summary: Callable,
    drive: Callable,
) -> None:
    monkeypatch.setattr("stream_ottt.sinks.terminal.PLAIN_S", 0.0)
    run = busy(view)
    drive(open_sink("terminal"), run, [result(0, said=1, truth=2), result(1, said=1)], summary(run))
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0] == "stream-ottt  synthetic:?seed=3"
    assert re.fullmatch(
        r" +62\.4 s  12\.3M events  \d+ steps/s  [\d.]+x  acc 0\.750 of 4  triangle \(truth square\)", lines[1]
    )
    assert lines[2].endswith("acc 0.750 of 4  triangle")
    assert "\x1b" not in out
    assert max(map(cell_len, lines)) <= 84
    assert any(line.startswith(" 4 presentations ") for line in lines[3:])


def test_plain_lines_come_every_two_seconds(
    capsys: pytest.CaptureFixture[str], result: Callable, view: Callable, drive: Callable
) -> None:
    drive(open_sink("terminal"), view(), [result(i) for i in range(100)])
    assert len(capsys.readouterr().out.splitlines()) == 1  # the first line alone: no summary, not two seconds


def test_quiet_prints_nothing(
    capsys: pytest.CaptureFixture[str], result: Callable, view: Callable, summary: Callable, drive: Callable
) -> None:
    drive(open_sink("terminal:?mode=quiet"), view(), [result(0)], summary(view()))
    assert capsys.readouterr().out == ""


def test_a_mode_that_is_none_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"sink\.mode.*'auto', 'live', 'plain' or 'quiet'"):
        open_sink("terminal:?mode=loud")


def test_a_stdout_that_is_not_utf8_gets_question_marks() -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(FACTORY), "plain"],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b"real time" in done.stdout
    done.stdout.decode("ascii")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("mode", ["plain", "live"])
def test_a_stdout_that_cannot_be_written_is_an_output_error(
    mode: str, monkeypatch: pytest.MonkeyPatch, result: Callable, view: Callable, drive: Callable
) -> None:
    with pytest.raises(OutputError, match="stdout: cannot be written: No space left on device"):  # noqa: SIM117
        with open("/dev/full", "w", encoding="utf-8", buffering=1) as full:  # noqa: PTH123
            monkeypatch.setattr(sys, "stdout", full)
            try:
                drive(open_sink(f"terminal:?mode={mode}"), view(), [result(0)])
            finally:
                monkeypatch.undo()
                os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())  # what is left in its buffer can go


def test_most_calls_cost_a_look_at_the_clock(
    capsys: pytest.CaptureFixture[str], result: Callable, view: Callable, drive: Callable
) -> None:
    took = []

    def stream() -> object:
        one = result(0)
        for _ in range(2000):
            began = time.perf_counter()
            yield one
            took.append(time.perf_counter() - began)

    drive(open_sink("terminal:?mode=live"), view(), stream())
    assert np.median(took) < 50e-6


@settings(max_examples=40, deadline=None, suppress_health_check=STATELESS)
@given(
    width=st.integers(60, 200),
    height=st.integers(20, 60),
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
    lines = rendered(live_view(run.shown(), step, Meter(0.0), width, height), width, "truecolor")
    assert len(lines) <= height
    assert max(map(cell_len, lines)) <= width
    assert any("123G read = 123G binned" in line or "123,456,789,012 read" in line for line in lines) == odd


def test_the_live_view_shows_the_state_of_the_run(result: Callable, view: Callable) -> None:
    run = busy(view, sinks={"csv": SinkState("out.csv: cannot be written"), "jsonl": SinkState()})
    rates = Rates(live=154, rehearsed=462, events=420_000, speed=3.1)
    text = "\n".join(rendered(live_view(run.shown(rates), result(9, said=2, truth=1), Meter(0.0), 80, 25), 80))
    for part in (
        "synthetic:?seed=3 · 346×260 · 16-32-AP2-64 (57.4k weights)",
        "● learning",
        "timestep 9",
        "✗ square  truth triangle",
        "0.750  of 4 presentations",
        "154/s live, 462/s rehearsed",
        "0.420 M/s of stream",
        "3.10× real time, 62.4 s",
        "ms p50",
        "1,200 live, 1,800 deferred, 9,300 rehearsed",
        "12,345,678 read = 12,340,000 binned + 78 late + 600 malformed + 5,000 dropped",
        "sink csv failed: out.csv: cannot be written",
    ):
        assert part in text
    assert "✓ square" in "\n".join(rendered(live_view(run.shown(), result(9, said=2, truth=2), Meter(0.0), 80, 24), 80))
    paused = busy(view, learning="paused")
    assert "○ paused" in "\n".join(rendered(live_view(paused.shown(), result(0), Meter(0.0), 80, 24), 80))


def test_bars_carry_the_labels_of_their_positions(result: Callable, view: Callable) -> None:
    run = view(classes=(40, 30, 20, 10, 50, 60), class_names={20: "twenty"})
    step = result(0, said=2, label=20)
    lines = rendered(live_view(run.shown(), step, Meter(0.0), 80, 24), 80)
    rows = [re.search(r"│ (\w+) +(█\S*|▏) *(\d+)% +│$", line) for line in lines]
    shown = [(m[1], int(m[3])) for m in rows if m]
    assert [name for name, _ in shown] == ["twenty", "60", "50", "10", "30"]
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
    assert ledger_line(1234, 1000, 200, 30, 4, 40) == "1.23k read = 1k binned + 200 late + 30 malformed + 4 dropped"


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
            ledger=Ledger(read),
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


def test_the_table_holds_what_the_run_came_to(view: Callable, summary: Callable) -> None:
    run = busy(view)
    lines = rendered(report(summary(run, wall_s=20.0, stream_s=62.0)), 80)
    assert max(map(cell_len, lines)) <= 80
    words = [line.split() for line in lines]
    for row in (
        "4 presentations 0.750 0.000 0.250",
        "second half of them 0.500",
        "scored timesteps 0.750",
        "kappa (against chance) 0.600",
        "kappa_t (against no change) 0.667",
        "circle 1 2 1 1.000 0.500",
        "square 1 0 0 0.000 –",
        "updates 1,200 live, 1,800 deferred, 9,300 rehearsed",
        "step 4.20 ms p50, 6.10 ms p99",
        "time 62.0 s of stream in 20.0 s (3.10× real time)",
        "12,345,678 read = 12,340,000 binned + 78 late + 600 malformed + 5,000 dropped",
        "5,000 overflow",
    ):
        assert row.split() in words, row
    assert "unaccounted" not in " ".join(lines)


def test_events_in_hand_are_said(view: Callable, summary: Callable) -> None:
    run = busy(view)
    run.now.ledger.read += 3
    assert any("3 events still in hand" in line for line in rendered(report(summary(run)), 80))


def test_a_run_that_learned_nothing_or_ended_early_says_so_once(view: Callable, summary: Callable) -> None:
    run = view(learning="no labels", sinks={"jsonl": SinkState("a.jsonl: disk full")})
    ended = {"code": 130, "reason": "interrupted"}
    text = "\n".join(rendered(report(summary(run, exit=ended)), 80))
    assert text.count("nothing") == 1 and "learning: nothing learned: no labels" in text
    assert "ended early: interrupted (exit code 130)" in text
    assert "no presentation was scored" in text
    assert "sink jsonl failed: a.jsonl: disk full" in text


def test_more_than_twenty_classes_are_left_to_the_summary_file(view: Callable, summary: Callable) -> None:
    run = view()
    rows = [
        {"label": k, "support": 1, "predicted": 1, "correct": 1, "recall": 1.0, "precision": 1.0} for k in range(21)
    ]
    for n, shown in ((20, True), (21, False)):
        accuracy = run.session.accuracy | {"per_class": rows[:n]}
        text = "\n".join(rendered(report(summary(run, accuracy=accuracy)), 80))
        assert ("precision" in text) == shown


def test_a_summary_without_its_optional_keys_is_enough(result: Callable, view: Callable) -> None:
    assert "no presentation was scored" in "\n".join(rendered(report({}), 80))
    assert plain_line(view().shown(), result()).strip().endswith("acc – of 0  circle")
