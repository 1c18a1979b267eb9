"""Static images as events, the way CIFAR10-DVS was made: each image moves in closed loops before an event camera.

``rcls:FOLDER?dataset=cifar10&samples=:1000`` shows the images of any static data set that ``stream-ottt replay``
reads, one
after another, with their labels. The image goes round a diamond of four smooth diagonal legs, again and again
("repeated
closed-loop smooth" movement; Li et al., "CIFAR10-DVS", Frontiers in Neuroscience 2017), and the project's own camera
model (:mod:`stream_ottt.scene.camera_model`) sees it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EventPacket
from stream_ottt.images import IMAGES
from stream_ottt.images.base import ImageSet, Item, select
from stream_ottt.scene.camera_model import EventCamera
from stream_ottt.settings import Duration
from stream_ottt.sources.samples import LabelledStream, SampleConfig, SampleSource

STEP_US = 4_000
"""Time from one position of the image to the next, µs."""

GAMMA = 2.2
"""From pixel values to light."""

Image = npt.NDArray[np.float32]


class RclsConfig(SampleConfig):
    """Options of moving images, besides those of all labelled collections.

    Attributes:
        address: ``rcls:`` with the data set's file or folder, instead of ``path``.
        dataset: which data set it is: ``cifar10``, ``cifar100``, ``mnist`` or ``folder``.
        part: ``train`` or ``test``.
        limit: the first so many images of the part, the classes in turn.
        size: width and height of the sensor, pixels.
        loops: how often the image goes round.
        loop: how long that takes.
        amplitude: how far it moves from the middle along each axis, pixels.
        noise: background activity, events per second and pixel.
    """

    path: Path = Path()
    address: str = ""
    dataset: str = "folder"
    part: Literal["train", "test"] = "train"
    limit: int | None = Field(default=None, ge=1)
    size: int = Field(default=128, ge=8, le=1024)
    loops: int = Field(default=6, ge=1, le=1000)
    loop: Duration = Field(default=200_000, ge=4 * STEP_US)
    amplitude: float = Field(default=5.0, gt=0, le=100)
    noise: float = Field(default=0.1, ge=0, le=1_000)

    @model_validator(mode="before")
    @classmethod
    def _path_of_address(cls, values: Any) -> Any:
        if isinstance(values, dict) and str(values.get("address", "")).startswith("rcls:"):
            rest = str(values["address"]).removeprefix("rcls:")
            return {"path": rest, **values, "address": ""}
        return values


class RclsSource(SampleSource):
    """Images of a static data set, moving, as one labelled stream."""

    name = "rcls"
    schemes = ("rcls",)
    Config = RclsConfig
    config: RclsConfig

    def __init__(self, config: RclsConfig) -> None:
        super().__init__(config)
        self.size_from = "option"
        self._images: list[Item] = []
        self._set: ImageSet

    def open_stream(self) -> LabelledStream:
        c = self.config
        images: ImageSet = IMAGES.get(c.dataset)(c.path)
        self._images = select(images.train if c.part == "train" else images.test, c.limit)
        if not self._images:
            raise InputError(f"no images in the {c.part} part", path=c.path)
        self._set = images
        self._names = dict(enumerate(images.class_names))
        slot = c.model_copy(update={"duration": c.duration or c.loops * c.loop})
        return LabelledStream(
            [item.label for item in self._images],
            self._read,
            lambda i, message: InputError(f"image {i}: {message}", path=c.path),
            slot,
            (c.size, c.size),
        )

    def _read(self, i: int) -> Iterator[EventPacket]:
        """The events of one image, in one packet a loop."""
        c = self.config
        light = intensity(self._set.image(self._images[i]))
        camera = EventCamera(c.size, c.size, noise_hz=c.noise, seed=c.seed)
        camera.reset((c.seed, i))
        for loop in range(c.loops):
            parts = []
            for t in range(loop * c.loop, (loop + 1) * c.loop + STEP_US, STEP_US):
                if t == loop * c.loop and loop:
                    continue  # seen as the end of the loop before
                at = min(t, (loop + 1) * c.loop)
                dx, dy = position(at / c.loop, c.amplitude)
                parts.append(camera.feed(moved(light, c.size, c.amplitude, dx, dy), at))
            yield EventPacket(np.concatenate(parts), c.size, c.size)


def intensity(pixels: npt.NDArray[Any]) -> Image:
    """Light in 0…1 of an image uint8 [height, width] or [height, width, 3]."""
    luma = np.array([0.299, 0.587, 0.114], np.float32)
    part = pixels.astype(np.float32) / 255
    grey = part if pixels.ndim == 2 else part @ luma
    light: Image = grey.astype(np.float32) ** np.float32(GAMMA)
    return light


def position(loops: float, amplitude: float) -> tuple[float, float]:
    """Where the image is after so many loops, (x, y) in pixels off the middle: corners of a diamond, joined by straight
    legs; left, bottom, right, top."""
    corners = [(-1, 0), (0, 1), (1, 0), (0, -1), (-1, 0)]
    leg, share = divmod(loops % 1 * 4, 1)
    (x0, y0), (x1, y1) = corners[int(leg)], corners[int(leg) + 1]
    return amplitude * (x0 + share * (x1 - x0)), amplitude * (y0 + share * (y1 - y0))


def moved(light: Image, size: int, amplitude: float, dx: float, dy: float) -> Image:
    """The image scaled to fill the sensor, its margin for moving included, and moved by (dx, dy) pixels."""
    import cv2

    height, width = light.shape
    scale = (size + 2 * amplitude) / min(height, width)
    matrix = np.array(
        [
            [scale, 0, size / 2 + dx - scale * (width - 1) / 2],
            [0, scale, size / 2 + dy - scale * (height - 1) / 2],
        ]
    )
    out = cv2.warpAffine(light, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return out.astype(np.float32, copy=False)
