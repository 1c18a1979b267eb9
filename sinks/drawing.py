"""Pictures of timesteps: event frames in two colours, with lines of text beneath them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from stream_ottt.events.timestep import StepResult

if TYPE_CHECKING:
    from stream_ottt.pipeline.view import RunFacts

Frame = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]

ON = (255, 170, 51)
OFF = (77, 148, 255)
BACKGROUND = (20, 20, 28)
RIGHT = (96, 211, 120)
WRONG = (255, 99, 99)
PLAIN = (222, 222, 222)
FAINT = (150, 150, 158)
"""Colours, RGB."""

MIN_WIDTH = 240
"""Width in pixels that the text under a picture needs."""


class Line(NamedTuple):
    """A line of text under a picture.

    Attributes:
        text: what is written.
        colour: RGB.
        size: OpenCV's scale of the font.
    """

    text: str
    colour: tuple[int, int, int] = PLAIN
    size: float = 0.45

    @property
    def height(self) -> int:
        """Pixels from the line before to this one."""
        return round(14 + 18 * self.size)

    @property
    def ascii(self) -> str:
        """The text as OpenCV's built-in fonts can write it."""
        return self.text.encode("ascii", "replace").decode()


def aspect_of(facts: RunFacts, frame: Frame) -> tuple[int, int]:
    """Width to height of what a frame [polarity, height, width] shows: a frame onto which the whole sensor is mapped is
    shown in the sensor's aspect."""
    reduce = facts.settings.get("binning", {}).get("reduce", "sum")
    if facts.filtered is not None and reduce == "sum":
        return facts.filtered
    return frame.shape[2], frame.shape[1]


def resized(frame: Frame, width: int, height: int) -> Frame:
    """A frame of another size: counts of pixels that fall together are added up, pixels are repeated where it grows.

    Args:
        frame: float32 [polarity, height, width].
        width: pixels, ≥ 1.
        height: pixels, ≥ 1.
    """
    for axis, size in ((1, height), (2, width)):
        now = frame.shape[axis]
        at = np.arange(size) * now // size
        frame = np.add.reduceat(frame, at, axis=axis) if size < now else frame.take(at, axis=axis)
    return frame


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


def size_of(aspect: tuple[int, int], side: int, scale: int | None = None) -> tuple[int, int]:
    """Width and height of a picture of ``aspect``, pixels of a sensor or a frame: each of these is ``scale`` pixels
    wide, or as many as make the longer side ``side`` pixels at least."""
    times = scale or max(1, -(-side // max(aspect)))
    return aspect[0] * times, aspect[1] * times


def enlarged(frame: Frame, size: tuple[int, int]) -> Image:
    """A frame in :func:`colours`, uint8 [height, width, 3] of ``size`` (width, height), without smoothing."""
    import cv2

    return np.asarray(cv2.resize(colours(frame), size, interpolation=cv2.INTER_NEAREST), np.uint8)


def verdict(result: StepResult, names: Mapping[int, str]) -> list[Line]:
    """Prediction, truth and time, in two lines."""
    p = result.prediction
    said, paint = f"{'unknown' if p.unknown else class_name(names, p.label)} {p.confidence:.0%}", PLAIN
    second = [f"t {p.t_end / 1e6:.2f} s"]
    if result.truth is not None:
        paint = RIGHT if result.truth == p.label else WRONG
        second.insert(0, f"truth {class_name(names, result.truth)}")
    return [Line(said, paint, 0.6), Line("   ".join(second))]


def annotated(picture: Image, lines: Sequence[Line], *, wrap: bool = True) -> Image:
    """A picture for OpenCV, and a strip beneath it with lines of text.

    Args:
        picture: RGB, uint8 [height, width, 3].
        lines: what is written.
        wrap: whether what does not fit goes on in a further line; else it is cut, and all pictures are of one size.

    Returns:
        BGR, uint8 [height + that of the strip, max(width, MIN_WIDTH), 3], each side rounded up to an even number, which
        MP4 needs. A narrower picture stands in the middle.
    """
    import cv2

    height, width = picture.shape[:2]
    sides = max(0, MIN_WIDTH - width)
    written = [part for line in lines for part in _wrapped(line, width + sides - 16)] if wrap else lines
    strip = sum(line.height for line in written) + 8
    below, right = strip + (height + strip) % 2, sides - sides // 2 + (width + sides) % 2
    # OpenCV's order is blue, green, red.
    turned = np.ascontiguousarray(picture[..., ::-1])
    out = cv2.copyMakeBorder(turned, 0, below, sides // 2, right, cv2.BORDER_CONSTANT, value=BACKGROUND[::-1])
    y = height
    for line in written:
        y += line.height
        at = (8, y)
        cv2.putText(out, line.ascii, at, cv2.FONT_HERSHEY_SIMPLEX, line.size, line.colour[::-1], 1, cv2.LINE_AA)
    return np.asarray(out, np.uint8)


def _wrapped(line: Line, width: int) -> list[Line]:
    """A line in parts of at most ``width`` pixels, cut between words."""
    import cv2

    parts: list[str] = []
    for word in line.ascii.split(" "):
        longer = f"{parts[-1]} {word}" if parts else word
        (across, _), _ = cv2.getTextSize(longer, cv2.FONT_HERSHEY_SIMPLEX, line.size, 1)
        if parts and across <= width:
            parts[-1] = longer
        else:
            parts.append(word)
    return [Line(part, line.colour, line.size) for part in parts]
