"""Frames as pictures, against loops over the pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_ottt.sinks.drawing import (
    BACKGROUND,
    BANNER,
    MIN_WIDTH,
    OFF,
    ON,
    RIGHT,
    WRONG,
    annotated,
    brightness,
    colours,
    fit,
)


@settings(max_examples=60, deadline=None)
@given(
    planes=st.integers(1, 2),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    side=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_fitting_keeps_counts_and_aspect(planes: int, height: int, width: int, side: int, seed: int) -> None:
    frame = np.random.default_rng(seed).integers(0, 9, (planes, height, width)).astype(np.float32)
    small = fit(frame, side)
    rows, columns = small.shape[1:]
    assert side / 2 < max(rows, columns) <= side
    if max(height, width) > side:
        assert small.sum() == frame.sum()
        expected = np.zeros_like(small)
        for y in range(height):
            for x in range(width):
                row = max(r for r in range(rows) if r * height // rows <= y)
                column = max(c for c in range(columns) if c * width // columns <= x)
                expected[:, row, column] += frame[:, y, x]
        assert np.array_equal(small, expected)
    else:
        times = rows // height
        assert np.array_equal(small[:, ::times, ::times], frame)


def test_on_is_orange_off_is_blue_nothing_is_background() -> None:
    frame = np.zeros((2, 2, 2), np.float32)
    frame[1, 0, 0] = 1
    frame[0, 1, 1] = 1
    picture = colours(frame)
    assert picture.dtype == np.uint8
    assert picture[0, 0].tolist() == list(ON)
    assert picture[1, 1].tolist() == list(OFF)
    assert picture[0, 1].tolist() == picture[1, 0].tolist() == list(BACKGROUND)
    merged = colours(frame.sum(axis=0, keepdims=True))
    assert merged[0, 0].tolist() == merged[1, 1].tolist() == list(ON)


def test_a_single_event_shows_beside_a_busy_pixel() -> None:
    frame = np.zeros((2, 4, 4), np.float32)
    frame[1, 0, 0], frame[1, 3, 3] = 100, 1
    faint = colours(frame)[3, 3].astype(int) - BACKGROUND
    assert faint.max() >= 20
    assert colours(np.zeros((2, 4, 4), np.float32)).reshape(-1, 3).tolist() == [list(BACKGROUND)] * 16


def test_brightness_is_a_root_and_a_hot_pixel_does_not_darken_the_rest() -> None:
    frame = np.zeros((1, 10, 30), np.float32)
    frame[0, :5], frame[0, 5:] = 1, 4
    frame[0, 9, 29] = 4000
    level = brightness(frame)
    assert level[0, 0, 0] == pytest.approx(0.5)
    assert level[0, 5, 0] == level[0, 9, 29] == 1.0


@pytest.mark.parametrize(("shape", "scale"), [((2, 7, 9), 3), ((1, 33, 101), 3), ((2, 10, 200), 1)])
def test_the_annotated_picture_holds_the_frame_and_the_verdict(
    shape: tuple[int, int, int], scale: int, result: Callable
) -> None:
    frame = np.zeros(shape, np.float32)
    frame[-1, 1, 2] = 3
    _, height, width = shape
    pictures = {truth: annotated(result(3, said=2, truth=truth, frame=frame), {}, scale) for truth in (None, 2, 5)}
    for picture in pictures.values():
        assert picture.dtype == np.uint8
        assert not any(n % 2 for n in picture.shape[:2])
        assert 0 <= picture.shape[0] - (height * scale + BANNER) <= 1
        assert 0 <= picture.shape[1] - max(width * scale, MIN_WIDTH) <= 1
        left = max(0, MIN_WIDTH - width * scale) // 2
        drawn = picture[: height * scale, left : left + width * scale, ::-1]
        assert np.array_equal(drawn, colours(frame).repeat(scale, axis=0).repeat(scale, axis=1))
        assert (picture[: height * scale, left + width * scale :, ::-1] == BACKGROUND).all()

    def has(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
        near = np.abs(picture[height * scale :, :, ::-1].astype(int) - colour).max(axis=2) < 24
        return bool(near.any())

    assert (has(pictures[2], RIGHT), has(pictures[2], WRONG)) == (True, False)
    assert (has(pictures[5], RIGHT), has(pictures[5], WRONG)) == (False, True)
    assert (has(pictures[None], RIGHT), has(pictures[None], WRONG)) == (False, False)


def test_names_beyond_ascii_are_drawn_all_the_same(result: Callable) -> None:
    annotated(result(0, truth=1), {0: "Dreieck △", 1: "圆"}, 4)
