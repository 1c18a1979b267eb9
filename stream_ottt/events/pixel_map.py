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
        adds: what makes up the index in the flattened frame of an event that is inside: intp [sensor width] for its x,
            intp [sensor height] for its y, and a number for the polarity ON.
    """

    def __init__(self, width: int, height: int, shape: tuple[int, int, int], *, reduce: str) -> None:
        _, h, w = shape
        scale = min(w / width, h / height)
        x_map = axis_map(width, w, reduce=reduce, scale=scale)
        y_map = axis_map(height, h, reduce=reduce, scale=scale)
        self.crops = bool((x_map < 0).any() or (y_map < 0).any())
        columns, rows = np.where(x_map < 0, OUTSIDE, x_map), np.where(y_map < 0, OUTSIDE, y_map * w)
        self.adds = columns, rows, h * w if shape[0] == 2 else 0

    def inside(self, events: EventArray) -> npt.NDArray[np.bool_]:
        """Which events [n] fall into the frame."""
        columns, rows, _ = self.adds
        inside: npt.NDArray[np.bool_] = (columns[events["x"]] + rows[events["y"]]) >= 0
        return inside


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
        used = round(sensor * scale)  # 0 of a sensor that is so thin: all of it falls in the middle
        at = at * used // sensor + (frame - used) // 2
    at[(at < 0) | (at >= frame)] = -1
    return at
