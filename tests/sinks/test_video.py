"""MP4 files, read back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from stream_ottt.errors import OutputError
from stream_ottt.sinks.drawing import BACKGROUND, BANNER, OFF, ON
from stream_ottt.sinks.opening import open_sink

CUT_SHORT = """
import asyncio, importlib.util, resource, signal, sys
import numpy as np
from stream_ottt.errors import OutputError
from stream_ottt.sinks.opening import open_sink
spec = importlib.util.spec_from_file_location("factory", sys.argv[1])
factory = importlib.util.module_from_spec(spec)
spec.loader.exec_module(factory)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
rng = np.random.default_rng(0)
frames = [factory.make_result(i, frame=rng.integers(0, 3, (2, 64, 64)).astype(np.float32)) for i in range(20)]
try:
    factory.run_sink(open_sink("video:" + sys.argv[2]), factory.make_run(), frames)
except OutputError as e:
    print(e)
"""


def moving_block(i: int) -> np.ndarray:
    """ON events in a block that moves right, OFF events in one that rests."""
    frame = np.zeros((2, 40, 40), np.float32)
    frame[1, 4:12, 4 + i : 12 + i] = 1
    frame[0, 28:36, 4:12] = 1
    return frame


def test_the_video_shows_every_timestep(tmp_path: Path, result: Callable, view: Callable, drive: Callable) -> None:
    path = tmp_path / "out.mp4"
    drive(open_sink(f"video:{path}"), view(), [result(i, frame=moving_block(i)) for i in range(20)])
    reader = cv2.VideoCapture(str(path))
    assert reader.get(cv2.CAP_PROP_FRAME_COUNT) == 20
    assert reader.get(cv2.CAP_PROP_FPS) == pytest.approx(50)  # 20 ms a timestep
    for i in range(20):
        ok, picture = reader.read()
        assert ok
        assert picture.shape == (40 * 8 + BANNER, 40 * 8, 3)
        rgb = picture[..., ::-1].astype(int)
        # The middles of the blocks and of an empty place; the codec loses a little.
        for (y, x), colour in (((8, 8 + i), ON), ((32, 8), OFF), ((20, 20), BACKGROUND)):
            seen = rgb[y * 8 - 16 : y * 8 + 16, x * 8 - 16 : x * 8 + 16].mean(axis=(0, 1))
            assert np.abs(seen - colour).max() < 25, (i, y, x)
        assert rgb[40 * 8 :].max() > 150  # the prediction is written
    reader.release()


@pytest.mark.parametrize(
    ("options", "duration", "fps", "side"),
    [
        ("fps=12.5", 20_000, 12.5, 320),
        ("speed=0.1", 20_000, 5, 320),
        ("scale=10", 100_000, 10, 400),
        ("", 1_000, 240, 320),
        ("", 10_000_000, 1, 320),
    ],
)
def test_rate_and_size_can_be_chosen(
    options: str,
    duration: int,
    fps: float,
    side: int,
    tmp_path: Path,
    result: Callable,
    view: Callable,
    drive: Callable,
) -> None:
    path = tmp_path / "out.mp4"
    steps = [result(i, frame=moving_block(i), duration=duration) for i in range(3)]
    drive(open_sink(f"video:{path}?{options}"), view(), steps)
    reader = cv2.VideoCapture(str(path))
    assert reader.get(cv2.CAP_PROP_FPS) == pytest.approx(fps)
    assert reader.get(cv2.CAP_PROP_FRAME_WIDTH) == side
    reader.release()


def test_a_folder_that_is_not_there_is_an_output_error(tmp_path: Path, view: Callable, drive: Callable) -> None:
    with pytest.raises(OutputError, match=r"missing/out\.mp4: cannot be written"):
        drive(open_sink(f"video:{tmp_path / 'missing' / 'out.mp4'}"), view(), [])


def test_a_name_that_is_no_mp4_is_an_output_error(
    tmp_path: Path, result: Callable, view: Callable, drive: Callable
) -> None:
    with pytest.raises(OutputError, match=r"out\.nothing: .*name a file that ends in \.mp4"):
        drive(open_sink(f"video:{tmp_path / 'out.nothing'}"), view(), [result(0)])


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_disk_that_fills_up_does_not_pass_silently(tmp_path: Path) -> None:
    factory = Path(__file__).with_name("conftest.py")
    done = subprocess.run(
        [sys.executable, "-c", CUT_SHORT, str(factory), str(tmp_path / "out.mp4")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "cut short, 0 of 20 pictures" in done.stdout, done.stderr[-2000:]
