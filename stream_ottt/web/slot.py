"""The latest value of one kind, encoded for browsers no more often than anyone can use it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


class Slot:
    """Holds one value; older ones are lost. Nothing is read or encoded while no browser asks.

    Args:
        read: the value as it is now; the same object while nothing has changed, None while there is none.
        encode: makes a part of it.
        interval_s: shortest time between two reads.
    """

    def __init__(self, read: Callable[[], Any], encode: Callable[[Any], bytes], interval_s: float) -> None:
        self._read = read
        self._encode = encode
        self._interval_s = interval_s
        self._due = 0.0
        self._value: Any = None
        self._part: bytes | None = None
        self.version = 0

    def poll(self, *, at_once: bool = False) -> int:
        """Look for a newer value, unless the last look was a moment ago; the version of the value held."""
        now = time.perf_counter()
        if at_once or now >= self._due:
            self._due = now + self._interval_s
            value = self._read()
            if value is not None and value is not self._value:
                self._value, self._part = value, None
                self.version += 1
        return self.version

    def part(self) -> bytes:
        """The value held, encoded."""
        if self._part is None:
            self._part = self._encode(self._value)
        return self._part
