"""A sample's events as T frames: the paper's equal counts, which need the whole sample, or causal windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stream_ottt.events.packet import EventArray
from stream_ottt.events.pixel_map import axis_map
from stream_ottt.replay.config import DataConfig

Raw = npt.NDArray[Any]
"""Frames before any transform of frames, [T or 1, channels, height, width]; one alone stands for T equal ones. Integers
are counts or pixel values, float32 is what a transform of events made of them."""


def frame_events(events: EventArray, sensor: tuple[int, int], config: DataConfig) -> Raw:
    """Count events into frames.

    Args:
        events: [n], in any order of time.
        sensor: (width, height); events outside are left out.
        config: binning and size.

    Returns:
        [T, 2, height, width], OFF then ON; uint8 when no count is above 255, else uint16 (larger counts are capped).
    """
    width, height = sensor
    events = on_sensor(events, sensor)
    steps = config.time_steps
    which = _frame_of(events["t"], config)
    kept = which < steps
    if not kept.all():
        events, which = events[kept], which[kept]
    w, h = config.width or width, config.height or height
    columns = axis_map(width, w, reduce="sum", scale=1)[events["x"]]
    rows = axis_map(height, h, reduce="sum", scale=1)[events["y"]]
    flat = ((which * 2 + events["p"]) * h + rows) * w + columns
    counts = np.bincount(flat, minlength=steps * 2 * h * w).reshape(steps, 2, h, w)
    if counts.max(initial=0) < 256:
        return counts.astype(np.uint8)
    return np.minimum(counts, 65535).astype(np.uint16)


def on_sensor(events: EventArray, sensor: tuple[int, int]) -> EventArray:
    """The events [m ≤ n] that lie on the sensor (width, height), in order of time."""
    width, height = sensor
    x, y = events["x"], events["y"]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    if not inside.all():
        events = events[inside]
    t = events["t"]
    if len(t) > 1 and (np.diff(t) < 0).any():
        events = events[np.argsort(t, kind="stable")]
    return events


def _frame_of(t: npt.NDArray[np.int64], config: DataConfig) -> npt.NDArray[np.int64]:
    """The frame of each event in order of time; T and above for those after the last."""
    order = np.arange(len(t), dtype=np.int64)
    if config.binning == "equal-count":
        # What does not divide goes to the last frame.
        return np.minimum(order // max(len(t) // config.time_steps, 1), config.time_steps - 1)
    if config.binning == "count":
        return order // config.count
    return (t - t[0]) // config.window if len(t) else order
