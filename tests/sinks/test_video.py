"""MP4 files, read back."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from stream_ottt.errors import OutputError
from stream_ottt.events.packet import make_events
from stream_ottt.sinks.drawing import BACKGROUND, OFF, ON
from stream_ottt.sinks.opening import open_sink
from stream_ottt.sinks.sensor_picture import SensorPictures

CUT_SHORT = """
import asyncio, importlib.util, resource, signal, sys
import numpy as np
from stream_ottt.errors import OutputError
from stream_ottt.events.packet import make_events
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
        assert picture.shape[0] > 640 and picture.shape[1:] == (640, 3)
        rgb = picture[..., ::-1].astype(int)
        # The middles of the blocks and of an empty place; the codec loses a little.
        for (y, x), colour in (((8, 8 + i), ON), ((32, 8), OFF), ((20, 20), BACKGROUND)):
            seen = rgb[y * 16 - 32 : y * 16 + 32, x * 16 - 32 : x * 16 + 32].mean(axis=(0, 1))
            assert np.abs(seen - colour).max() < 25, (i, y, x)
        assert rgb[40 * 16 :].max() > 150  # the prediction is written
    reader.release()


@pytest.mark.parametrize(
    ("options", "duration", "fps", "side"),
    [
        ("fps=12.5", 20_000, 12.5, 640),
        ("speed=0.1", 20_000, 5, 640),
        ("scale=10", 100_000, 10, 400),
        ("", 1_000, 240, 640),
        ("", 10_000_000, 1, 640),
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


def events_of(rows: range, columns: range, t: int, on: bool) -> np.ndarray:
    y, x = np.meshgrid(rows, columns, indexing="ij")
    return make_events(x.ravel(), y.ravel(), np.full(x.size, t), np.full(x.size, on))


@pytest.mark.parametrize("picture", ["sensor", "frame"])
def test_the_sensors_picture_is_shown_in_its_own_aspect(
    picture: str, tmp_path: Path, result: Callable, view: Callable
) -> None:
    path = tmp_path / "out.mp4"
    sink = open_sink(f"video:{path}?picture={picture}")
    assert sink.takes_events == (picture == "sensor")
    run = view(sensor=(1280, 720), filtered=(1280, 720))
    frame = np.zeros((2, 32, 32), np.float32)
    frame[1, :16, :16] = 1  # the upper left quarter
    steps = [result(i, frame=frame) for i in range(4)]

    async def go() -> None:
        await sink.open(run)
        for i in range(2):  # of two timesteps at once, a block of the sensor's pixels in each
            if sink.takes_events:
                some = [
                    events_of(range(100, 200), range(600, 900), (2 * i + k) * 20_000 + 500, bool(k)) for k in (0, 1)
                ]
                sink.take_events(np.concatenate(some), (1280, 720))
            await sink.consume(steps[2 * i])
            await sink.consume(steps[2 * i + 1])
        await sink.close(None)

    asyncio.run(go())
    reader = cv2.VideoCapture(str(path))
    for i in range(4):
        ok, drawn = reader.read()
        assert ok and drawn.shape[1] == 1280 and 720 < drawn.shape[0] < 800
        rgb = drawn[..., ::-1].astype(int)
        colour = (ON if i % 2 else OFF) if picture == "sensor" else ON
        inside = (slice(108, 192), slice(608, 892)) if picture == "sensor" else (slice(8, 350), slice(8, 630))
        assert np.abs(rgb[inside].mean(axis=(0, 1)) - colour).max() < 25
        assert np.abs(rgb[400:700, 700:1200].mean(axis=(0, 1)) - BACKGROUND).max() < 25
    reader.release()


def test_events_that_are_gone_or_were_none_leave_the_frame() -> None:
    kept = SensorPictures(kept_bytes=12 * 250)
    first, second = (events_of(range(10), range(10), t, True) for t in (1000, 2000))
    kept.add(first, (16, 12))
    kept.add(second, (16, 12))
    picture = kept.picture(0, 1500)
    assert picture is not None and picture.shape == (2, 12, 16)
    assert picture[1, :10, :10].min() == 1 and picture.sum() == 100
    assert kept.picture(1500, 1800) is None  # nothing happened
    kept.add(events_of(range(10), range(10), 3000, False), (16, 12))
    kept.add(events_of(range(10), range(10), 4000, False), (16, 12))  # more than is kept: the oldest go
    assert kept.picture(1500, 2500) is None
    picture = kept.picture(2500, 3500)
    assert picture is not None and picture[0].sum() == 100 and not picture[1].any()
    assert kept.picture(3500, 4500) is not None
    assert kept.picture(0, 10**9) is None
    halves = [events_of(range(10), range(10), t, True) for t in (5000, 6000)]
    kept.add(np.concatenate(halves), (16, 12))
    picture = kept.picture(5500, 6500)  # what came before its start is not in it
    assert picture is not None and picture.sum() == 100


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
