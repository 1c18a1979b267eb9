"""How often the page's thread wakes for results, and how many wait meanwhile; in a time that is counted."""

from __future__ import annotations

import pytest

from stream_ottt.pipeline.sink_writer import WAITING
from stream_ottt.web.rest import PICTURE_S, Rest

TAKE_S = 5e-6
"""Time to take a result that waits."""


def follow(per_s: float, *, drawn: bool, seconds: float = 5.0) -> tuple[int, int, list[float]]:
    """Rests, the most results that waited, and the ends of the rests, of results that come evenly."""
    rest, now, taken, most, ends = Rest(0.0), 0.0, 0, 0, []
    while now < seconds:
        came = int(now * per_s)
        most = max(most, came - taken)
        for _ in range(came - taken):
            rest.took()
            now += TAKE_S
        taken = came
        if due := rest.due(now, drawn=drawn):
            now += due
            ends.append(now)
        else:  # woken by the next one
            now = max(now, (taken + 1) / per_s)
    return len(ends), most, ends


@pytest.mark.parametrize("per_s", [5, 50, 1000, 10_000])
def test_while_no_browser_draws_the_thread_wakes_a_few_times_a_second_or_for_many_results(per_s: float) -> None:
    rests, most, _ = follow(per_s, drawn=False)
    assert rests <= 5 * max(15, per_s / 50)
    assert most <= WAITING / 2


@pytest.mark.parametrize("per_s", [50, 1000, 10_000])
def test_while_one_draws_all_that_came_is_taken_when_a_picture_is_sent(per_s: float) -> None:
    rests, most, ends = follow(per_s, drawn=True)
    pictures = round(5 / PICTURE_S)
    assert sum(min(end % PICTURE_S, -end % PICTURE_S) < 1e-9 for end in ends) >= pictures - 3
    assert rests <= pictures + 5 * per_s / 50
    assert most <= WAITING / 2


def test_when_nothing_came_in_a_rest_the_next_result_wakes_the_thread() -> None:
    rest = Rest(0.0)
    rest.took()
    assert rest.due(30.0, drawn=False) == pytest.approx(0.1)
    assert rest.due(30.1, drawn=False) == 0.0
