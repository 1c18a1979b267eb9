"""Calibration files as OpenCV writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

MATRIX = np.array([[6.0, 0.0, 3.2], [0.0, 5.5, 2.4], [0.0, 0.0, 1.0]])
DISTORTION = np.array([-0.2, 0.05, 0.002, -0.003, 0.001])


def write_calibration(path: Path, matrix: Any = MATRIX, distortion: Any = DISTORTION, **numbers: int) -> Path:
    """Write a calibration. The ending decides between YAML, JSON and XML; ``numbers`` are further entries."""
    import cv2

    file = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for name, value in numbers.items():
        file.write(name, value)
    file.write("camera_matrix", matrix)
    file.write("distortion_coefficients", distortion)
    file.release()
    return path
