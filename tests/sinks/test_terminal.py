"""The terminal: its live view on a pseudo-terminal, plain lines elsewhere, and the table at the end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len
from screens import ANSI, busy, rendered

from stream_ottt.errors import OutputError, UsageError
from stream_ottt.pipeline.view import SinkState
from stream_ottt.sinks.opening import open_sink
from stream_ottt.sinks.terminal_account import plain_line
from stream_ottt.sinks.terminal_report import report

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
        "12,345,678 read = 12,340,000 binned + 78 late + 500 malformed + 5,000 dropped",
        "5,000 overflow",
    ):
        assert row.split() in words, row
    assert "unaccounted" not in " ".join(lines)


def test_on_sixty_columns_nothing_of_the_table_is_cut(view: Callable, summary: Callable) -> None:
    run = busy(view, class_names={0: "anticlockwise"})
    lines = rendered(report(summary(run, wall_s=20.0, stream_s=62.0), 60), 60)
    assert max(map(cell_len, lines)) <= 60
    text = "\n".join(lines)
    assert "…" not in text
    words = " ".join(text.split())
    for part in (
        "network majority no change",
        "class support predicted correct recall precision",
        "anticlockwise 1 2 1",
    ):
        assert part in words
    stripped = [line.strip() for line in lines]
    at = stripped.index("12,345,678 read = 12,340,000 binned + 78 late")
    assert stripped[at + 1] == "+ 500 malformed + 5,000 dropped"


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
    idle = view(updates={"live": 0, "deferred": 0, "rehearsed": 0})
    assert "learning: on, but nothing was learned" in "\n".join(rendered(report(summary(idle)), 80))
    assert "learning: on\n" in "\n".join(line.rstrip() for line in rendered(report(summary(view())), 80))


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
    assert "  pass 2 of 5  " in plain_line(replace(view().shown(), which_pass="pass 2 of 5"), result())
