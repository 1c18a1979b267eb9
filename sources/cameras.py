"""Event cameras behind one small interface: dv-processing's (iniVation) and neuromorphic-drivers' (also Prophesee).

Both packages are optional, each imported only when a camera is looked for. They hand over events in batches, which
is what is asked of a camera here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy.typing as npt

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EventArray, make_events

T = TypeVar("T")

WAIT_S = 0.05
"""How long neuromorphic-drivers waits for events before it says that there are none yet."""
INSTALL = "pip install 'stream-ottt[camera]'"


class Camera(Protocol):
    """One open camera.

    Attributes:
        name: its model, where known.
        size: (width, height) in pixels.
        lost: batches that the driver is known to have lost.
    """

    name: str
    size: tuple[int, int]
    lost: int

    def batch(self) -> EventArray | None:
        """The next events; None when there are none yet."""

    def running(self) -> bool:
        """Whether it still answers."""

    def close(self) -> None:
        """Let go of it."""


class DvCamera:
    """Any of dv-processing's inputs: a camera, or a network reader.

    Args:
        reader: a ``dv_processing.io.InputBase``.

    Raises:
        InputError: it gives no events.
    """

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self.name = str(reader.getCameraName())
        self.lost = 0
        size = reader.getEventResolution()
        if size is None:
            raise InputError(f"the camera {self.name} gives no events; choose another with camera://SERIAL")
        self.size = (int(size[0]), int(size[1]))

    def batch(self) -> EventArray | None:
        store = self._reader.getNextEventBatch()
        return None if store is None else _events(store.numpy(), "timestamp", "polarity")

    def running(self) -> bool:
        return bool(self._reader.isRunning())

    def close(self) -> None:
        self._reader = None  # it closes when nothing holds it


class NeuromorphicCamera:
    """A camera of neuromorphic-drivers.

    Args:
        device: what ``neuromorphic_drivers.open(iterator_timeout=…)`` returned.
    """

    def __init__(self, device: Any) -> None:
        self._device = device
        properties = device.properties()
        self.name = str(device.name().value)
        self.size = (int(properties.width), int(properties.height))
        self.lost = 0
        self._running = True

    def batch(self) -> EventArray | None:
        try:
            _, packet = next(self._device)
        except (StopIteration, RuntimeError):  # it was unplugged
            self._running = False
            return None
        if packet is None:
            return None
        if packet.polarity_events_overflow_indices is not None:
            self.lost += len(packet.polarity_events_overflow_indices)
        return None if packet.polarity_events is None else _events(packet.polarity_events, "t", "on")

    def running(self) -> bool:
        return self._running

    def close(self) -> None:
        self._device.close()


def _events(records: npt.NDArray[Any], t: str, on: str) -> EventArray:
    return make_events(records["x"], records["y"], records[t], records[on])


Opening = Callable[[], Camera]
"""Opens a camera that was found."""


def find_dv(serial: str) -> tuple[Opening | None, str]:
    """dv-processing's first camera, or that of a serial number; or None, and what was found instead."""
    camera = importlib.import_module("dv_processing").io.camera
    found = camera.discover()
    for descriptor in found:
        if serial in ("", descriptor.serialNumber):
            return partial(_open_dv, camera, descriptor), ""
    return None, _others([str(d.serialNumber) for d in found])


def find_neuromorphic(serial: str) -> tuple[Opening | None, str]:
    """The same with neuromorphic-drivers."""
    drivers = importlib.import_module("neuromorphic_drivers")
    found = drivers.list_devices()
    for device in found:
        if serial in ("", device.serial):
            if device.error is not None:
                return None, f"found {device.name.value}, which cannot be opened ({device.error})"
            return partial(_open_neuromorphic, drivers, device.serial), ""
    return None, _others([str(d.serial) for d in found])


def _open_dv(module: Any, descriptor: Any) -> Camera:
    return DvCamera(module.open(descriptor))


def _open_neuromorphic(module: Any, serial: str) -> Camera:
    return NeuromorphicCamera(module.open(serial=serial, iterator_timeout=WAIT_S))


def _others(serials: list[str]) -> str:
    return f"found others: {', '.join(serials)}" if serials else "found none"


DRIVERS: dict[str, Callable[[str], tuple[Opening | None, str]]] = {
    "dv-processing": find_dv,
    "neuromorphic-drivers": find_neuromorphic,
}
"""Drivers in the order in which they are asked."""


def find_camera(serial: str, driver: str) -> Camera:
    """Open a camera.

    Args:
        serial: its serial number; empty for the first.
        driver: whose cameras to look for; ``auto`` for all.

    Raises:
        InputError: in one line, what was looked for and what each driver said.
    """
    return _first(serial, driver, lambda opening: opening())


def camera_here(serial: str, driver: str) -> None:
    """The same without opening it."""
    _first(serial, driver, lambda opening: None)


def _first(serial: str, driver: str, use: Callable[[Opening], T]) -> T:
    said = []
    for name, find in DRIVERS.items():
        if driver not in ("auto", name):
            continue
        try:
            opening, what = find(serial)
            if opening is not None:
                return use(opening)
        except ImportError:
            what = f"is not installed ({INSTALL})"
        except RuntimeError as e:
            what = f"failed ({_reason(e)})"
        said.append(f"{name} {what}")
    wanted = f"camera with serial number {serial}" if serial else "camera"
    raise InputError(f"no {wanted}: {'; '.join(said)}; check its cable and your rights to USB devices")


def _reason(error: RuntimeError) -> str:
    """One line of a driver's error, which may be a page with a stack trace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no reason given"]
    return next((line.partition(": ")[2] for line in lines if line.startswith("RuntimeError: ")), lines[0])
