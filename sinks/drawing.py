"""Pictures of timesteps: event frames in two colours, with the prediction written beneath them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from stream_ottt.events.timestep import StepResult

Frame = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

ON = (255, 170, 51)
OFF = (77, 148, 255)
BACKGROUND = (20, 20, 28)
RIGHT = (96, 211, 120)
WRONG = (255, 99, 99)
PLAIN = (222, 222, 222)
"""Colours, RGB."""

BANNER = 56
"""Height in pixels of the strip under a frame that holds the prediction."""

MIN_WIDTH = 240
"""Width in pixels that the strip's text needs."""


def fit(frame: Frame, side: int) -> Frame:
    """A frame whose longer side is at most ``side`` and more than half of it, aspect ratio kept.

    Counts of pixels that fall together are added up; a small frame is repeated a whole number of times.

    Args:
        frame: float32 [polarity, height, width].
        side: pixels, ≥ 1.
    """
    _, height, width = frame.shape
    longer = max(height, width)
    if longer <= side:
        times = side // longer
        return frame.repeat(times, axis=1).repeat(times, axis=2)
    rows = max(1, round(height * side / longer))
    columns = max(1, round(width * side / longer))
    summed = np.add.reduceat(frame, np.arange(rows) * height // rows, axis=1)
    return np.add.reduceat(summed, np.arange(columns) * width // columns, axis=2)


def brightness(frame: Frame) -> Frame:
    """Counts as brightness in [0, 1]: a square root, so that single events show; 1 at the busiest."""
    lit = frame[frame > 0]
    full = max(1.0, float(np.quantile(lit, 0.98))) if lit.size else 1.0
    level: Frame = np.sqrt(np.clip(frame / full, 0, 1))
    return level


def colours(frame: Frame) -> Image:
    """An RGB picture, uint8 [height, width, 3]: ON in orange, OFF in blue, both mixed where both occurred.

    Args:
        frame: float32 [polarity, height, width]; one plane is drawn in the colour of ON.
    """
    level = brightness(frame)
    background = np.array(BACKGROUND, np.float32)
    paints = (OFF, ON) if len(level) == 2 else (ON,)
    picture = np.broadcast_to(background, (*level.shape[1:], 3)).copy()
    for plane, paint in zip(level, paints, strict=True):
        picture += plane[..., None] * (np.array(paint, np.float32) - background)
    return np.clip(picture, 0, 255).astype(np.uint8)


def class_name(names: Mapping[int, str], label: int) -> str:
    """The name of a label, or its number where it has none."""
    return names.get(label, str(label))


def annotated(result: StepResult, names: Mapping[int, str], scale: int) -> Image:
    """A BGR picture for OpenCV: the frame enlarged, and a strip beneath it with prediction, truth and time.

    Args:
        result: what to draw.
        names: of the classes.
        scale: whole number of picture pixels per frame pixel, ≥ 1.

    Returns:
        uint8 [height · scale + BANNER, max(width · scale, MIN_WIDTH), 3], each side rounded up to an even
        number, which MP4 needs. A narrower frame stands in the middle.
    """
    import cv2

    # OpenCV's order is blue, green, red; turned round while the picture is small.
    small = np.ascontiguousarray(colours(result.timestep.picture())[..., ::-1])
    picture = cv2.resize(small, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    height, width = picture.shape[:2]
    sides = max(0, MIN_WIDTH - width)
    below, right = BANNER + height % 2, sides - sides // 2
    right += (width + sides) % 2
    picture = cv2.copyMakeBorder(picture, 0, below, sides // 2, right, cv2.BORDER_CONSTANT, value=BACKGROUND[::-1])

    p = result.prediction
    said, paint = f"{'unknown' if p.unknown else class_name(names, p.label)} {p.confidence:.0%}", PLAIN
    second = f"t {p.t_end / 1e6:.2f} s"
    if result.truth is not None:
        paint = RIGHT if result.truth == p.label else WRONG
        second = f"truth {class_name(names, result.truth)}   {second}"
    for text, y, size, colour in ((said, 24, 0.6, paint), (second, 46, 0.45, PLAIN)):
        # OpenCV's built-in fonts hold ASCII alone.
        ascii_text = text.encode("ascii", "replace").decode()
        at, bgr = (8, height + y), colour[::-1]
        cv2.putText(picture, ascii_text, at, cv2.FONT_HERSHEY_SIMPLEX, size, bgr, 1, cv2.LINE_AA)
    return np.asarray(picture, np.uint8)
