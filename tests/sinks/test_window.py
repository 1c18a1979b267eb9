"""The window: said once where there is no display, and a real one on a virtual display where that is at hand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stream_ottt.errors import OutputError
from stream_ottt.pipeline.view import Controls
from stream_ottt.sinks.opening import open_sink
from stream_ottt.sinks.window import WindowSink

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="displays are X11's or Wayland's")

SHOW = """
import asyncio, importlib.util, subprocess, sys
from pathlib import Path
import cv2
import numpy as np
from stream_ottt.pipeline.view import Controls
from stream_ottt.sinks.opening import open_sink
spec = importlib.util.spec_from_file_location("factory", sys.argv[1])
factory = importlib.util.module_from_spec(spec)
spec.loader.exec_module(factory)
screen, keys = Path(sys.argv[2]), sys.argv[3:]
on = bytes((51, 170, 255))
frame = np.zeros((2, 32, 32), np.float32)
frame[1] = 1

async def until(what):
    for _ in range(400):
        if what():
            return True
        await asyncio.sleep(0.02)
    return False

async def main():
    run, seen = factory.make_run(), []
    run.controls = Controls(label_now=seen.append, toggle=lambda: seen.append("paused"))
    sink = open_sink("window:?scale=5")
    await sink.open(run)
    await sink.consume(factory.make_result(0, frame=frame))
    print("shown", await until(lambda: screen.read_bytes().count(on) == 160 * 160))
    for key in keys:
        n = len(seen)
        subprocess.run(["xdotool", "key", key], check=True)
        await until(lambda: len(seen) > n)
    print("keys", seen)
    cv2.destroyWindow("stream-ottt")
    await asyncio.sleep(0.1)
    await sink.consume(factory.make_result(1, frame=frame))
    await sink.consume(factory.make_result(2, frame=frame))
    print("stays closed", await until(lambda: screen.read_bytes().count(on) == 0))
    await sink.close(None)

asyncio.run(main())
"""


@linux
def test_without_a_display_it_says_so(monkeypatch: pytest.MonkeyPatch, view: Callable, drive: Callable) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(OutputError, match="window: no display") as e:
        drive(open_sink("window"), view(), [])
    assert "\n" not in str(e.value)


@linux
def test_a_display_that_does_not_answer_ends_another_process_not_this_one(
    monkeypatch: pytest.MonkeyPatch, view: Callable, drive: Callable
) -> None:
    monkeypatch.setenv("DISPLAY", ":4321")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(OutputError, match="window: no display"):
        drive(open_sink("window"), view(), [])


def test_keys_reach_their_controls_and_none_is_no_harm() -> None:
    WindowSink._on_key(ord("3"), Controls())
    WindowSink._on_key(ord("p"), Controls())
    seen: list[object] = []
    controls = Controls(label_now=seen.append, toggle=lambda: seen.append("paused"))
    for code in (ord("0"), ord("9"), ord("p"), ord("x"), 255):
        WindowSink._on_key(code, controls)
    assert seen == [0, 9, "paused"]


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A virtual display: its name, and the file that holds its pixels."""
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "400x400x24", "-fbdir", str(tmp_path)],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as number:
        name = ":" + number.readline().strip()
    yield name, tmp_path / "Xvfb_screen0"
    server.terminate()
    server.wait(timeout=10)


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs the virtual display Xvfb")
def test_a_real_window_shows_the_frame_takes_keys_and_stays_closed(screen: tuple[str, Path]) -> None:
    display, pixels = screen
    keys = ["3", "p"] if shutil.which("xdotool") else []
    environment = os.environ | {"DISPLAY": display}
    environment.pop("WAYLAND_DISPLAY", None)
    done = subprocess.run(
        [sys.executable, "-c", SHOW, str(Path(__file__).with_name("conftest.py")), str(pixels), *keys],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )
    expected = ["shown True", f"keys {[3, 'paused'] if keys else []}", "stays closed True"]
    assert done.stdout.splitlines() == expected, done.stderr[-2000:]
