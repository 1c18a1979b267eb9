"""The event-camera model, against a plain loop over pixels and against what can be worked out by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_ottt.events.packet import EVENT_DTYPE
from stream_ottt.scene.camera_model import EventCamera

EPS = 0.01


def camera(width: int = 4, height: int = 3, **options) -> EventCamera:
    """A camera without noise or mismatch unless asked for."""
    return EventCamera(width, height, **{"mismatch": 0.0, "noise_hz": 0.0, "eps": EPS, **options})


def at_level(level: float | np.ndarray, width: int = 4, height: int = 3) -> np.ndarray:
    """An image whose log intensity is ``level``."""
    return (np.exp(np.broadcast_to(level, (height, width))) - EPS).astype(np.float32)


def feed(cam: EventCamera, images, times) -> np.ndarray:
    return np.concatenate([cam.feed(image, t) for image, t in zip(images, times, strict=True)])


def plain_loop(images, times, on: float, off: float, refractory: int) -> list[tuple[int, int, int, bool]]:
    """(x, y, t, p) of every event, one pixel and one threshold at a time."""
    events = []
    height, width = images[0].shape
    for y in range(height):
        for x in range(width):
            level = [math.log(float(image[y, x]) + EPS) for image in images]
            ref, last = level[0], -math.inf
            for (a, ta), (b, tb) in pairwise(zip(level, times, strict=True)):
                while True:
                    if b >= ref + on:
                        ref, p = ref + on, True
                    elif b <= ref - off:
                        ref, p = ref - off, False
                    else:
                        break
                    t = math.floor(ta + (tb - ta) * (ref - a) / (b - a))
                    if t - last >= refractory:
                        events.append((x, y, t, p))
                        last = t
    return events


@pytest.mark.parametrize("refractory", [0, 700])
@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_a_plain_loop(seed, refractory):
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.integers(500, 6000, 12)).tolist()
    images = [rng.uniform(0.02, 1, (5, 6)).astype(np.float32) for _ in times]
    cam = camera(6, 5, threshold_on=0.3, threshold_off=0.17, refractory_us=refractory)
    got = feed(cam, images, times)
    want = plain_loop(images, times, 0.3, 0.17, refractory)
    assert len(want) > 400 and len({(x, y) for x, y, _, _ in want}) == 30

    # float32 levels put an event at most 1 µs from where doubles put it: compare each pixel in its own order.
    got = sorted(map(tuple, got.tolist()), key=lambda e: (e[0], e[1]))
    want = sorted(want, key=lambda e: (e[0], e[1]))
    assert [(x, y, p) for x, y, _, p in got] == [(x, y, p) for x, y, _, p in want]
    assert max(abs(a[2] - b[2]) for a, b in zip(got, want, strict=True)) <= 1


@pytest.mark.parametrize("sign", [1, -1])
def test_ramp_gives_one_event_per_threshold_at_its_own_time(sign):
    cam = camera(threshold_on=0.1, threshold_off=0.1, refractory_us=0)
    times = np.linspace(0, 105_000, 22).astype(int)
    events = feed(cam, [at_level(-1 + sign * 1.05 * t / 105_000) for t in times], times.tolist())
    assert len(events) == 12 * 10
    assert (events["p"] == (sign > 0)).all()
    for y in range(3):
        for x in range(4):
            own = events[(events["x"] == x) & (events["y"] == y)]["t"]
            assert np.abs(own - 10_000 * np.arange(1, 11)).max() <= 1


def test_on_and_off_have_their_own_thresholds():
    cam = camera(threshold_on=0.2, threshold_off=0.5)
    events = feed(cam, [at_level(v) for v in (-2.0, -0.9, -2.0)], [0, 100_000, 200_000])
    up, down = events[events["t"] < 100_000], events[events["t"] >= 100_000]
    assert len(up) == 12 * 5 and up["p"].all()  # 1.1 / 0.2
    assert len(down) == 12 * 2 and not down["p"].any()  # from L_ref = -1.0


def test_crossings_are_interpolated_so_frames_more_often_change_nothing():
    levels = lambda n: [at_level(v) for v in np.linspace(-2, -0.03, n)]  # noqa: E731
    coarse = feed(camera(threshold_on=0.2), levels(2), [0, 60_000])
    fine = feed(camera(threshold_on=0.2), levels(61), list(range(0, 61_000, 1_000)))
    assert len(coarse) == len(fine) == 12 * 9
    assert np.abs(np.sort(coarse["t"]) - np.sort(fine["t"])).max() <= 1


def test_refractory_period_silences_but_the_reference_follows():
    # Ten thresholds in 10.5 ms, 1 ms apart; 1.5 ms of silence leaves every other one.
    cam = camera(threshold_on=0.1, refractory_us=1_500)
    events = feed(cam, [at_level(-2.0), at_level(-0.95)], [0, 10_500])
    own = events[(events["x"] == 2) & (events["y"] == 1)]["t"]
    assert np.abs(own - [1000, 3000, 5000, 7000, 9000]).max() <= 1
    assert len(cam.feed(at_level(-0.95), 200_000)) == 0
    # The period reaches over images: the crossing right after the image is silenced, the later ones are not.
    cam = camera(threshold_on=0.1, refractory_us=1_500)
    late = feed(cam, [at_level(-2.0), at_level(-1.89), at_level(-1.69)], [0, 1_100, 3_100])
    assert np.abs(late[(late["x"] == 0) & (late["y"] == 0)]["t"] - [1000, 3000]).max() <= 1


def test_thresholds_differ_from_pixel_to_pixel_by_the_mismatch():
    cam = EventCamera(64, 64, threshold_on=0.2, mismatch=0.02, noise_hz=0, refractory_us=0, eps=EPS, seed=1)
    events = feed(cam, [at_level(-4, 64, 64), at_level(0, 64, 64)], [0, 10**6])
    count = np.zeros((64, 64))
    np.add.at(count, (events["y"], events["x"]), 1)
    theta = 4 / (count + 0.5)
    assert abs(theta.mean() - 0.2) < 0.003 and abs(theta.std() - 0.02) < 0.004


def test_noise_is_poisson_at_the_rate_asked_for():
    cam = EventCamera(40, 30, noise_hz=5.0, seed=2)
    events = feed(cam, [at_level(-1, 40, 30)] * 101, range(0, 1_010_000, 10_000))
    expected = 5.0 * 40 * 30
    assert abs(len(events) - expected) < 5 * expected**0.5
    assert abs(events["p"].mean() - 0.5) < 0.05
    counts = np.bincount(events["y"].astype(int) * 40 + events["x"], minlength=1200)
    assert 0.85 < counts.var() / counts.mean() < 1.15
    per_image = np.bincount(events["t"] // 10_000, minlength=100)
    assert 0.5 < per_image.var() / per_image.mean() < 1.6


def test_without_change_and_noise_there_are_no_events():
    assert len(feed(camera(), [at_level(-1)] * 5, range(5))) == 0


def test_same_seed_same_events_and_reset_begins_again():
    rng = np.random.default_rng(0)
    images = [rng.uniform(0, 1, (12, 16)).astype(np.float32) for _ in range(6)]
    times = range(0, 60_000, 10_000)
    cam = EventCamera(16, 12, noise_hz=50, seed=7)
    first = feed(cam, images, times)
    cam.reset()
    assert np.array_equal(first, feed(cam, images, times))
    assert np.array_equal(first, feed(EventCamera(16, 12, noise_hz=50, seed=7), images, times))
    assert not np.array_equal(first, feed(EventCamera(16, 12, noise_hz=50, seed=8), images, times))

    quiet = set(map(tuple, feed(EventCamera(16, 12, noise_hz=0, seed=7), images, times).tolist()))
    cam.reset(noise_seed=(7, 3))
    other = feed(cam, images, times)
    assert not np.array_equal(first, other)
    assert quiet <= set(map(tuple, first.tolist())) and quiet <= set(map(tuple, other.tolist()))


def test_a_crossing_left_over_by_rounding_is_sent_with_the_next_image():
    # Levels two thresholds apart to within a float32 rounding: some second events come one image late.
    rng = np.random.default_rng(0)
    low = rng.uniform(0.05, 0.2, (64, 64)).astype(np.float32)
    high = ((low + np.float32(EPS)) * np.float32(math.exp(0.6)) - np.float32(EPS)).astype(np.float32)
    cam = camera(64, 64, threshold_on=0.3, refractory_us=0)
    feed(cam, [low, high], [0, 1000])
    late = cam.feed(high, 2000)
    assert 0 < len(late) < 64 * 64
    assert (late["t"] == 1000).all() and late["p"].all()
    assert len(cam.feed(high, 3000)) == 0


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_events_are_ordered_in_range_and_add_up_to_the_level(data):
    n = data.draw(st.integers(1, 5))
    times = np.cumsum(data.draw(st.lists(st.integers(1, 5000), min_size=n, max_size=n))).tolist()
    value = st.floats(0, 1, width=32)
    images = [np.array(data.draw(st.lists(value, min_size=6, max_size=6)), np.float32).reshape(2, 3) for _ in range(n)]
    theta = data.draw(st.sampled_from([0.05, 0.25, 1.0]))
    cam = camera(3, 2, threshold_on=theta, threshold_off=theta, refractory_us=0)
    assert len(cam.feed(images[0], times[0])) == 0
    total = np.zeros((2, 3))
    for k in range(1, n):
        events = cam.feed(images[k], times[k])
        assert events.dtype == EVENT_DTYPE
        t = events["t"]
        assert (np.diff(t) >= 0).all() and ((t >= times[k - 1]) & (t < times[k])).all()
        np.add.at(total, (events["y"], events["x"]), np.where(events["p"], theta, -theta))
        change = np.log(images[k] + EPS) - np.log(images[0] + EPS)
        assert (np.abs(change - total) < theta + 1e-4).all()


def test_wrong_images_and_settings_are_refused():
    cam = camera()
    cam.feed(at_level(-1), 10)
    with pytest.raises(ValueError, match="times must increase"):
        cam.feed(at_level(-1), 10)
    with pytest.raises(ValueError, match=r"shape \(4, 3\)"):
        cam.feed(np.zeros((4, 3), np.float32), 20)
    for bad in (-0.1, np.nan, np.inf):
        image = at_level(-1).copy()
        image[1, 2] = bad
        with pytest.raises(ValueError, match="negative or non-finite"):
            cam.feed(image, 20)
    for wrong in (
        {"width": 0},
        {"height": 2**15},
        {"threshold_on": 0.0},
        {"eps": 0.0},
        {"noise_hz": -1},
        {"refractory_us": -1},
    ):
        with pytest.raises(ValueError):
            camera(**wrong)
