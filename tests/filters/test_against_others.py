"""The filters against those of tonic and dv-processing, where they define the same; what differs stands here, too."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from stream_ottt.events.packet import EventArray, make_events
from stream_ottt.filters.chain import open_filters

WIDTH, HEIGHT = 30, 20
START = 10**6
"""Well behind zero: tonic and dv-processing take the time before their first event for an event's."""


def stream(n: int = 5000, height: int = HEIGHT) -> EventArray:
    rng = np.random.default_rng(1)
    t = START + np.cumsum(rng.integers(0, 40, n))
    x = np.where(rng.random(n) < 0.5, (t // 1000) % WIDTH, rng.integers(0, WIDTH, n))
    events = make_events(x, rng.integers(0, height, n), t, rng.random(n) < 0.5)
    events[-2:]["x"], events[-2:]["y"] = [0, WIDTH - 1], [0, height - 1]  # tonic takes the sensor from the events
    return events


@pytest.fixture(scope="module")
def transforms() -> Any:
    return pytest.importorskip("tonic.transforms", reason="no tonic for this Python")


def test_dv_processing_keeps_the_same_of_the_background() -> None:
    dv = pytest.importorskip("dv_processing")
    events = stream()
    store = dv.EventStore()
    for x, y, t, p in events.tolist():
        store.push_back(t, x, y, p)
    theirs = dv.noise.BackgroundActivityNoiseFilter((WIDTH, HEIGHT), timedelta(microseconds=2000))
    theirs.accept(store)
    expected = theirs.generateEvents()
    kept = open_filters(["background:?time=2ms"], WIDTH, HEIGHT)(events)
    assert 0.1 < len(kept) / len(events) < 0.9
    np.testing.assert_array_equal(kept["t"], expected.timestamps())
    np.testing.assert_array_equal(np.stack([kept["x"], kept["y"]], 1), expected.coordinates())


def test_tonic_denoise_on_a_line_of_pixels(transforms: Any) -> None:
    """On one line there are two neighbours for tonic as for us; it wants them younger than its time, not as old."""
    events = stream(height=1)
    theirs = transforms.Denoise(filter_time=500)(events.copy())
    kept = open_filters(["background:?time=499us"], WIDTH, 1)(events)
    assert 0.1 < len(kept) / len(events) < 0.9
    np.testing.assert_array_equal(kept, theirs)


def test_tonic_denoise_has_four_neighbours_and_so_keeps_less(transforms: Any) -> None:
    events = stream()
    theirs = transforms.Denoise(filter_time=2000)(events.copy()).tolist()
    ours = open_filters(["background:?time=1999us"], WIDTH, HEIGHT)(events).tolist()
    assert set(theirs) < set(ours)


def test_tonic_refractory_period(transforms: Any) -> None:
    events = stream()
    theirs = transforms.RefractoryPeriod(delta=5000)(events.copy())
    ours = open_filters(["refractory:?period=5ms&since=any"], WIDTH, HEIGHT)(events)
    assert 0.1 < len(ours) / len(events) < 0.9
    np.testing.assert_array_equal(ours, theirs)


def test_tonic_drop_pixel(transforms: Any) -> None:
    events = stream()
    hot = [(3, 5), (0, 0), (WIDTH - 1, HEIGHT - 1)]
    pixels = ",".join(f"{x}:{y}" for x, y in hot)
    np.testing.assert_array_equal(
        open_filters([f"hot:?pixels={pixels}&learn=0"], WIDTH, HEIGHT)(events),
        transforms.DropPixel(coordinates=hot)(events.copy()),
    )


def test_tonic_finds_the_same_hot_pixels(transforms: Any) -> None:
    """tonic looks at the whole recording, as our first window does when it is as long; it looks at no neighbours."""
    from tonic.functional import identify_hot_pixel

    events = stream()
    span = int(events["t"][-1] - events["t"][0])
    theirs = identify_hot_pixel(events, hot_pixel_frequency=110)
    chain = open_filters([f"hot:?learn={span + 1}us&rate={110 * span / (span + 1)}&ratio=0"], WIDTH, HEIGHT)
    assert len(chain(events)) == len(events)
    chain(make_events([0], [0], [events["t"][-1] + 1], [True]))
    assert 5 < len(theirs) < WIDTH * HEIGHT / 2
    assert sorted(chain.describe()["0:hot"]["pixels"]) == sorted(theirs.tolist())
