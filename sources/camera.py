"""A camera plugged into this machine: ``camera://``, or ``camera://SERIAL`` where there are several."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any, Literal

import numpy as np
from pydantic import Field

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EVENT_DTYPE, EventPacket
from stream_ottt.pipeline.off_the_loop import off_the_loop
from stream_ottt.pipeline.source import Source, SourceConfig
from stream_ottt.sources.cameras import Camera, camera_here, find_camera

POLL_S = 0.002
"""How long to wait for events when there are none."""
IDLE_S = 0.1
"""How long at most, before it is looked whether the run was ended."""


class CameraConfig(SourceConfig):
    """Options of :class:`CameraSource`.

    Attributes:
        address: ``camera://``, with a serial number or without.
        driver: whose cameras to look for.
    """

    address: str = Field("camera://", pattern=r"^camera:(//)?[\w .-]*$")
    driver: Literal["auto", "dv-processing", "neuromorphic-drivers"] = "auto"

    @property
    def serial(self) -> str:
        """The serial number; empty for the first camera found."""
        return self.address.removeprefix("camera:").removeprefix("//")


class CameraSource(Source):
    """Events of a camera, as they come. It has no end but its cable's.

    Args:
        config: its options.
        find: opens the camera of a serial number and a driver.
    """

    name = "camera"
    schemes = ("camera",)
    Config = CameraConfig
    live = True
    config: CameraConfig

    def __init__(self, config: CameraConfig, find: Callable[[str, str], Camera] = find_camera) -> None:
        super().__init__(config)
        self.size_from = "camera"
        self._find = find
        self._camera: Camera | None = None

    def check(self) -> None:
        camera_here(self.config.serial, self.config.driver)

    async def __aiter__(self) -> AsyncIterator[EventPacket]:
        self._camera = await asyncio.to_thread(self._find, self.config.serial, self.config.driver)
        try:
            async with aclosing(off_the_loop(_packets(self._camera))) as packets:
                async for packet in packets:
                    if len(packet):
                        yield packet
        finally:
            await asyncio.to_thread(self._camera.close)
        raise InputError(f"the camera {self._camera.name} no longer answers; check its cable", path=self.config.address)

    def describe(self) -> dict[str, Any]:
        return {"camera": self._camera.name} if self._camera else {}

    def statistics(self) -> dict[str, Any]:
        return {"camera": self._camera.name, "lost_batches": self._camera.lost} if self._camera else {}


def _packets(camera: Camera) -> Iterator[EventPacket]:
    """Packets until the camera no longer answers; an empty one now and then, while there are none."""
    nothing = EventPacket(np.empty(0, EVENT_DTYPE), *camera.size)
    quiet = 0.0
    while True:
        running = camera.running()  # asked first: what was under way is then still read
        events = camera.batch()
        if events is not None and len(events):
            yield EventPacket(events, *camera.size)
            quiet = 0.0
        elif not running:
            return
        elif quiet < IDLE_S:
            time.sleep(POLL_S)
            quiet += POLL_S
        else:
            yield nothing
            quiet = 0.0
