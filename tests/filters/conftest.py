"""Specifications that try each filter."""

from __future__ import annotations

import pytest
from calibration import write_calibration


@pytest.fixture(scope="session")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Specifications by the filter's name, each for a sensor of at least 7×5 pixels."""
    calibration = write_calibration(tmp_path_factory.mktemp("calibration") / "lens.yaml")
    return {
        "background": ["background", "background:?time=0", "background:?time=3us&neighbours=2"],
        "hot": ["hot:?pixels=0:0,6:4&learn=0", "hot:?learn=10us&rate=1e6&ratio=0", "hot:?learn=12us&rate=1e6&ratio=1"],
        "refractory": ["refractory:0", "refractory:3us", "refractory:?period=3us&since=any"],
        "roi": ["roi:?left=1&top=2&width=5&height=3", "roi:?width=1&height=1"],
        "flip": ["flip", "flip:y"],
        "rotate": ["rotate:90", "rotate:180", "rotate:270"],
        "transpose": ["transpose"],
        "polarity": ["polarity:on", "polarity:off"],
        "undistort": [f"undistort:{calibration}"],
    }
