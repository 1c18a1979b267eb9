"""The same files read by two versions of this package, in turn, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

WORKER = """
import sys, time
sys.path.insert(0, "benchmarks")
from formats import ours
from pathlib import Path
for line in sys.stdin:
    path, n = line.rstrip("\\n").rsplit(" ", 1)
    start = time.process_time()
    found = ours(Path(path))
    took = time.process_time() - start
    print(took if found == int(n) else f"read {found} of {n} events", flush=True)
"""
SLOWER = 1.05
"""What a version may take as many times as long as the one before."""


class Version:
    """A version of this package that reads what it is told. A context manager.

    Args:
        python: of an environment in which the version is installed.
        folder: its checkout.
    """

    def __init__(self, python: str, folder: Path) -> None:
        self._process = subprocess.Popen(
            [python, "-c", WORKER], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def seconds(self, path: Path, n: int) -> float:
        """Processor's seconds for reading a file of ``n`` events. Raises SystemExit when it reads others."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(path, n, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline().strip()
        try:
            return float(answer)
        except ValueError:
            raise SystemExit(f"{path}: {answer or 'the other version failed'}") from None


def compared(path: Path, n: int, rounds: int, now: Version, before: Version) -> tuple[float, float]:
    """The best of some rounds of each version, seconds; the first round of both warms up."""
    taken = [(now.seconds(path, n), before.seconds(path, n)) for _ in range(rounds + 1)][1:]
    return min(t for t, _ in taken), min(t for _, t in taken)


def checkout_of(python: str) -> Path:
    """The folder above the environment of this Python."""
    return Path(python).absolute().parents[2]


def slower(ratios: Sequence[tuple[str, float]]) -> None:
    """Raises SystemExit naming the formats that take too many times as long."""
    if found := [f"{name} × {ratio:.2f}" for name, ratio in ratios if ratio > SLOWER]:
        sys.exit(f"slower than before by more than {SLOWER - 1:.0%}: {', '.join(found)}")
