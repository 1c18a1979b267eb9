"""A Dask cluster on loopback: a scheduler and workers, each in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Cluster:
    """A scheduler, and the workers that are added.

    Attributes:
        address: of the scheduler.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[subprocess.Popen[str]] = []
        scheduler = self._start("dask_scheduler", "--port", "0", "--no-dashboard", "--no-jupyter")
        self.address = said(scheduler, "Scheduler at:").split()[-1]

    def add(self) -> subprocess.Popen[str]:
        """One more worker, which takes one run at a time."""
        own = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0")
        worker = self._start("dask_worker", self.address, *own, "--local-directory", str(self._folder))
        said(worker, "Registered to:")
        return worker

    def _start(self, name: str, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", f"distributed.cli.{name}", "--host", "127.0.0.1", *words]
        pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        self._started.append(subprocess.Popen(command, cwd=self._folder, **pipes))
        return self._started[-1]

    def close(self) -> None:
        """Kill all that still run."""
        for process in self._started:
            process.kill()
            process.communicate()


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster whose processes are gone afterwards."""
    made = Cluster(folder)
    try:
        yield made
    finally:
        made.close()


def said(process: subprocess.Popen[str], what: str) -> str:
    """The line of its log that holds this, once it is there."""
    assert process.stderr is not None
    for line in process.stderr:
        if what in line:
            return line
    raise AssertionError(f"{process.args} ended and never said {what!r}")


def kill_once(mark: str, n: int) -> int:
    """n², but the first to come with 1 kills its process."""
    if n == 1 and not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return n * n


def kill_always(n: int) -> int:
    """Kills its process."""
    os.kill(os.getpid(), signal.SIGKILL)
    return n
