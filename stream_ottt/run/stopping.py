"""Signals that end a run: Ctrl-C, SIGTERM and SIGHUP, also before there is anything to end."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from stream_ottt.errors import INTERRUPTED
from stream_ottt.leaving import leave

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
SAME_S = 1.0
"""A second signal within so many seconds of the first says the same: a shell and a supervisor may both send one."""


class Stopping:
    """While entered, a signal ends the run in order; one that comes a second later or more ends the program at once.

    Before ``act`` is set, nothing has begun that would have to be ended, and the program exits.

    Attributes:
        act: called at the first signal, in the main thread between two of its instructions.
        signal: number of the first signal; None while none came.
    """

    def __init__(self) -> None:
        self.act: Callable[[], object] | None = None
        self.signal: int | None = None
        self._first = 0.0
        self._before: dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        """What the run returns after the signal: 130 for Ctrl-C, else 0."""
        return INTERRUPTED if self.signal == signal.SIGINT else 0

    def __enter__(self) -> Self:
        try:
            self._before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        except ValueError:  # not the main thread: the signals are somebody else's
            self._before = {}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self.signal is not None:
            if time.monotonic() - self._first >= SAME_S:
                for each in SIGNALS:
                    signal.signal(each, signal.SIG_DFL)
                leave()
                signal.raise_signal(number)
            return
        self.signal, self._first = number, time.monotonic()
        if self.act is None:
            sys.exit(self.exit_code)
        self.act()
