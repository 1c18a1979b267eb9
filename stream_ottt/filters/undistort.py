"""Undistort: each event where a lens without distortion would have shown it, by a calibration file of OpenCV's.

A pixel (x, y) becomes ``cv2.undistortPoints((x, y), K, d, P=K)``, or ``cv2.fisheye.undistortPoints``, rounded to whole
pixels. K is the camera matrix, without skew as everywhere in OpenCV; d are the distortion coefficients. Events that
leave the sensor are left out, and so are those of pixels where the lens model cannot be inverted: distorted again, they
must return to within half a pixel.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EventArray
from stream_ottt.filters.base import Filter, FilterConfig, select

LONGEST = 1 << 20
"""Characters of a calibration file; what is longer is none."""

MATRIX = ("camera_matrix", "cameraMatrix", "K")
DISTORTION = ("distortion_coefficients", "distCoeffs", "dist_coeffs", "D")


class UndistortConfig(FilterConfig):
    """Options of the undistortion.

    Attributes:
        path: calibration file of OpenCV's (YAML, JSON or XML).
    """

    path: Path


class UndistortFilter(Filter):
    """Moves events to where they belong; leaves out those that the picture has no room for."""

    name = "undistort"
    Config = UndistortConfig
    argument = "path"
    config: UndistortConfig

    def __init__(self, config: UndistortConfig, width: int, height: int) -> None:
        super().__init__(config, width, height)
        matrix, distortion, fisheye = read_calibration(config.path, width, height)
        self._to = undistorted_pixels(matrix, distortion, width, height, fisheye=fisheye)

    def __call__(self, events: EventArray) -> EventArray:
        """The events that stay on the sensor, at their new places."""
        to = self._to[events["y"], events["x"]]
        inside = to[:, 0] >= 0
        kept = select(events, inside)
        kept["x"], kept["y"] = to[inside].T
        return kept


def read_calibration(
    path: Path, width: int, height: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], bool]:
    """The camera matrix [3, 3], the distortion coefficients [n], and whether they are of the fisheye model.

    Raises:
        InputError: no such file, no calibration in it, or one of another sensor size.
    """
    import cv2

    try:
        with path.open(encoding="utf-8") as opened:
            text = opened.read(LONGEST + 1)
    except OSError as e:
        raise InputError(f"cannot be read: {e.strerror}; check the path", path=path) from e
    except UnicodeDecodeError as e:
        raise InputError("expected a calibration file of OpenCV's, which is text", path=path, offset=e.start) from e
    if len(text) > LONGEST:
        raise InputError(f"expected a calibration file of at most {LONGEST} characters", path=path)
    try:
        file = cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
        matrix = _matrix(file, MATRIX)
        distortion = _matrix(file, DISTORTION)
        size = [int(file.getNode(f"image_{side}").real()) for side in ("width", "height")]
        fisheye = bool(file.getNode("fisheye_model").real())
    except (cv2.error, SystemError) as e:
        raise InputError("expected a calibration in YAML, JSON or XML, as OpenCV writes it", path=path) from e
    if matrix is None or matrix.shape != (3, 3) or not np.isfinite(matrix).all() or not matrix[0, 0] * matrix[1, 1]:
        raise InputError(f"expected a 3×3 matrix under {MATRIX[0]!r}, as OpenCV's calibration writes it", path=path)
    lengths = (4,) if fisheye else (4, 5, 8, 12, 14)
    if distortion is None or distortion.size not in lengths or not np.isfinite(distortion).all():
        raise InputError(f"expected {lengths} numbers under {DISTORTION[0]!r}", path=path)
    if any(size) and size != [width, height]:
        cure = "put undistort in front of filters that change the size"
        raise InputError(
            f"is of a {size[0]}×{size[1]} sensor; the events are of one of {width}×{height}; {cure}", path=path
        )
    return matrix, distortion.ravel(), fisheye


def _matrix(file: Any, names: tuple[str, ...]) -> npt.NDArray[np.float64] | None:
    """The first of the matrices ``names`` that the file has, or None."""
    for name in names:
        found = file.getNode(name)
        if found.isMap():
            return np.asarray(found.mat(), np.float64)
    return None


def undistorted_pixels(
    matrix: npt.NDArray[np.float64], distortion: npt.NDArray[np.float64], width: int, height: int, *, fisheye: bool
) -> npt.NDArray[np.int16]:
    """Where each pixel belongs: (x, y) as int16 [height, width, 2]; (−1, −1) where it leaves the sensor.

    Args:
        matrix: the camera matrix [3, 3], pixels.
        distortion: the distortion coefficients, as OpenCV orders them.
        width, height: sensor size, pixels.
        fisheye: whether the coefficients are of OpenCV's fisheye model.
    """
    import cv2

    y, x = np.mgrid[:height, :width]
    seen = np.stack([x, y], -1).reshape(-1, 1, 2).astype(np.float64)
    if fisheye:
        rays = cv2.fisheye.undistortPoints(seen, matrix, distortion)
        again = cv2.fisheye.distortPoints(rays, matrix, distortion)
    else:
        exactly = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-9)
        undistort = getattr(cv2, "undistortPointsIter", cv2.undistortPoints)  # OpenCV 4 has another name for it
        rays = undistort(seen, matrix, distortion, R=None, P=None, criteria=exactly)
        in_space = np.concatenate([rays, np.ones_like(rays[..., :1])], -1)
        again, _ = cv2.projectPoints(in_space, np.zeros(3), np.zeros(3), matrix, distortion)
    straight = (rays.reshape(-1, 2) * [matrix[0, 0], matrix[1, 1]]) + matrix[:2, 2]
    error = np.abs(again - seen).reshape(-1, 2).max(1)
    with np.errstate(invalid="ignore"):
        inside = (error <= 0.5) & (straight > -0.5).all(1) & (straight < np.array([width, height]) - 0.5).all(1)
    to = np.full((height * width, 2), -1, np.int16)
    to[inside] = np.rint(straight[inside])
    return to.reshape(height, width, 2)
