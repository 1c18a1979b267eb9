"""The sensor's own picture of a timestep, from the events as they were recorded."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stream_ottt.events.packet import EventArray
from stream_ottt.sinks.drawing import Frame

KEPT_BYTES = 256 << 20
"""Memory for events whose timestep was not drawn yet; when there are more, the oldest go."""


class _Piece(NamedTuple):
    t: npt.NDArray[np.int64]
    at: npt.NDArray[np.int32]  # index in the flattened picture

    @property
    def nbytes(self) -> int:
        return self.t.nbytes + self.at.nbytes


class SensorPictures:
    """Takes events in one thread, and gives pictures of them in another.

    Args:
        kept_bytes: memory for events that wait.

    Attributes:
        size: (width, height) of the sensor, pixels; None before the first events.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self.size: tuple[int, int] | None = None
        self._kept_bytes = kept_bytes
        self._pieces: deque[_Piece] = deque()
        self._bytes = 0
        self._gone_until = -1  # µs: of times up to here, events may be gone
        self._lock = Lock()

    def add(self, events: EventArray, size: tuple[int, int]) -> None:
        """Take events [n], well-formed and in order of time, of a sensor of ``size`` pixels."""
        width, height = size
        at = (events["p"].astype(np.int32) * height + events["y"]) * width + events["x"]
        with self._lock:
            self.size = size
            self._append(_Piece(events["t"].copy(), at))
            while self._bytes > self._kept_bytes:
                self._gone_until = int(self._pieces[0].t[-1])
                self._bytes -= self._pieces.popleft().nbytes

    def picture(self, start: int, end: int) -> Frame | None:
        """Events per pixel of the times from ``start`` to before ``end``, µs; those before ``end`` are given up.

        Returns:
            float32 [2, height, width], OFF first; None where events are gone, or there were none.
        """
        with self._lock:
            found = self._take(start, end)
            if self.size is None or not found or start <= self._gone_until:
                return None
            width, height = self.size
        counts = np.bincount(np.concatenate(found), minlength=2 * height * width)
        return counts.reshape(2, height, width).astype(np.float32)

    def _take(self, start: int, end: int) -> list[npt.NDArray[np.int32]]:
        found = []
        while self._pieces and self._pieces[0].t[0] < end:
            piece = self._pieces.popleft()
            self._bytes -= piece.nbytes
            first, last = np.searchsorted(piece.t, (start, end)).tolist()
            if last > first:
                found.append(piece.at[first:last])
            if last < len(piece.t):
                self._append(_Piece(piece.t[last:], piece.at[last:]), first=True)
        return found

    def _append(self, piece: _Piece, *, first: bool = False) -> None:
        if len(piece.t):
            (self._pieces.appendleft if first else self._pieces.append)(piece)
            self._bytes += piece.nbytes
