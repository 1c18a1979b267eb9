"""The course of the scores over stream time, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

SCORES = ("presentations", "windowed", "kappa", "majority", "no_change")
"""Keys of the accuracy table that are drawn."""

POINTS = 1024
"""Most points kept; when there are more, every other one goes, and from then on half as many are taken."""

CHANGES = 1024
"""Most label changes kept; the oldest go."""

NO_LABEL = -1


class Curves:
    """Samples of the scores, evenly spread over the run, and the moments at which the label changed."""

    def __init__(self) -> None:
        self._points = np.empty((POINTS, 1 + len(SCORES)), np.float32)
        self._n = 0
        self._every = 1  # takes every so many-th sample
        self._samples = 0
        self._changes: deque[tuple[float, int]] = deque(maxlen=CHANGES)

    def sample(self, stream_s: float, accuracy: Mapping[str, float | None]) -> None:
        """Note the scores at a moment of the stream; None where there is none yet."""
        self._samples += 1
        if (self._samples - 1) % self._every:
            return
        if self._n == POINTS:
            self._points[: POINTS // 2] = self._points[::2]
            self._n = POINTS // 2
            self._every *= 2
        scores = [accuracy.get(key) for key in SCORES]
        self._points[self._n] = [stream_s, *(np.nan if score is None else score for score in scores)]
        self._n += 1

    def label(self, stream_s: float, label: int | None) -> None:
        """Note what is shown at a moment of the stream; nothing happens while it stays the same."""
        value = NO_LABEL if label is None else label
        if value != (self._changes[-1][1] if self._changes else NO_LABEL):
            self._changes.append((stream_s, value))

    def arrays(self) -> dict[str, npt.NDArray[np.float32] | npt.NDArray[np.int32]]:
        """``t`` (s) and each of ``SCORES``, float32 [points], NaN where there is none; ``change_t`` float32 and
        ``change_label`` int32 [changes], −1 where a label ended."""
        points = self._points[: self._n]
        found: dict[str, npt.NDArray[np.float32] | npt.NDArray[np.int32]] = {"t": points[:, 0].copy()}
        found |= {key: points[:, i].copy() for i, key in enumerate(SCORES, start=1)}
        found["change_t"] = np.array([t for t, _ in self._changes], np.float32)
        found["change_label"] = np.array([label for _, label in self._changes], np.int32)
        return found
