"""The window: said once where there is no display, and a real one on a virtual display where that is at hand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from stream_ottt.errors import OutputError
from stream_ottt.pipeline.view import Controls
from stream_ottt.sinks.drawing import BACKGROUND
from stream_ottt.sinks.keys import Keys
from stream_ottt.sinks.opening import open_sink
from stream_ottt.sinks.window import WindowSink, _keys, _state

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="displays are X11's or Wayland's")

SHOW = """
import asyncio, importlib.util, json, os, subprocess, sys
from concurrent.futures import Future
from pathlib import Path
import cv2
import numpy as np
from PIL import ImageGrab
from stream_ottt.pipeline.view import Controls
from stream_ottt.sinks.keys import Keys
from stream_ottt.sinks.opening import open_sink
spec = importlib.util.spec_from_file_location("factory", sys.argv[1])
factory = importlib.util.module_from_spec(spec)
spec.loader.exec_module(factory)
keys = sys.argv[2:]
on = (255, 170, 51)
frame = np.zeros((2, 32, 32), np.float32)
frame[1] = 1

pressed, press = [], Keys.press
Keys.press = lambda self, character: (pressed.append(character), press(self, character))

def drawn():
    # Pixels of the display in the colour of ON.
    return int((np.asarray(ImageGrab.grab(xdisplay=os.environ["DISPLAY"])) == on).all(-1).sum())

async def until(what, times=400):
    for _ in range(times):
        if what():
            return True
        await asyncio.sleep(0.02)
    return False

async def main():
    run, seen = factory.make_run(classes=(0, 1, 2, 3, 12)), []

    def act(name, gives):
        def control(*words):
            seen.append([name, *words])
            future = Future()
            future.set_result(gives)
            return future
        return control

    run.controls = Controls(label_now=act("label", 50), add_class=act("add", 6), toggle=act("toggle", "paused"))
    sink = open_sink("window:?scale=5")
    await sink.open(run)
    await sink.consume(factory.make_result(0, frame=frame))
    is_shown = await until(lambda: drawn() == 160 * 160, 50)
    if keys and not is_shown:
        # Qt may miss the first exposure where no window manager tells it of one.
        again = ["search", "--name", "stream-ottt", "windowunmap", "--sync", "windowmap", "--sync"]
        subprocess.run(["xdotool", *again], check=True)
        is_shown = await until(lambda: drawn() == 160 * 160)
    print("shown", is_shown)
    for key in keys:
        n = len(pressed)
        subprocess.run(["xdotool", "mousemove", "60", "60", "key", key], check=True)
        await until(lambda: len(pressed) > n)
    print("keys", json.dumps(seen))
    cv2.destroyWindow("stream-ottt")
    await asyncio.sleep(0.1)
    await sink.consume(factory.make_result(1, frame=frame))
    await sink.consume(factory.make_result(2, frame=frame))
    print("stays closed", await until(lambda: drawn() == 0))
    await sink.close(None)

asyncio.run(main())
"""


@linux
def test_without_a_display_it_says_so(monkeypatch: pytest.MonkeyPatch, view: Callable, drive: Callable) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(OutputError, match=r"^no display") as e:
        drive(open_sink("window"), view(), [])
    assert "\n" not in str(e.value)


@linux
def test_a_display_that_does_not_answer_ends_another_process_not_this_one(
    monkeypatch: pytest.MonkeyPatch, view: Callable, drive: Callable
) -> None:
    monkeypatch.setenv("DISPLAY", ":4321")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(OutputError, match=r"^no display"):
        drive(open_sink("window"), view(), [])


def test_the_window_says_what_a_person_wants_to_know(view: Callable, result: Callable) -> None:
    run = view([(0, 0), (1, 1), (2, 1)], classes=(0, 1), learning="paused")
    run.controls = Controls(label_now=lambda label: Future(), toggle=Future, stop=Future)
    keys = Keys(run)
    keys.press("s")
    texts = [line.text for line in [*_state(run), *_keys(keys)]]
    assert texts == [
        "accuracy 0.667 of 3 presentations",
        "learning: paused",
        "label  0 circle  1 triangle",
        "p resume  q quit",
        "s (save): started without --save FILE",
    ]
    sink = WindowSink.from_options()
    before = sink._picture(run, keys)
    sink._latest = result(0, said=1)
    after = sink._picture(run, keys)
    assert min(before.shape[1], after.shape[1]) >= 640
    drawn = after[: 20 * 32]
    assert (drawn == BACKGROUND[::-1]).all()  # a frame without events
    run.set(filtered=(1280, 720))
    assert sink._picture(run, keys).shape[1] == 1280


@pytest.fixture
def display() -> Iterator[str]:
    """The name of a virtual display."""
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "400x600x24", "-noreset"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as number:
        name = ":" + number.readline().strip()
    yield name
    server.terminate()
    server.wait(timeout=10)


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs the virtual display Xvfb")
def test_a_real_window_shows_the_frame_takes_keys_and_stays_closed(display: str) -> None:
    keys = ["3", "p", "n", "a", "b", "BackSpace", "Return", "l", "1", "2", "Return"] if shutil.which("xdotool") else []
    environment = os.environ | {"DISPLAY": display}
    environment.pop("WAYLAND_DISPLAY", None)
    done = subprocess.run(
        [sys.executable, "-c", SHOW, str(Path(__file__).with_name("conftest.py")), *keys],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )
    pressed = [["label", 3], ["toggle"], ["add", "a"], ["label", 12]] if keys else []
    expected = ["shown True", f"keys {json.dumps(pressed)}", "stays closed True"]
    assert done.stdout.splitlines() == expected, done.stderr[-2000:]
