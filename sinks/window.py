"""A window on the run: the event frame with the prediction, and keys that give labels or pause learning."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any

from pydantic import Field

from stream_ottt.errors import OutputError
from stream_ottt.events.timestep import StepResult
from stream_ottt.pipeline.sink import Sink, SinkConfig
from stream_ottt.sinks.drawing import annotated

if TYPE_CHECKING:
    from stream_ottt.pipeline.view import Controls, RunView

TITLE = "stream-ottt"
REFRESH_S = 0.033
PICTURE_SIDE = 480
PROBE = "import cv2; cv2.namedWindow('stream-ottt'); cv2.waitKey(1); cv2.destroyAllWindows()"
PROBE_S = 20.0
NO_DISPLAY = "window: no display to open a window on; use the terminal or video sink, or set DISPLAY"


class WindowConfig(SinkConfig):
    """Options of the window.

    Attributes:
        scale: picture pixels per frame pixel; None enlarges the longer side to 480 pixels or more.
    """

    scale: int | None = Field(None, ge=1, le=64)


class WindowSink(Sink):
    """Shows the latest timestep thirty times a second, also while the stream rests.

    Keys: a digit gives that label to what is shown, ``p`` pauses or resumes learning. A window that the user closed
    stays closed; the run goes on.
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

        try:
            cv2.namedWindow(TITLE, cv2.WINDOW_AUTOSIZE | cv2.WINDOW_GUI_NORMAL)
            shown: StepResult | None = None
            while _is_open():
                if self._latest is not shown and self._latest is not None:
                    shown = self._latest
                    cv2.imshow(TITLE, annotated(shown, run.facts.class_names, self._scale(shown)))
                self._on_key(cv2.pollKey() & 0xFF, run.controls)
                await asyncio.sleep(REFRESH_S)
        except cv2.error as e:
            raise OutputError(f"window: {e.err or e}; use the terminal or video sink") from e
        finally:
            cv2.destroyAllWindows()
            cv2.pollKey()

    def _scale(self, result: StepResult) -> int:
        longer = max(result.timestep.frame.shape[1:])
        return self.config.scale or max(1, -(-PICTURE_SIDE // longer))

    @staticmethod
    def _on_key(code: int, controls: Controls) -> None:
        if ord("0") <= code <= ord("9") and controls.label_now is not None:
            controls.label_now(code - ord("0"))
        elif code == ord("p") and controls.toggle is not None:
            controls.toggle()


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
