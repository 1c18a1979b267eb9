"""Quantiles of durations in constant memory."""

from __future__ import annotations

import math

import numpy as np

from stream_ottt.state import State, take

BUCKETS_PER_DECADE = 50
WIDTH = 10
"""Buckets that make one of those which others are told of: five a decade."""


class DurationHistogram:
    """Quantiles of durations in constant memory: logarithmic buckets, 4.7 % wide, from 1 µs to 1000 s."""

    def __init__(self) -> None:
        self._counts = [0] * (9 * BUCKETS_PER_DECADE + 1)
        self.n = 0
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        bucket = int(math.log10(max(seconds, 1e-6) * 1e6) * BUCKETS_PER_DECADE + 0.5)
        self._counts[min(bucket, len(self._counts) - 1)] += 1
        self.n += 1
        self.total_s += seconds

    def quantile_ms(self, q: float) -> float:
        """The q-quantile in ms, 0 when nothing was counted."""
        seen = 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if count and seen >= q * self.n:
                return float(10 ** (bucket / BUCKETS_PER_DECADE)) / 1e3
        return 0.0

    @staticmethod
    def edges_s() -> tuple[float, ...]:
        """The upper edge of each bucket of :meth:`counts`, seconds; the last is infinite."""
        ends = range(WIDTH, 9 * BUCKETS_PER_DECADE + 1, WIDTH)
        return (*(float(10 ** ((end - 0.5) / BUCKETS_PER_DECADE)) / 1e6 for end in ends), math.inf)

    def counts(self) -> tuple[int, ...]:
        """How many durations in each bucket from 1 µs up, five a decade, the last one open."""
        return tuple(sum(self._counts[at : at + WIDTH]) for at in range(0, len(self._counts), WIDTH))

    def state_dict(self) -> State:
        """What was counted."""
        return {"counts": np.array(self._counts, np.int64), "n": self.n, "total_s": self.total_s}

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self._counts = take(state, "counts").tolist()
        self.n, self.total_s = take(state, "n"), take(state, "total_s")
