"""Moving images: one slot a sample, events where the image has edges, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from stream_ottt.errors import InputError, UsageError
from stream_ottt.sources.opening import open_source
from stream_ottt.sources.rcls import STEP_US, intensity, moved, position


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two classes, three images each: a dark image with a bright left half, and one with a bright upper half."""
    for name, where in (("left", np.s_[:, :16]), ("upper", np.s_[:16, :])):
        (tmp_path / name).mkdir()
        for i in range(3):
            image = np.full((32, 32, 3), 20, np.uint8)
            image[where] = 220
            cv2.imwrite(str(tmp_path / name / f"{i}.png"), image)
    return tmp_path


def events_of(uri: str) -> tuple[np.ndarray, list, dict[int, str]]:
    source = open_source(uri)
    packets = list(source.packets())
    assert all((p.width, p.height) == (24, 24) for p in packets)
    return np.concatenate([p.events for p in packets]), list(source.labels), source.class_names


def test_images_become_labelled_events(images: Path) -> None:
    uri = f"rcls:{images}?dataset=folder&size=24&loops=2&loop=80ms&amplitude=3&noise=0"
    events, labels, names = events_of(uri)
    assert names == {0: "left", 1: "upper"} and [i.label for i in labels] == [0, 0, 1, 1]
    assert [(i.t_start, i.t_end) for i in labels] == [(k * 160_000, (k + 1) * 160_000) for k in range(4)]
    assert (np.diff(events["t"]) >= 0).all()
    for interval in labels:
        own = events[(events["t"] >= interval.t_start) & (events["t"] < interval.t_end)]
        assert len(own) > 100 and 0.3 < own["p"].mean() < 0.7
        # Only the edge that it crosses: an upright one moves in x, a level one in y.
        along = own["x" if interval.label == 0 else "y"]
        assert abs(along - 12).max() <= 7
    again, _, _ = events_of(uri)
    assert (again == events).all()
    assert len(events_of(f"{uri}&seed=1")[0]) != len(events) or (events_of(f"{uri}&seed=1")[0] != events).any()


def test_a_selection_and_the_test_part(images: Path) -> None:
    _, labels, _ = events_of(f"rcls:{images}?part=test&size=24&loops=1&loop=40ms&noise=0")
    assert [i.label for i in labels] == [0, 1]
    _, labels, _ = events_of(f"rcls:{images}?limit=3&samples=1:&size=24&loops=1&loop=40ms&noise=0")
    assert len(labels) == 2


def test_noise_alone_is_as_dense_as_asked_for(images: Path) -> None:
    uri = f"rcls:{images}?limit=1&size=24&loops=5&loop=200ms&amplitude=0.01&noise=20"
    events, _, _ = events_of(uri)
    assert len(events) == pytest.approx(20 * 24 * 24, rel=0.1)


def test_the_loop_is_closed_and_smooth() -> None:
    path = np.array([position(t / 1000, 5.0) for t in range(1000)] + [position(1.0, 5.0)])
    assert np.allclose(path[0], path[-1]) and np.allclose(path[0], (-5, 0))
    assert np.allclose(np.abs(path).sum(1), 5)  # a diamond
    assert np.allclose(np.abs(np.diff(path, axis=0)), 0.02)  # both coordinates at the same pace, all the time


def test_a_shift_moves_the_image() -> None:
    light = np.zeros((30, 30), np.float32)
    light[:, :15] = 1
    at_rest, shifted = moved(light, 20, 2.0, 0, 0), moved(light, 20, 2.0, 2.0, 0)
    assert np.allclose(shifted[:, 2:], at_rest[:, :-2], atol=1e-3)
    assert intensity(np.full((2, 2, 3), 255, np.uint8)) == pytest.approx(1)
    assert intensity(np.zeros((2, 2), np.uint8)).max() == 0
    assert STEP_US > 0


def test_what_cannot_move_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not found"):
        list(open_source(f"rcls:{tmp_path}?dataset=mnist").packets())
    with pytest.raises(UsageError, match="did you mean 'loops'"):
        open_source(f"rcls:{tmp_path}?loop_s=3")
