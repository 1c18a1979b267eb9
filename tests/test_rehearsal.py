"""The rehearsal memory: bounded, balanced, a fair reservoir."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_ottt.learning.rehearsal import RehearsalConfig, RehearsalMemory, Stretch, jitter


def stretch(label: int, size: int = 10, mark: int = 0) -> Stretch:
    return Stretch(np.full((size, 1, 1, 1), mark % 256, np.uint8), label)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 30)), max_size=200),
    st.integers(0, 200),
    st.integers(0, 2**32 - 1),
)
def test_never_exceeds_its_bytes(stored: list[tuple[int, int]], max_bytes: int, seed: int) -> None:
    memory = RehearsalMemory(max_bytes, np.random.default_rng(seed))
    for label, size in stored:
        memory.store(stretch(label, size))
        held = [s for kept in memory._kept.values() for s in kept]
        assert memory.bytes == sum(s.frames.nbytes for s in held) <= max_bytes
        assert len(memory) == len(held)


def test_a_rare_class_keeps_its_share() -> None:
    memory = RehearsalMemory(400, np.random.default_rng(0))
    for i in range(1000):
        memory.store(stretch(1 if i % 50 == 0 else 0))
    counts = memory.counts()
    assert counts[1] >= 18 and sum(counts.values()) == 40


def test_within_a_class_every_stretch_is_kept_with_the_same_probability() -> None:
    kept = np.zeros(100)
    for seed in range(2000):
        memory = RehearsalMemory(100, np.random.default_rng(seed))
        for i in range(100):
            memory.store(stretch(0, mark=i))
        for s in memory._kept[0]:
            kept[s.frames.flat[0]] += 1
    # 2000 draws at p = 0.1 each: a standard deviation of 13 around 200.
    assert np.all(np.abs(kept - 200) < 70)
    assert abs(kept[:50].sum() - kept[50:].sum()) < 6 * np.sqrt(20000 * 0.25)


def test_draws_each_class_equally_often() -> None:
    memory = RehearsalMemory(10**6, np.random.default_rng(0))
    for i in range(100):
        memory.store(stretch(0 if i else 1))
    drawn = [memory.draw() for _ in range(2000)]
    assert 850 < sum(s is not None and s.label == 1 for s in drawn) < 1150


def test_an_empty_memory_draws_nothing() -> None:
    assert RehearsalMemory(0, np.random.default_rng(0)).draw() is None


def test_jitter_moves_all_frames_alike_and_no_further_than_asked() -> None:
    frames = np.zeros((3, 2, 9, 11), np.uint8)
    frames[:, 1, 4, 5] = 7
    seen = set()
    for seed in range(200):
        moved = jitter(frames, np.random.default_rng(seed), shift=2, zoom=1.0)
        (y,), (x,) = np.nonzero(moved[0, 1])
        assert (moved == moved[0]).all() and moved.sum() == 3 * 7
        seen.add((y - 4, x - 5))
    assert seen == {(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3)}
    assert frames[0, 1, 4, 5] == 7


def test_jitter_zooms_about_the_middle_and_leaves_nothing_beyond_the_edge() -> None:
    frames = np.zeros((1, 1, 21, 21), np.uint8)
    frames[..., 5:16, 5:16] = 1
    widths = set()
    for seed in range(200):
        zoomed = jitter(frames, np.random.default_rng(seed), shift=0, zoom=2.0)[0, 0]
        np.testing.assert_array_equal(zoomed, zoomed[::-1, ::-1])
        widths.add(int(zoomed.any(0).sum()))
    assert min(widths) <= 6 and max(widths) >= 20
    edge = np.ones((1, 1, 8, 8), np.uint8)
    shrunk = [jitter(edge, np.random.default_rng(s), shift=0, zoom=2.0).sum() for s in range(50)]
    assert min(shrunk) < 30 and max(shrunk) == 64


def test_no_jitter_changes_nothing() -> None:
    frames = np.random.default_rng(0).integers(0, 9, (2, 2, 6, 7)).astype(np.uint8)
    np.testing.assert_array_equal(jitter(frames, np.random.default_rng(1), shift=0, zoom=1.0), frames)


@pytest.mark.parametrize(
    ("presentations", "stretches", "largest"), [(1, 9, 2 ** (1 / 5)), (4, 1, 2**0.5), (12, 2, 2**0.75)]
)
def test_the_zoom_widens_with_the_presentations_that_are_remembered(
    presentations: int, stretches: int, largest: float
) -> None:
    frames = np.zeros((1, 1, 201, 201), np.uint8)
    frames[..., 75:126, 75:126] = 1
    memory = RehearsalMemory(10**9, np.random.default_rng(0))
    for of in range(presentations):
        for _ in range(stretches):
            memory.store(Stretch(frames, 1, of))
    memory.store(Stretch(frames, 2, presentations))
    how = RehearsalConfig(zoom=2, zoom_half=4)
    drawn = [memory.draw([1]) for _ in range(300)]
    widths = [int(memory.varied(stretch, how)[0, 0].any(0).sum()) for stretch in drawn if stretch is not None]
    assert min(widths) == pytest.approx(51 / largest, abs=2) and max(widths) == pytest.approx(51 * largest, abs=2)
