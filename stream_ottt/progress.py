"""How far a long command has come: a bar with the time left on stderr, where that is a terminal."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress

AFTER_S = 2.0
"""What ends earlier shows no bar."""

ESTIMATE_S = 3600.0
"""The time left is worked out from the pace of so many seconds."""


class Bar:
    """While entered, a bar from the third second on. Its methods may be called from any thread, as often as wanted.

    Args:
        what: is being done, in a few words.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._share: float | None = None
        self._told = ""
        self._progress: Progress | None = None
        self._lock = threading.Lock()
        self._over = False
        self._timer = threading.Timer(AFTER_S, self._begin)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        if sys.stderr is not None and sys.stderr.isatty():
            self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._timer.cancel()
        with self._lock:
            self._over = True
            if self._progress is not None:
                self._progress.stop()

    def at(self, share: float | None, told: str = "") -> None:
        """Say how far it has come.

        Args:
            share: 0 … 1; None where that is not known.
            told: what else is to be shown, such as a rate.
        """
        self._share, self._told = share, told
        if self._progress is not None:
            self._show(self._progress)

    def _begin(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        with self._lock:
            if self._over:
                return
            progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TaskProgressColumn(),
                TimeRemainingColumn(elapsed_when_finished=True),
                TextColumn("{task.fields[told]}", markup=False),
                console=Console(stderr=True, highlight=False),
                transient=True,
                refresh_per_second=4,
                redirect_stdout=False,  # which may be a file
                speed_estimate_period=ESTIMATE_S,
            )
            progress.add_task(self._what, total=None, told="")
            progress.start()
            self._show(progress)
            self._progress = progress

    def _show(self, progress: Progress) -> None:
        known = self._share is not None
        progress.update(
            progress.task_ids[0],
            total=1.0 if known else None,
            completed=min(self._share or 0.0, 1.0),
            told=self._told,
        )
