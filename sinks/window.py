"""A window on the run: the event frame, prediction and accuracy, and the keys that it takes."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from stream_ottt.errors import OutputError
from stream_ottt.events.timestep import StepResult
from stream_ottt.pipeline.sink import Sink, SinkConfig
from stream_ottt.sinks.drawing import (
    BACKGROUND,
    FAINT,
    PLAIN,
    RIGHT,
    WRONG,
    Image,
    Line,
    annotated,
    aspect_of,
    enlarged,
    size_of,
    verdict,
)
from stream_ottt.sinks.keys import Keys

if TYPE_CHECKING:
    from stream_ottt.pipeline.view import RunView

TITLE = "stream-ottt"
REFRESH_S = 0.033
DRAW_S = 0.2
"""Longest time between two pictures, where something beside the timestep may have changed."""
PICTURE_SIDE = 640
PROBE = "import cv2; cv2.namedWindow('stream-ottt'); cv2.pollKey(); cv2.destroyAllWindows()"
PROBE_S = 20.0
NO_DISPLAY = "no display to open a window on; use the terminal or video sink, or set DISPLAY"


class WindowConfig(SinkConfig):
    """Options of the window.

    Attributes:
        scale: picture pixels per pixel of the sensor; None enlarges the longer side to 640 pixels or more.
    """

    scale: int | None = Field(None, ge=1, le=64)


class WindowSink(Sink):
    """Shows the latest timestep thirty times a second, also while the stream rests.

    It takes the keys of :data:`stream_ottt.sinks.keys.KEYS`, and lists them. A window that the user closed stays
    closed; the run goes on.
    """

    name = "window"
    gives_labels = True
    optional = True
    in_main_thread = True
    Config = WindowConfig
    config: WindowConfig

    def __init__(self, config: SinkConfig) -> None:
        super().__init__(config)
        self._latest: StepResult | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self, run: RunView) -> None:
        # Qt finds no fonts in OpenCV's wheels and says so at every window, across the terminal's live view.
        os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")
        await _check_display()
        self._task = asyncio.create_task(self._show(run))

    async def consume(self, result: StepResult) -> None:
        self._latest = result
        if self._task is not None and self._task.done():
            task, self._task = self._task, None
            await task  # raises what ended it

    async def close(self, summary: dict[str, Any] | None) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _show(self, run: RunView) -> None:
        """Draw and read keys until the window is closed; on one thread, which Qt and macOS demand."""
        import cv2

        keys = Keys(run)
        try:
            picture, shown = self._picture(run, keys), self._latest
            cv2.namedWindow(TITLE, cv2.WINDOW_AUTOSIZE | cv2.WINDOW_GUI_NORMAL)
            cv2.imshow(TITLE, picture)  # at once: Qt may leave a window empty that was seen before it had a picture
            due = time.monotonic() + DRAW_S
            was_open = False
            while (is_open := _is_open()) or not was_open:  # a new window is seen some time after it is made
                was_open |= is_open
                now = time.monotonic()
                if self._latest is not shown or now >= due:
                    shown, due = self._latest, now + DRAW_S
                    cv2.imshow(TITLE, self._picture(run, keys))
                while (code := cv2.pollKey()) >= 0:
                    if code & 0xFFFF < 128:  # others are no characters; above these bits are Shift and the like
                        keys.press(chr(code & 0x7F))
                        due = 0.0
                await asyncio.sleep(REFRESH_S)
        except cv2.error as e:
            raise OutputError(f"{e.err or e}; use the terminal or video sink") from e
        finally:
            cv2.destroyAllWindows()
            cv2.pollKey()

    def _picture(self, run: RunView, keys: Keys) -> Image:
        """What is shown now; before the first timestep, that it is waited for."""
        result, facts = self._latest, run.facts
        if result is None:
            size = size_of(facts.filtered or (4, 3), PICTURE_SIDE, self.config.scale if facts.filtered else None)
            picture = np.full((size[1], size[0], 3), BACKGROUND, np.uint8)
            lines = [Line("waiting for the first events", size=0.6), Line(facts.source)]
        else:
            frame = result.timestep.picture()
            size = size_of(aspect_of(facts, frame), PICTURE_SIDE, self.config.scale)
            picture, lines = enlarged(frame, size), verdict(result, facts.class_names)
        return annotated(picture, [*lines, *_state(run), *_keys(keys)])


def _state(run: RunView) -> list[Line]:
    """Accuracy so far, and whether it learns."""
    session = run.snapshot().session
    if session is None:
        return []
    accuracy, n = session.accuracy["presentations"], session.presentations
    score = "no presentation scored yet" if accuracy is None else f"accuracy {accuracy:.3f} of {n} presentations"
    on = session.learning == "on"
    return [Line(score), Line(f"learning: {session.learning}", RIGHT if on else WRONG)]


def _keys(keys: Keys) -> list[Line]:
    """The keys that are taken, and what became of the latest."""
    offered = [(keys.digits(), "label  "), (keys.others(), "")]
    lines = [Line(before + "  ".join(f"{key} {does}" for key, does in of), FAINT) for of, before in offered if of]
    text, failed = keys.said
    if keys.prompt is not None:
        text, failed = keys.prompt.replace("▏", "_"), False
    return [*lines, Line(text, WRONG if failed else PLAIN)]


def _is_open() -> bool:
    import cv2

    try:
        return cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1
    except cv2.error:  # Qt, once the last window is gone
        return False


async def _check_display() -> None:
    """Raise OutputError where no window can be opened.

    Without a display Qt ends the whole process, so another process tries first.
    """
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise OutputError(NO_DISPLAY)
    probe = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROBE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        code = await asyncio.wait_for(probe.wait(), PROBE_S)
    except TimeoutError:
        probe.kill()
        code = await probe.wait()
    if code:
        raise OutputError(NO_DISPLAY)
