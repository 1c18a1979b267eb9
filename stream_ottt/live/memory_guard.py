"""A bound on what peers of a ZeroMQ socket can make it hold: ZeroMQ limits each frame, not how many a message has.

A message that never ends is held outside of all that can be counted; only the memory of the process shows it.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
import time

from stream_ottt.memory import resident_bytes

LOOK_S = 0.05
"""Time from one look to the next; what comes meanwhile comes on top."""


class MemoryGuard:
    """Tells when the process has grown by more than it may.

    Args:
        room: bytes by which it may grow.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._least = resident_bytes()
        self._next = 0.0

    def exceeded(self) -> bool:
        """Whether it has grown by more since it was smallest; looks every ``LOOK_S``, and else says no."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + LOOK_S
        resident = resident_bytes()
        if resident is None or self._least is None:
            return False
        self._least = min(self._least, resident)
        return resident - self._least > self._room

    def begin_again(self) -> None:
        """What was held has been given up: memory that the process keeps for itself goes back to the system."""
        if sys.platform == "linux" and (name := ctypes.util.find_library("c")) is not None:
            trim = getattr(ctypes.CDLL(name), "malloc_trim", None)
            if trim is not None:
                trim(0)
        self._least = resident_bytes()
