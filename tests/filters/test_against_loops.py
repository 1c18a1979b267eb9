"""Each filter against its definition, written as a plain loop or as numpy's operation on an image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_ottt.events.packet import EventArray, make_events
from stream_ottt.filters.chain import open_filters
from stream_ottt.filters.hot import HOT

WIDTH, HEIGHT = 5, 4
Event = tuple[int, int, int, bool]

events_of_a_sensor = st.lists(
    st.tuples(
        st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1), st.sampled_from([0, 0, 1, 2, 3, 7, 20]), st.booleans()
    ),
    max_size=60,
).map(lambda rows: in_time_order(rows))


def in_time_order(rows: list[tuple[int, int, int, bool]]) -> list[Event]:
    """Events from rows (x, y, time since the one before, polarity)."""
    now, events = 0, []
    for x, y, gap, p in rows:
        now += gap
        events.append((x, y, now, p))
    return events


def packed(events: list[Event]) -> EventArray:
    return make_events(*zip(*events, strict=True)) if events else make_events([], [], [], [])


def filtered(spec: str, events: list[Event]) -> list[Event]:
    kept: list[Event] = open_filters([spec], WIDTH, HEIGHT)(packed(events)).tolist()
    return kept


@given(events=events_of_a_sensor, time=st.integers(0, 12), neighbours=st.integers(1, 8))
def test_background(events: list[Event], time: int, neighbours: int) -> None:
    last: dict[tuple[int, int], int] = {}
    kept = []
    for x, y, t, p in events:
        around = [(x + dx, y + dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if (dx, dy) != (0, 0)]
        if sum(1 for pixel in around if pixel in last and t - last[pixel] <= time) >= neighbours:
            kept.append((x, y, t, p))
        last[x, y] = t
    assert filtered(f"background:?time={time}us&neighbours={neighbours}", events) == kept


@pytest.mark.parametrize("direction", range(8))
def test_each_neighbour_supports_up_to_the_time(direction: int) -> None:
    dx, dy = [(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if (dx, dy) != (0, 0)][direction]
    for gap, kept in ((0, 1), (7, 1), (8, 0)):
        assert len(filtered("background:?time=7us", [(2 + dx, 2 + dy, 0, True), (2, 2, gap, True)])) == kept


@given(events=events_of_a_sensor, period=st.integers(0, 12), since_any=st.booleans())
def test_refractory(events: list[Event], period: int, since_any: bool) -> None:
    since: dict[tuple[int, int], int] = {}
    kept = []
    for x, y, t, p in events:
        heard = (x, y) not in since or t - since[x, y] > period
        if heard:
            kept.append((x, y, t, p))
        if heard or since_any:
            since[x, y] = t
    assert filtered(f"refractory:?period={period}us&since={'any' if since_any else 'kept'}", events) == kept


@given(events=events_of_a_sensor, learn=st.integers(10, 40), ratio=st.sampled_from([0, 0.5, 1, 2.5]))
def test_hot(events: list[Event], learn: int, ratio: float) -> None:
    # At 10⁶ events a second, a pixel is hot with more than `learn` of them in a window: each event stands for 12 here.
    events = [e for e in events for _ in range(12)]
    hot: set[tuple[int, int]] = set()
    counts: dict[tuple[int, int], int] = defaultdict(int)
    start = events[0][2] if events else 0
    kept = []
    for x, y, t, p in events:
        if t >= start + learn:
            found = set()
            for (cx, cy), count in counts.items():
                around = [
                    counts.get((ax, ay), 0)
                    for ax in range(max(cx - 1, 0), min(cx + 2, WIDTH))
                    for ay in range(max(cy - 1, 0), min(cy + 2, HEIGHT))
                    if (ax, ay) != (cx, cy)
                ]
                if count > learn and count >= ratio * sorted(around)[-2]:
                    found.add((cx, cy))
            hot |= found
            counts.clear()
            while t >= start + learn:
                start += learn
        if (x, y) not in hot:
            kept.append((x, y, t, p))
            counts[x, y] += 1
    chain = open_filters([f"hot:?learn={learn}us&rate=1e6&ratio={ratio}"], WIDTH, HEIGHT)
    assert chain(packed(events)).tolist() == kept
    assert {tuple(pixel) for pixel in chain.describe().get("0:hot", {"pixels": []})["pixels"]} == hot


def test_hot_learns_the_pixel_that_stands_out_and_spares_an_edge() -> None:
    lit = [(0, y) for y in range(HEIGHT)] + [(1, y) for y in range(HEIGHT)]
    hot = [(4, 0), (3, 0)]
    x, y = np.tile(lit + hot, (400, 1)).T
    t = np.repeat(np.arange(400) * 2_000, len(lit + hot))
    chain = open_filters(["hot:?learn=800ms&rate=100"], WIDTH, HEIGHT)
    assert len(chain(make_events(x, y, t, x > 0))) == len(x)
    last = make_events([4, 3, 0, 2], [0] * 4, [800_000] * 4, [True] * 4)
    assert chain(last)["x"].tolist() == [0, 2]
    assert chain.describe() == {"0:hot": {"pixels": [[3, 0], [4, 0]]}}
    assert chain.dropped == {"filter:hot": 2}


def test_time_that_goes_back_begins_a_new_window() -> None:
    glitch = make_events([0], [0], [2**62], [True])
    steady = make_events([2] * 400, [2] * 400, np.arange(400) * 1_000, [True] * 400)
    chain = open_filters(["hot:?learn=100ms&rate=200"], WIDTH, HEIGHT)
    chain(glitch)
    chain(steady)
    assert chain.describe() == {"0:hot": {"pixels": [[2, 2]]}}


def test_a_window_that_was_saved_is_learned_from() -> None:
    chain = open_filters(["hot:?learn=10us&rate=1e6"], WIDTH, HEIGHT)
    chain(make_events([1] * 11, [1] * 11, [0] * 11, [True] * 11))
    resumed = open_filters(["hot:?learn=10us&rate=1e6"], WIDTH, HEIGHT)
    resumed.load_state_dict(chain.state_dict())
    assert not len(resumed(make_events([1], [1], [10], [True])))


def test_windows_are_numbered_anew_when_the_numbers_are_used_up() -> None:
    chain = open_filters(["hot:?learn=10us&rate=1e6&pixels=4:3"], WIDTH, HEIGHT)
    (hot,) = chain.filters
    hot._window = HOT - 3  # type: ignore[attr-defined]
    for window in range(8):
        few = make_events([2] * 6, [2] * 6, [window * 10] * 6, [True] * 6)
        assert len(chain(few)) == 6
    many = make_events([1] * 11 + [1, 2, 4], [1] * 11 + [1, 2, 3], [80] * 11 + [90] * 3, [True] * 14)
    assert chain(many)["x"].tolist() == [1] * 11 + [2]
    assert chain.describe() == {"0:hot": {"pixels": [[1, 1], [4, 3]]}}


def image(events: EventArray, width: int, height: int) -> Any:
    """Counts [polarity, height, width] of events that lie on the sensor."""
    counts = np.zeros((2, height, width), int)
    np.add.at(counts, (events["p"].astype(int), events["y"], events["x"]), 1)
    return counts


@pytest.mark.parametrize(
    ("spec", "operation"),
    [
        ("flip:x", lambda counts: counts[..., ::-1]),
        ("flip:y", lambda counts: counts[:, ::-1]),
        ("transpose", lambda counts: counts.swapaxes(1, 2)),
        ("rotate:90", lambda counts: np.rot90(counts, -1, (1, 2))),
        ("rotate:180", lambda counts: np.rot90(counts, 2, (1, 2))),
        ("rotate:270", lambda counts: np.rot90(counts, 1, (1, 2))),
        ("roi:?left=1&top=2&width=3&height=2", lambda counts: counts[:, 2:4, 1:4]),
        ("polarity:on", lambda counts: counts * [[[0]], [[1]]]),
        ("polarity:off", lambda counts: counts * [[[1]], [[0]]]),
    ],
)
@given(events=events_of_a_sensor)
def test_geometry(spec: str, operation: Callable[[Any], Any], events: list[Event]) -> None:
    chain = open_filters([spec], WIDTH, HEIGHT)
    kept = chain(packed(events))
    np.testing.assert_array_equal(
        image(kept, chain.width, chain.height), operation(image(packed(events), WIDTH, HEIGHT))
    )
    assert set(kept["t"].tolist()) <= {t for *_, t, _ in events}


def test_geometry_on_the_largest_sensor() -> None:
    side = 2**15
    events = make_events([0, side - 1], [side - 1, 5], [0, 1], [0, 1])
    places = {
        "flip": [(side - 1, side - 1), (0, 5)],
        "rotate:90": [(0, 0), (side - 6, side - 1)],
        f"roi:?left=1&top=0&width={side - 1}&height={side}": [(side - 2, 5)],
    }
    for spec, expected in places.items():
        assert [(x, y) for x, y, *_ in open_filters([spec], side, side)(events).tolist()] == expected
