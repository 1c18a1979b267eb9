"""Values that only the learner's thread can give, for browsers that want them."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from stream_ottt.errors import StreamOtttError

Ask = Callable[[Callable[[Any], Any]], Future[Any]]
"""Calls a function of the session in the learner's thread, between two pieces of work."""


class Asked:
    """The latest value that came. Reading asks for the next, one at a time.

    Args:
        ask: see :data:`Ask`.
        make: makes the value of the session, in the learner's thread; short, and a copy.
        interval_s: shortest time between two questions.
    """

    def __init__(self, ask: Ask, make: Callable[[Any], Any], interval_s: float) -> None:
        self._ask = ask
        self._make = make
        self._interval_s = interval_s
        self._due = 0.0
        self._coming: Future[Any] | None = None
        self._value: Any = None

    def read(self) -> Any:
        """The latest value, or None; waits for nothing."""
        now = time.perf_counter()
        if self._coming is not None and self._coming.done():
            coming, self._coming = self._coming, None
            # Where the stream has not begun, or the run is ending, the value before stands.
            with suppress(StreamOtttError):
                self._value = coming.result()
        if self._coming is None and now >= self._due:
            self._due = now + self._interval_s
            self._coming = self._ask(self._make)
        return self._value
