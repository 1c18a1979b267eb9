"""How often the page's thread wakes for results, and how many wait meanwhile; in a time that is counted."""

from __future__ import annotations

import pytest

from stream_ottt.pipeline.sink_writer import WAITING
from stream_ottt.web.browser import FRAME_S
from stream_ottt.web.rest import Rest

TAKE_S = 5e-6
"""Time to take a result that waits."""


def follow(per_s: float, *, drawn: bool, seconds: float = 5.0) -> tuple[int, int, float]:
    """Rests, the most results that waited, and the longest time without a look, of results that come evenly."""
    rest, now, taken, rests, most, longest = Rest(0.0), 0.0, 0, 0, 0, 0.0
    while now < seconds:
        now = max(now, (taken + 1) / per_s)  # none waits: woken by the next one
        most = max(most, int(now * per_s) - taken)
        taken += 1
        now += TAKE_S
        if due := rest.due(now, drawn=drawn):
            rests += 1
            longest = max(longest, due)
            now += due
            rest.ended(now)
    return rests, most, longest


@pytest.mark.parametrize("per_s", [5, 50, 1000, 10_000])
def test_while_no_browser_draws_the_thread_wakes_a_few_times_a_second_or_for_many_results(per_s):
    rests, most, _ = follow(per_s, drawn=False)
    assert rests <= 5 * max(15, per_s / 50)
    assert most <= WAITING / 2


@pytest.mark.parametrize("per_s", [50, 1000, 10_000])
def test_while_one_draws_no_frame_is_older_than_what_it_can_draw(per_s):
    _, most, longest = follow(per_s, drawn=True)
    assert longest < FRAME_S
    assert most <= WAITING / 2


def test_what_came_in_a_rest_is_taken_in_a_row():
    rest, now = Rest(0.0), 30.0  # nothing came for long
    assert rest.due(now, drawn=False) <= 0.1
    rest.ended(now + 0.1)
    assert all(rest.due(now + 0.1 + i * TAKE_S, drawn=False) == 0 for i in range(100))
    assert rest.due(now + 0.11, drawn=False) < 0.1
