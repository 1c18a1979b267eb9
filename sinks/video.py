"""MP4: what the sensor saw, with the prediction beneath it, one picture a timestep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from stream_ottt.errors import OutputError
from stream_ottt.events.packet import EventArray
from stream_ottt.events.timestep import StepResult
from stream_ottt.outputs import check_writable
from stream_ottt.pipeline.sink import Sink, SinkConfig
from stream_ottt.sinks.drawing import Image, annotated, aspect_of, enlarged, size_of, verdict
from stream_ottt.sinks.sensor_picture import SensorPictures
from stream_ottt.sinks.textfile import FileTarget, unwritable

if TYPE_CHECKING:
    import cv2

    from stream_ottt.pipeline.view import RunView

PICTURE_SIDE = 640
"""Pixels that the picture's longer side is enlarged to, at least, where no scale is given."""

MAX_FPS = 240.0
"""Above this rate players drop pictures; shorter timesteps are then shown slower than they were."""


class VideoConfig(SinkConfig):
    """Options of the video.

    Attributes:
        target: the MP4 file.
        fps: pictures per second; None takes ``speed`` over the duration of the first timestep, from 1 to 240.
        speed: seconds of stream per second of video, where ``fps`` is not given.
        picture: ``sensor`` shows the events as they were recorded, before filters; ``frame`` what the network is given,
            in the sensor's aspect.
        scale: picture pixels per pixel of the sensor; None enlarges the longer side to 640 pixels or more.
    """

    target: FileTarget
    fps: float | None = Field(None, gt=0, le=1000)
    speed: float = Field(1.0, gt=0)
    picture: Literal["sensor", "frame"] = "sensor"
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
        self._sensor = SensorPictures()
        self._size = (0, 0)
        self._written = 0
        self.takes_events = self.config.picture == "sensor"

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

    def take_events(self, events: EventArray, size: tuple[int, int]) -> None:
        self._sensor.add(events, size)

    async def consume(self, result: StepResult) -> None:
        if self._run is None:
            return
        frame = self._sensor.picture(result.timestep.t_start, result.timestep.t_end)
        if frame is None:  # a further pass, in which no events are recorded, or more of them than are kept
            frame = result.timestep.picture()
        if self._writer is None:
            # Without the sensor's size, what there is of it.
            aspect = self._sensor.size or aspect_of(self._run.facts, frame)
            self._size = size_of(aspect, PICTURE_SIDE, self.config.scale)
        picture = annotated(enlarged(frame, self._size), verdict(result, self._run.facts.class_names), wrap=False)
        if self._writer is None:
            self._writer = self._start(result, picture)
        self._writer.write(picture)
        self._written += 1

    async def close(self, summary: dict[str, Any] | None) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            self._finish(writer)

    def _start(self, result: StepResult, picture: Image) -> cv2.VideoWriter:
        import cv2

        height, width = picture.shape[:2]
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
