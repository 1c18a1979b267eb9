"""MP4: the event frames with the prediction beneath them, one picture a timestep."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from stream_ottt.errors import OutputError
from stream_ottt.events.timestep import StepResult
from stream_ottt.outputs import check_writable
from stream_ottt.pipeline.sink import Sink, SinkConfig
from stream_ottt.sinks.drawing import annotated
from stream_ottt.sinks.textfile import FileTarget, unwritable

if TYPE_CHECKING:
    import cv2

    from stream_ottt.pipeline.view import RunView

PICTURE_SIDE = 320
"""Pixels that the frame's longer side is enlarged to, at least, where no scale is given."""

MAX_FPS = 240.0
"""Above this rate players drop pictures; shorter timesteps are then shown slower than they were."""


class VideoConfig(SinkConfig):
    """Options of the video.

    Attributes:
        target: the MP4 file.
        fps: pictures per second; None takes ``speed`` over the duration of the first timestep, from 1 to 240.
        speed: seconds of stream per second of video, where ``fps`` is not given.
        scale: picture pixels per frame pixel; None enlarges the longer side to 320 pixels or more.
    """

    target: FileTarget
    fps: float | None = Field(None, gt=0, le=1000)
    speed: float = Field(1.0, gt=0)
    scale: int | None = Field(None, ge=1, le=64)


class VideoSink(Sink):
    """Writes an MP4 (MPEG-4 part 2, which OpenCV's own encoder makes) in the sensor's aspect ratio."""

    name = "video"
    Config = VideoConfig
    config: VideoConfig

    def __init__(self, config: SinkConfig) -> None:
        super().__init__(config)
        self._run: RunView | None = None
        self._writer: cv2.VideoWriter | None = None
        self._scale = 1
        self._written = 0

    def check(self, *, overwrite: bool) -> None:
        check_writable(Path(self.config.target), overwrite=overwrite)

    async def open(self, run: RunView) -> None:
        # The encoder needs the picture's size, so it starts at the first result; the path is tried now.
        self._touch()
        self._run = run

    def _touch(self) -> None:
        try:
            Path(self.config.target).write_bytes(b"")
        except OSError as e:
            raise unwritable(self.config.target, e) from e

    async def consume(self, result: StepResult) -> None:
        if self._run is None:
            return
        names = self._run.facts.class_names
        if self._writer is None:
            self._writer = self._start(result, names)
        self._writer.write(annotated(result, names, self._scale))
        self._written += 1

    async def close(self, summary: dict[str, Any] | None) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            self._finish(writer)

    def _start(self, result: StepResult, names: Mapping[int, str]) -> cv2.VideoWriter:
        import cv2

        longer = max(result.timestep.frame.shape[1:])
        self._scale = self.config.scale or max(1, -(-PICTURE_SIDE // longer))
        height, width = annotated(result, names, self._scale).shape[:2]
        writer = cv2.VideoWriter(
            self.config.target, cv2.VideoWriter.fourcc(*"mp4v"), self._fps(result), (width, height)
        )
        if not writer.isOpened():
            raise OutputError(
                f"{self.config.target}: OpenCV has no MP4 encoder for {width}×{height} pictures; "
                "name a file that ends in .mp4"
            )
        return writer

    def _fps(self, result: StepResult) -> float:
        if self.config.fps is not None:
            return self.config.fps
        duration = max(1, result.timestep.t_end - result.timestep.t_start)
        return float(np.clip(self.config.speed * 1e6 / duration, 1.0, MAX_FPS))

    def _finish(self, writer: cv2.VideoWriter) -> None:
        """End the file and look whether it is whole: OpenCV says nothing of a full disk."""
        import cv2

        writer.release()
        reader = cv2.VideoCapture(self.config.target)
        found = int(reader.get(cv2.CAP_PROP_FRAME_COUNT)) if reader.isOpened() else 0
        reader.release()
        if found != self._written:
            raise OutputError(
                f"{self.config.target}: the video is cut short, {found} of {self._written} pictures "
                "were written; check the disk's space"
            )
