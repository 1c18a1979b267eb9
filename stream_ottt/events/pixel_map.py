"""How the sensor meets the network's frame: where in the frame each of the sensor's pixels falls."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stream_ottt.events.packet import EventArray

OUTSIDE = -(2**40)
"""Below zero in a sum of coordinates, whatever the other one adds."""


class PixelMap:
    """The pixels of a frame that a sensor's events fall into.

    Args:
        width: sensor width, pixels.
        height: sensor height, pixels.
        shape: (polarities, height, width) of the frame.
        reduce: ``sum``, ``letterbox`` or ``crop``, as in :class:`stream_ottt.events.config.BinningConfig`.

    Attributes:
        crops: whether a part of the sensor falls outside the frame.
    """

    def __init__(self, width: int, height: int, shape: tuple[int, int, int], *, reduce: str) -> None:
        self.shape = shape
        _, h, w = shape
        scale = min(w / width, h / height)
        x_map = axis_map(width, w, reduce=reduce, scale=scale)
        y_map = axis_map(height, h, reduce=reduce, scale=scale)
        self.crops = bool((x_map < 0).any() or (y_map < 0).any())
        self._whole = shape[1:] == (height, width)  # each pixel of the sensor is one of the frame
        self._x = np.where(x_map < 0, OUTSIDE, x_map)
        self._y = np.where(y_map < 0, OUTSIDE, y_map * w)

    def inside(self, events: EventArray) -> npt.NDArray[np.bool_]:
        """Which events [n] fall into the frame."""
        inside: npt.NDArray[np.bool_] = (self._x[events["x"]] + self._y[events["y"]]) >= 0
        return inside

    def __call__(self, events: EventArray) -> npt.NDArray[np.intp]:
        """Where each event [n] falls in the flattened frame; all of them must be inside."""
        # Indices of another type than intp are converted one by one, which takes three times as long.
        pixels = events["y"].astype(np.intp)
        if self._whole:
            pixels *= self.shape[2]
            pixels += events["x"]
        else:
            pixels = self._y.take(pixels)
            pixels += self._x.take(events["x"].astype(np.intp))
        if self.shape[0] == 2:
            pixels += events["p"] * np.intp(self.shape[1] * self.shape[2])
        return pixels


def axis_map(sensor: int, frame: int, *, reduce: str, scale: float) -> npt.NDArray[np.intp]:
    """The frame's coordinate for each of the sensor's, along one axis; -1 where it falls outside.

    Args:
        sensor: pixels of the sensor along this axis.
        frame: pixels of the frame along this axis.
        reduce: as in :class:`PixelMap`.
        scale: frame pixels per sensor pixel, for ``letterbox``.
    """
    at = np.arange(sensor, dtype=np.intp)
    if reduce == "crop":
        at += (frame - sensor) // 2
    elif reduce == "sum":
        at = at * frame // sensor
    else:
        used = min(frame, max(1, round(sensor * scale)))
        at = at * used // sensor + (frame - used) // 2
    at[(at < 0) | (at >= frame)] = -1
    return at
