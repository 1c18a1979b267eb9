"""The histogram of durations against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_ottt.learning.durations import BUCKETS_PER_DECADE, DurationHistogram

HALF_BUCKET = 10 ** (0.5 / BUCKETS_PER_DECADE)


@settings(max_examples=80, deadline=None)
@given(
    seconds=st.lists(st.floats(1e-6, 999.0), min_size=1, max_size=60),
    q=st.sampled_from([0.0, 0.25, 0.5, 0.9, 0.99, 1.0]),
)
def test_quantiles_are_within_half_a_bucket(seconds: list[float], q: float) -> None:
    histogram = DurationHistogram()
    for s in seconds:
        histogram.add(s)
    exact_ms = float(np.quantile(seconds, q, method="inverted_cdf")) * 1e3
    assert exact_ms / HALF_BUCKET * (1 - 1e-9) <= histogram.quantile_ms(q) <= exact_ms * HALF_BUCKET * (1 + 1e-9)
    assert histogram.n == len(seconds)
    assert histogram.total_s == pytest.approx(sum(seconds))


def test_beyond_its_range_durations_are_kept_at_its_ends() -> None:
    histogram = DurationHistogram()
    assert histogram.quantile_ms(0.5) == 0.0
    histogram.add(0.0)
    histogram.add(1e5)
    assert histogram.quantile_ms(0.0) == pytest.approx(1e-3)
    assert histogram.quantile_ms(1.0) == pytest.approx(1e6)
    assert histogram.n == 2
