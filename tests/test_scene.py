"""The built-in scene: the classes are what their names say, and nothing but the order in time tells."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from stream_ottt.scene.scene import (
    FADE_US,
    FRAME_US,
    GESTURES,
    LEVEL,
    SIZE,
    Presentation,
    Ring,
    Scene,
    Sweep,
    Turn,
    blank,
)

NAMES = [name for name, _, _ in GESTURES]
PAIRS = [("right", "left"), ("up", "down"), ("clockwise", "anticlockwise"), ("expand", "contract")]


def present(name: str, seed: int, duration_us: int = 1_000_000) -> Presentation:
    return Presentation(NAMES.index(name), np.random.default_rng(seed), duration_us)


@pytest.mark.parametrize(("one", "other"), PAIRS)
@pytest.mark.parametrize("seed", range(3))
def test_one_of_a_pair_is_the_other_played_backwards(one, other, seed):
    a, b = present(one, seed), present(other, seed)
    assert a.direction == -b.direction
    # φ0 is uniform over the cycle, so a shift of it leaves a presentation as likely as before.
    a.phase += b.direction * b.motion.rate * 1.0
    for t in range(0, 1_000_001, 37_000):
        np.testing.assert_allclose(a.image(t), b.image(1_000_000 - t), atol=2e-3)


def moments(p: Presentation, t: float) -> tuple[float, float, float, complex]:
    """Of the shape alone: mean x, mean y, mean radius, and its second moment (x + iy)² about the centre."""
    cover = p.motion.cover(p.phase + p.direction * p.motion.rate * t)
    x, y = p.motion.x, p.motion.y
    weight = cover.sum()
    double = ((x + 1j * y) ** 2 * cover).sum()
    return (
        (x * cover).sum() / weight,
        (y * cover).sum() / weight,
        (np.hypot(x, y) * cover).sum() / weight,
        double,
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", [n for pair in PAIRS for n in pair])
def test_shapes_move_as_the_class_says(name, seed):
    p = present(name, seed)
    moves = []
    for t in np.arange(0, 1, 0.02):
        x0, y0, r0, turn0 = moments(p, t)
        x1, y1, r1, turn1 = moments(p, t + 0.02)
        turned = np.angle(turn1 / turn0)  # y points down: growing means clockwise on the screen
        moves.append(
            {
                "right": x1 - x0,
                "left": x0 - x1,
                "down": y1 - y0,
                "up": y0 - y1,
                "clockwise": turned,
                "anticlockwise": -turned,
                "expand": r1 - r0,
                "contract": r0 - r1,
            }[name]
        )
    # Where the shape starts anew it jumps back, at most 7 times in a second.
    assert np.mean(np.array(moves) > 0) > 0.8
    if name in ("right", "left", "up", "down", "expand", "contract"):
        # At least one of 32×32 cells in 20 ms but for the slowest rings, and never too fast for the images.
        assert 3 < np.median(moves) < 8


def test_edges_never_move_further_than_an_edge_is_wide():
    for seed in range(200):
        for name in ("right", "up", "clockwise", "expand"):
            motion = present(name, seed).motion
            if isinstance(motion, Sweep):
                speed = motion.rate * motion.travel
            elif isinstance(motion, Ring):
                speed = motion.rate * (motion.outer - motion.inner) * 1.25
            else:
                assert isinstance(motion, Turn)
                speed = 2 * np.pi * motion.rate * 54
            assert speed * FRAME_US * 1e-6 < 2.1


def test_drum_hands_beat_in_turn():
    p = present("drum", 1)
    left, right = p.motion.x[0] < 0, p.motion.x[0] > 0
    for phase in (0.1, 0.25, 0.4):
        cover = p.motion.cover(phase)
        y_left, y_right = (
            (p.motion.y[:, side] * cover[:, side]).sum() / cover[:, side].sum() for side in (left, right)
        )
        assert y_left < -4 < 4 < y_right
    np.testing.assert_allclose(p.motion.cover(0.3), p.motion.cover(1.3), atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_a_gesture_fades_in_and_out_with_its_background(name):
    p = present(name, 2, 500_000)
    for t in (0, 500_000, 600_000):
        assert np.array_equal(p.image(t), blank())
    strongest = max(np.abs(p.image(t) - blank()).max() for t in range(FADE_US, 460_000, 20_000))
    for t in (FADE_US // 10, 500_000 - FADE_US // 10):
        assert 0 < np.abs(p.image(t) - blank()).max() < strongest / 5
    for t in range(0, 500_000, 50_000):
        image = p.image(t)
        assert image.shape == (SIZE, SIZE) and image.dtype == np.float32
        assert image.min() > 0.02 and image.max() < 1


def test_brighter_and_darker_shapes_are_equally_likely_and_tell_nothing():
    brighter = {name: np.mean([present(name, s).level > LEVEL for s in range(100)]) for name in ("right", "left")}
    assert brighter["right"] == brighter["left"]
    assert 0.35 < brighter["right"] < 0.65


def test_presentations_of_one_class_differ():
    a, b = present("right", 0), present("right", 1)
    assert a.motion.rate != b.motion.rate and a.phase != b.phase and a.motion.half != b.motion.half
    assert not np.array_equal(a.background, b.background) and not np.array_equal(a.motion.x, b.motion.x)


def scene(**changes) -> Scene:
    return Scene(
        **{
            "seed": 0,
            "presentations": 12,
            "classes": 9,
            "duration_us": 100_000,
            "pause_us": 30_000,
            **changes,
        }
    )


@pytest.mark.parametrize(("presentations", "classes"), [(60, 9), (60, 8), (5, 9), (1, 2), (900, 9)])
def test_classes_are_balanced_and_shuffled(presentations, classes):
    labels = [i.label for i in scene(presentations=presentations, classes=classes).intervals()]
    counts = Counter(labels)
    assert len(labels) == presentations and set(labels) <= set(range(classes))
    assert max(counts.values()) - min(counts[c] for c in range(classes)) <= 1
    if presentations == 900:
        repeats = sum(a == b for a, b in pairwise(labels))
        assert abs(repeats - 100) < 5 * 100**0.5  # as often as in independent draws
    assert labels == [i.label for i in scene(presentations=presentations, classes=classes).intervals()]
    if presentations >= 60:
        other = scene(presentations=presentations, classes=classes, seed=1).intervals()
        assert labels != [i.label for i in other]


def test_intervals_and_images_cover_the_same_time():
    s = scene(duration_us=101_000)
    intervals = s.intervals()
    assert all(i.t_end - i.t_start == 101_000 for i in intervals)
    assert all(b.t_start - a.t_end == 30_000 for a, b in pairwise(intervals))
    images = list(s.images())
    times = [t for _, t in images]
    assert times[0] == 0 and times[-1] == 12 * 131_000
    assert set(np.diff(times[:-1])) == {FRAME_US} and 0 < times[-1] - times[-2] <= FRAME_US
    for image, t in images:
        i = min(t // 131_000, 11)
        p = Presentation(intervals[i].label, np.random.default_rng((0, 1 + i)), 101_000)
        assert np.array_equal(image, p.image(t - intervals[i].t_start))
        if t > 300_000:
            break
