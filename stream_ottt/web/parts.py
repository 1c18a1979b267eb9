"""What browsers are sent of a run, from the run's own values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_ottt.events.timestep import StepResult
from stream_ottt.web.message import encode_part

LONGEST_SIDE = 192
"""Pixels of the longer side of a frame as it is sent; larger ones are put together block by block."""


def frame_part(result: StepResult) -> bytes:
    """A timestep's frame and the prediction on it.

    Arrays: ``frame`` uint8 [polarity, height, width], counts up to 255; ``probabilities`` float32 [classes].
    """
    timestep, prediction = result.timestep, result.prediction
    fields = {
        "step": timestep.index,
        "t_start": timestep.t_start,
        "t_end": timestep.t_end,
        "events": timestep.events,
        "label": prediction.label,
        "truth": result.truth,
        "scored": result.scored,
        "latency_ms": prediction.latency_s * 1e3,
    }
    with np.errstate(invalid="ignore"):  # a network that diverged is still shown
        probabilities = prediction.softmax().astype(np.float32)
    return encode_part("frame", fields, {"frame": small(timestep.frame), "probabilities": probabilities})


def small(frame: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Counts as uint8, clamped at 255, on at most ``LONGEST_SIDE`` pixels a side; a block of pixels is added up."""
    block = -(-max(frame.shape[1:]) // LONGEST_SIDE)
    if block > 1:
        for axis in (1, 2):
            frame = np.add.reduceat(frame, np.arange(0, frame.shape[axis], block), axis=axis)
    return np.minimum(frame, 255).astype(np.uint8)


def thumbnails(pictures: Sequence[npt.NDArray[Any]], side: int = 48) -> npt.NDArray[np.uint8]:
    """Pictures of one shape [polarity, height, width], each scaled to its own brightest pixel.

    Returns:
        uint8 [pictures, polarity, ≤ side, ≤ side].
    """
    found = []
    for picture in pictures:
        block = -(-max(picture.shape[1:]) // side)
        level = picture.astype(np.float32)
        for axis in (1, 2):
            level = np.add.reduceat(level, np.arange(0, level.shape[axis], block), axis=axis)
        found.append((np.sqrt(level / max(1.0, float(level.max()))) * 255).astype(np.uint8))
    return np.stack(found) if found else np.zeros((0, 1, 1, 1), np.uint8)
