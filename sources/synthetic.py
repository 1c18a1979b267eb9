"""Events that need no camera and no file: the built-in scene before the built-in camera.

``synthetic:?seed=3&presentations=20`` is the same stream every time it is opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field, field_validator

from stream_ottt.events.packet import PACKET_EVENTS, EventArray, EventPacket
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.pipeline.source import BlockingSource, SourceConfig
from stream_ottt.scene.camera_model import EventCamera
from stream_ottt.scene.scene import GESTURES, SIZE, Scene
from stream_ottt.settings import Duration


class SyntheticConfig(SourceConfig):
    """Options of the synthetic source.

    Attributes:
        address: ``synthetic:``, and nothing more.
        seed: everything random follows from it.
        presentations: how many gestures are shown.
        duration: length of each, µs or ``"1s"``.
        pause: time between two, in which nothing moves, µs or ``"100ms"``.
        classes: the first so many classes occur.
        noise: background activity, events per second and pixel.
    """

    address: str = "synthetic:"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    presentations: Annotated[int, Field(ge=1, le=1_000_000)] = 60
    duration: Annotated[Duration, Field(ge=100_000, le=3_600_000_000)] = 1_000_000
    pause: Annotated[Duration, Field(le=3_600_000_000)] = 100_000
    classes: Annotated[int, Field(ge=2, le=len(GESTURES))] = len(GESTURES)
    noise: Annotated[float, Field(ge=0, le=1_000)] = 0.2

    @field_validator("address")
    @classmethod
    def _no_path(cls, address: str) -> str:
        if address.rstrip("/") != "synthetic:":
            raise ValueError("nothing follows the colon but options, such as 'synthetic:?seed=3'")
        return address


class SyntheticSource(BlockingSource):
    """Moving gestures, seen by a model of a 128×128 event camera, with labels known from the start."""

    name = "synthetic"
    schemes = ("synthetic",)
    Config = SyntheticConfig
    config: SyntheticConfig

    def __init__(self, config: SyntheticConfig) -> None:
        super().__init__(config)
        self.size_from = "camera"
        self._scene = Scene(
            seed=config.seed,
            presentations=config.presentations,
            classes=config.classes,
            duration_us=config.duration,
            pause_us=config.pause,
        )
        self._labels = self._scene.intervals()

    def packets(self) -> Iterator[EventPacket]:
        camera = EventCamera(SIZE, SIZE, noise_hz=self.config.noise, seed=self.config.seed)
        waiting: list[EventArray] = []
        n = 0
        for image, t in self._scene.images():
            events = camera.feed(image, t)
            waiting.append(events)
            n += len(events)
            if n >= PACKET_EVENTS:
                yield EventPacket(np.concatenate(waiting), SIZE, SIZE)
                waiting, n = [], 0
        if n:
            yield EventPacket(np.concatenate(waiting), SIZE, SIZE)

    @property
    def labels(self) -> Sequence[LabelInterval]:
        return self._labels

    @property
    def class_names(self) -> dict[int, str]:
        return {label: name for label, (name, _, _) in enumerate(GESTURES[: self.config.classes])}

    def describe(self) -> dict[str, Any]:
        return {"camera": "event-camera model", "seed": self.config.seed}
