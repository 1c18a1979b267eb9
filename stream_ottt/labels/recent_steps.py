"""The latest scored timesteps: the windowed accuracy, and what a corrected label changes in it."""

from __future__ import annotations

import numpy as np

from stream_ottt.state import State, take


class RecentSteps:
    """A ring of the latest scored timesteps, 17 bytes each.

    Args:
        size: how many it holds.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._count = 0  # that were ever added
        self._hits = np.zeros(0, np.bool_)
        self._predicted, self._of = np.zeros((2, 0), np.int64)

    def add(self, of: int, predicted: int, hit: bool) -> None:
        """Take the next timestep: the number of its presentation, what was predicted, and whether that was right."""
        if self._count == len(self._hits) < self._size:
            self._grow(min(self._size, 1024 + 2 * self._count))
        at = self._count % self._size
        self._of[at], self._predicted[at], self._hits[at] = of, predicted, hit
        self._count += 1

    def correct(self, of: int, truth: int) -> None:
        """The label of a presentation is another one."""
        mine = np.flatnonzero(self._of[: len(self)] == of)
        self._hits[mine] = self._predicted[mine] == truth

    def retract(self, of: int) -> None:
        """A presentation has no label any more: it leaves, and the others move up."""
        oldest_first = np.roll(np.arange(len(self)), -(self._count % max(len(self), 1)))
        kept = oldest_first[self._of[oldest_first] != of]
        self._hits, self._predicted, self._of = self._hits[kept], self._predicted[kept], self._of[kept]
        self._count = len(kept)

    @property
    def accuracy(self) -> float | None:
        """Share of those that were right, or None without any."""
        return int(np.count_nonzero(self._hits[: len(self)])) / len(self) if self._count else None

    def __len__(self) -> int:
        return min(self._count, self._size)

    def _grow(self, size: int) -> None:
        self._hits, self._predicted, self._of = (
            np.append(held, np.zeros(size - len(held), held.dtype)) for held in (self._hits, self._predicted, self._of)
        )

    def state_dict(self) -> State:
        """What it holds."""
        n = len(self)
        return {
            "count": self._count,
            "hits": self._hits[:n].copy(),
            "predicted": self._predicted[:n].copy(),
            "of": self._of[:n].copy(),
        }

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self._count = take(state, "count")
        self._hits, self._predicted, self._of = (take(state, name).copy() for name in ("hits", "predicted", "of"))
