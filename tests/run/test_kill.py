"""A process that is killed at random moments, again and again, and resumed ends as one that never was, to the bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from resumed import SMALL, result, same

from stream_ottt.run.checkpoint_folder import CheckpointFolder

SOURCE = "synthetic:?presentations=60&duration=100ms&pause=50ms&classes=3"
KILLS = 200 if os.environ.get("SOAK") else 2
"""With SIGKILL; the other signals are sent once."""


def started(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "stream_ottt", *words], cwd=folder, stderr=subprocess.PIPE)


def a_run_in(folder: Path) -> list[str]:
    """The words of a run in a folder, which is made."""
    folder.mkdir()
    settings = [f"--{table}.{key}={value}" for table, keys in SMALL.items() for key, value in keys.items()]
    outputs = ["--predictions=p.jsonl", "--sink=csv:p.csv", "--save=m.safetensors", "--summary=s.json"]
    return ["run", "--source", SOURCE, "--quiet", "--checkpoint=checkpoints", *outputs, *settings]


def newest(folder: Path) -> int:
    return max([0, *CheckpointFolder(folder / "checkpoints").numbers()])


def send(process: subprocess.Popen[bytes], number: int, folder: Path, wanted: int, after: float) -> None:
    """Send a signal a moment after a checkpoint of that number is there, and wait for the end."""
    tick = threading.Event()
    while process.poll() is None and newest(folder) < wanted:
        tick.wait(0.002)
    tick.wait(after)
    process.send_signal(number)
    process.communicate(timeout=60)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_stopped_at_random_moments_and_resumed_it_ends_the_same(number: signal.Signals, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    started(whole, *a_run_in(whole)).communicate(timeout=120)
    expected = result(whole)
    rng = np.random.default_rng(int(number))
    folder = tmp_path / "0"
    words = a_run_in(folder)
    cut = 0  # times that a run was stopped before its end
    while cut < (KILLS if number == signal.SIGKILL else 1):
        wanted = newest(folder) + int(rng.integers(1, 3))
        send(started(folder, *words), number, folder, wanted, float(rng.random() * 0.05))
        words = ["resume", "checkpoints"]
        if CheckpointFolder(folder / "checkpoints").finished() is None:
            cut += 1
        else:
            same(result(folder), expected)
            folder = tmp_path / str(cut)
            words = a_run_in(folder)
    last = started(folder, *words)
    said = last.communicate(timeout=120)[1]
    assert last.returncode == 0, said
    same(result(folder), expected)
