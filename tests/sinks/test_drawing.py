"""Frames as pictures, against loops over the pixels."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_ottt.sinks.drawing import (
    BACKGROUND,
    MIN_WIDTH,
    OFF,
    ON,
    RIGHT,
    WRONG,
    Line,
    annotated,
    aspect_of,
    brightness,
    colours,
    enlarged,
    resized,
    size_of,
    verdict,
)


@settings(max_examples=60, deadline=None)
@given(
    planes=st.integers(1, 2),
    old=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    new=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    seed=st.integers(0, 99),
)
def test_a_frame_of_another_size_shows_the_same_places(
    planes: int, old: tuple[int, int], new: tuple[int, int], seed: int
) -> None:
    frame = np.random.default_rng(seed).integers(0, 9, (planes, *old)).astype(np.float32)
    out = resized(frame, new[1], new[0])
    assert out.shape == (planes, *new)

    def parts(before: int, after: int) -> list[list[int]]:
        """The old pixels that make up each new one."""
        if after >= before:
            return [[i * before // after] for i in range(after)]
        starts = [i * before // after for i in range(after)] + [before]
        return [list(range(a, b)) for a, b in pairwise(starts)]

    expected = np.zeros_like(out)
    for i, rows in enumerate(parts(old[0], new[0])):
        for j, columns in enumerate(parts(old[1], new[1])):
            for y in rows:
                for x in columns:
                    expected[:, i, j] += frame[:, y, x]
    assert np.array_equal(out, expected)


def test_a_frame_is_shown_in_the_aspect_of_what_is_mapped_onto_it(view: Callable) -> None:
    frame = np.zeros((2, 32, 30), np.float32)
    assert aspect_of(view().facts, frame) == (30, 32)
    assert aspect_of(view(filtered=(1280, 720)).facts, frame) == (1280, 720)
    cropped = view(filtered=(1280, 720), settings={"binning": {"reduce": "crop"}})
    assert aspect_of(cropped.facts, frame) == (30, 32)
    assert size_of((1280, 720), 640) == (1280, 720)
    assert size_of((346, 260), 640) == (692, 520)
    assert size_of((34, 34), 640) == (646, 646)
    assert size_of((346, 260), 640, 3) == (1038, 780)


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


@pytest.mark.parametrize(("shape", "scale"), [((2, 7, 9), 3), ((1, 33, 101), 3), ((2, 10, 300), 1)])
@pytest.mark.parametrize("wrap", [True, False])
def test_the_annotated_picture_holds_the_frame_and_the_verdict(
    shape: tuple[int, int, int], scale: int, wrap: bool, result: Callable
) -> None:
    frame = np.zeros(shape, np.float32)
    frame[-1, 1, 2] = 3
    height, width = shape[1] * scale, shape[2] * scale
    large = enlarged(frame, (width, height))
    assert np.array_equal(large, colours(frame).repeat(scale, axis=0).repeat(scale, axis=1))
    pictures = {
        truth: annotated(large, verdict(result(3, said=2, truth=truth, frame=frame), {}), wrap=wrap)
        for truth in (None, 2, 5)
    }
    for picture in pictures.values():
        assert picture.dtype == np.uint8
        assert not any(n % 2 for n in picture.shape[:2])
        assert 40 <= picture.shape[0] - height <= 60
        assert 0 <= picture.shape[1] - max(width, MIN_WIDTH) <= 1
        left = max(0, MIN_WIDTH - width) // 2
        assert np.array_equal(picture[:height, left : left + width, ::-1], large)
        assert (picture[:height, left + width :, ::-1] == BACKGROUND).all()

    def has(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
        near = np.abs(picture[height:, :, ::-1].astype(int) - colour).max(axis=2) < 24
        return bool(near.any())

    assert (has(pictures[2], RIGHT), has(pictures[2], WRONG)) == (True, False)
    assert (has(pictures[5], RIGHT), has(pictures[5], WRONG)) == (False, True)
    assert (has(pictures[None], RIGHT), has(pictures[None], WRONG)) == (False, False)


def test_text_goes_on_in_a_further_line_or_keeps_the_picture_of_one_size() -> None:
    large = np.zeros((10, 240, 3), np.uint8)
    words = " ".join(f"{i} class-{i}" for i in range(12))
    one, many = annotated(large, [Line("a")]), annotated(large, [Line(words)])
    assert (many.shape[0] - one.shape[0]) / Line("").height >= 3
    assert (many[10:, -4:, ::-1] == BACKGROUND).all()  # nothing is cut at the right
    assert annotated(large, [Line(words)], wrap=False).shape == one.shape


def test_names_beyond_ascii_are_drawn_all_the_same(result: Callable) -> None:
    annotated(np.zeros((8, 8, 3), np.uint8), verdict(result(0, truth=1), {0: "Dreieck △", 1: "圆"}))
