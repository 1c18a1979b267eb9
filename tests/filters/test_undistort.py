"""Events move to where a lens without distortion would have shown them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calibration import DISTORTION, MATRIX, write_calibration

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EventArray, make_events
from stream_ottt.filters.chain import open_filters

WIDTH, HEIGHT = 64, 48
LENS = np.array([[50.0, 0.3, 31.0], [0.0, 48.0, 24.5], [0.0, 0.0, 1.0]])


def every_pixel() -> EventArray:
    y, x = np.mgrid[:HEIGHT, :WIDTH].reshape(2, -1)
    return make_events(x, y, np.arange(len(x)), x % 2 == 0)


def moved(path: Path) -> tuple[Any, Any]:
    """Where each event that stays came from, and where it went: [m, 2] each."""
    events = every_pixel()
    kept = open_filters([f"undistort:{path}"], WIDTH, HEIGHT)(events)
    came = events[kept["t"]]
    np.testing.assert_array_equal(kept["p"], came["p"])
    return np.stack([came["x"], came["y"]], 1), np.stack([kept["x"], kept["y"]], 1)


def seen(straight: Any, k: Any, d: Any) -> Any:
    """Where the lens shows what would be at ``straight`` [n, 2]: the model as OpenCV's manual writes it."""
    k1, k2, p1, p2, k3 = d
    v = (straight[:, 1] - k[1, 2]) / k[1, 1]
    u = (straight[:, 0] - k[0, 2] - k[0, 1] * v) / k[0, 0]
    r2 = u * u + v * v
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    ud = u * radial + 2 * p1 * u * v + p2 * (r2 + 2 * u * u)
    vd = v * radial + p1 * (r2 + 2 * v * v) + 2 * p2 * u * v
    return np.stack([k[0, 0] * ud + k[0, 1] * vd + k[0, 2], k[1, 1] * vd + k[1, 2]], 1)


@pytest.mark.parametrize("ending", ["yaml", "yml", "json", "xml"])
def test_the_lens_model_holds(tmp_path: Path, ending: str) -> None:
    lens = LENS.copy()
    lens[0, 1] = 0  # OpenCV's undistortion knows no skew
    came, went = moved(write_calibration(tmp_path / f"lens.{ending}", lens, DISTORTION))
    assert len(came) > WIDTH * HEIGHT / 2
    # Within the half pixel of rounding, times how much the lens shrinks the picture.
    assert np.abs(seen(went, lens, DISTORTION) - came).max() < 0.75
    assert np.abs(went - came).max() > 3


def test_no_event_is_left_out_that_has_a_place(tmp_path: Path) -> None:
    lens = LENS.copy()
    lens[0, 1] = 0
    came, _ = moved(write_calibration(tmp_path / "lens.yaml", lens, DISTORTION))
    y, x = np.mgrid[1 : HEIGHT - 1, 1 : WIDTH - 1].reshape(2, -1)
    needed = np.rint(seen(np.stack([x, y], 1), lens, DISTORTION)).astype(int)
    needed = needed[((needed >= 0) & (needed < [WIDTH, HEIGHT])).all(1)]
    assert {tuple(p) for p in needed.tolist()} <= {tuple(p) for p in came.tolist()}


def test_a_lens_without_distortion_moves_nothing(tmp_path: Path) -> None:
    came, went = moved(write_calibration(tmp_path / "lens.yaml", LENS, np.zeros(5)))
    np.testing.assert_array_equal(came, went)
    assert len(came) == WIDTH * HEIGHT


def test_fisheye(tmp_path: Path) -> None:
    lens = LENS.copy()
    lens[0, 1] = 0
    d = np.array([-0.02, 0.01, 0.0, 0.0])
    came, went = moved(write_calibration(tmp_path / "lens.yaml", lens, d, fisheye_model=1))
    u, v = ((went - lens[:2, 2]) / [lens[0, 0], lens[1, 1]]).T
    r = np.hypot(u, v)
    angle = np.arctan(r)
    bent = angle * (1 + d[0] * angle**2 + d[1] * angle**4)
    scale = np.where(r > 0, bent / np.maximum(r, 1e-9), 1)
    again = np.stack([u * scale * lens[0, 0] + lens[0, 2], v * scale * lens[1, 1] + lens[1, 2]], 1)
    assert len(came) > WIDTH * HEIGHT / 3
    assert np.abs(again - came).max() < 0.75


def test_pixels_that_no_ray_reaches_are_left_out(tmp_path: Path) -> None:
    """With so much distortion the picture folds over; there is no way back from its outer parts."""
    lens = np.array([[30.0, 0, 32.0], [0, 30.0, 24.0], [0, 0, 1]])
    distortion = np.array([-0.6, 0.0, 0.0, 0.0, 0.0])
    came, went = moved(write_calibration(tmp_path / "lens.yaml", lens, distortion))
    assert 0 < len(came) < WIDTH * HEIGHT
    assert np.abs(seen(went, lens, distortion) - came).max() < 1


def test_other_names_and_plain_json(tmp_path: Path) -> None:
    path = tmp_path / "lens.json"
    matrix = '{"type_id": "opencv-matrix", "rows": 3, "cols": 3, "dt": "d", "data": [50, 0, 31, 0, 48, 24.5, 0, 0, 1]}'
    zeros = '{"type_id": "opencv-matrix", "rows": 1, "cols": 5, "dt": "d", "data": [0, 0, 0, 0, 0]}'
    path.write_text(f'{{"cameraMatrix": {matrix}, "distCoeffs": {zeros}}}')
    came, went = moved(path)
    np.testing.assert_array_equal(came, went)


def test_the_size_must_be_the_sensors(tmp_path: Path) -> None:
    path = write_calibration(tmp_path / "lens.yaml", MATRIX, DISTORTION, image_width=640, image_height=480)
    with pytest.raises(InputError, match="of a 640×480 sensor"):
        open_filters([f"undistort:{path}"], WIDTH, HEIGHT)
    assert open_filters([f"undistort:{path}"], 640, 480).width == 640


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"", "calibration"),
        (b"\xff\xfe\x00", "is text"),
        (b"# a comment", "calibration"),
        (b"%YAML:1.0\n---\nother: 3\n", "expected a 3×3 matrix under 'camera_matrix'"),
        (b"%YAML:1.0\n---\ncamera_matrix: 3\n", "expected a 3×3 matrix"),
        (b"%YAML:1.0\n---\ncamera_matrix: [1, 2, 3]\n", "3×3 matrix"),
        (
            b"%YAML:1.0\n---\ncamera_matrix: !!opencv-matrix\n   rows: 1000000\n   cols: 1000000\n   dt: d\n",
            "calibration",
        ),
        (b'{"camera_matrix": ' + b"[" * 2000, "calibration"),
        (b"x" * (2 << 20), "at most"),
    ],
)
def test_what_is_no_calibration_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "lens.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as error:
        open_filters([f"undistort:{path}"], WIDTH, HEIGHT)
    assert message in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("bad", [np.full((3, 3), np.nan), np.zeros((3, 3)), np.eye(4), np.eye(3) * [[0], [1], [1]]])
def test_a_matrix_that_is_none_is_refused(tmp_path: Path, bad: Any) -> None:
    with pytest.raises(InputError, match="3×3 matrix"):
        open_filters([f"undistort:{write_calibration(tmp_path / 'lens.yaml', bad)}"], WIDTH, HEIGHT)


@pytest.mark.parametrize("bad", [np.zeros(3), np.zeros(6), np.full(5, np.inf)])
def test_coefficients_that_are_none_are_refused(tmp_path: Path, bad: Any) -> None:
    with pytest.raises(InputError, match="numbers under 'distortion_coefficients'"):
        open_filters([f"undistort:{write_calibration(tmp_path / 'lens.yaml', LENS, bad)}"], WIDTH, HEIGHT)


def test_a_calibration_cut_anywhere_is_refused_or_whole(tmp_path: Path) -> None:
    whole = write_calibration(tmp_path / "lens.yaml", LENS, DISTORTION).read_bytes()
    path = tmp_path / "cut.yaml"
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        try:
            open_filters([f"undistort:{path}"], 8, 6)
        except InputError as e:
            assert "\n" not in str(e)
