"""The built-in labelled scene: simple moving gestures as images of light intensity, the same for a seed.

The classes of a pair (right and left, up and down, …) differ in nothing but the sign of time: the same shapes
are drawn at phase ``φ0 + rate · t`` for the one and ``φ0 − rate · t`` for the other. Shapes are brighter or
darker than the background at random, so which edge is ON and which OFF tells nothing of the direction either.
What tells it is the order of the events in time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from stream_ottt.labels.timeline import LabelInterval

SIZE = 128
"""Width and height of the images, as the DVS128's."""

FRAME_US = 4_000
"""Time from one image to the next, µs. The fastest edge moves 1.6 pixels in it, less than an edge is wide."""

FADE_US = 40_000
"""How long a gesture and its background take to appear at the start and to vanish at the end, µs."""

LEVEL = 0.25
"""Mean intensity of the background, in 0…1."""

Image = npt.NDArray[np.float32]

_Y, _X = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)


class Motion(ABC):
    """One presentation's shape, its place, size and speed drawn at random; :meth:`cover` draws it at a phase.

    Attributes:
        rate: cycles per second.
    """

    rate: float

    def __init__(self, rng: np.random.Generator) -> None:
        centre = SIZE / 2 + rng.uniform(-10, 10, 2)
        self.x = _X - np.float32(centre[0])
        self.y = _Y - np.float32(centre[1])
        self.softness = rng.uniform(1.5, 2.5)

    @abstractmethod
    def cover(self, phase: float) -> Image:
        """How far each pixel belongs to the shape, float32 [SIZE, SIZE] in 0…1, at ``phase`` (period 1)."""

    def within(self, distance: Image) -> Image:
        """1 where ``distance`` (pixels) is below 0, 0 where above, over a soft edge."""
        inside = 0.5 - distance * np.float32(1 / self.softness)
        covered: Image = np.minimum(np.maximum(inside, 0), 1)
        return covered


class Sweep(Motion):
    """A bar that crosses the field sideways along ``axis``, again and again."""

    axis: ClassVar[float]

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self.travel = rng.uniform(90, 110)
        self.rate = rng.uniform(220, 380) / self.travel
        self.half = rng.uniform(3, 6)
        angle = self.axis + rng.uniform(-0.25, 0.25)
        along, across = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        self.along = self.x * along + self.y * across
        length = np.float32(rng.uniform(16, 28))
        self.ends = self.within(np.abs(self.y * along - self.x * across) - length)

    def cover(self, phase: float) -> Image:
        p = phase % 1
        bar = self.within(np.abs(self.along - np.float32((p - 0.5) * self.travel)) - np.float32(self.half))
        return bar * (self.ends * np.float32(_fade(p)))


class SweepAcross(Sweep):
    """Along x."""

    axis = 0.0


class SweepUpright(Sweep):
    """Along y."""

    axis = np.pi / 2


class Turn(Motion):
    """An arm that turns about one end, or a bar about its middle."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self.rate = rng.uniform(0.9, 1.5)
        self.half = rng.uniform(3, 6)
        self.one_armed = rng.random() < 0.5
        self.disc = self.within(np.hypot(self.x, self.y) - np.float32(rng.uniform(38, 52)))

    def cover(self, phase: float) -> Image:
        angle = 2 * np.pi * phase
        c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        bar = self.within(np.abs(self.y * c - self.x * s) - np.float32(self.half)) * self.disc
        return bar * self.within(-self.x * c - self.y * s) if self.one_armed else bar


class Ring(Motion):
    """A ring that widens as the phase grows, again and again."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self.inner, self.outer = rng.uniform(3, 8), rng.uniform(34, 44)
        self.rate = rng.uniform(160, 260) / (self.outer - self.inner)
        self.half = rng.uniform(2.5, 4.5)
        squash = np.float32(rng.uniform(0.8, 1.25))
        self.radius = np.hypot(self.x * squash, self.y / squash)

    def cover(self, phase: float) -> Image:
        p = phase % 1
        radius = np.float32(self.inner + p * (self.outer - self.inner))
        return self.within(np.abs(self.radius - radius) - np.float32(self.half)) * np.float32(_fade(p))


class Drum(Motion):
    """Two hands, side by side, that beat up and down in turn."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self.rate = rng.uniform(2, 3.5)
        self.beat = rng.uniform(14, 22)
        self.half = rng.uniform(4, 7)
        apart, width = rng.uniform(22, 34), rng.uniform(10, 16)
        self.hands = [self.within(np.abs(self.x - np.float32(side * apart)) - np.float32(width)) for side in (-1, 1)]

    def cover(self, phase: float) -> Image:
        drawn: Image = np.zeros_like(self.y)
        for side, hand in zip((-1, 1), self.hands, strict=True):
            height = np.float32(side * self.beat * np.sin(2 * np.pi * phase))
            drawn += self.within(np.abs(self.y - height) - np.float32(self.half)) * hand
        return drawn


def _fade(p: float) -> float:
    """Contrast of a shape at ``p`` of its way in 0…1: full, but fading to both ends, where it starts anew."""
    return min(1.0, 10 * p, 10 * (1 - p))


GESTURES: tuple[tuple[str, type[Motion], int], ...] = (
    ("right", SweepAcross, 1),
    ("left", SweepAcross, -1),
    ("up", SweepUpright, -1),
    ("down", SweepUpright, 1),
    ("clockwise", Turn, 1),
    ("anticlockwise", Turn, -1),
    ("expand", Ring, 1),
    ("contract", Ring, -1),
    ("drum", Drum, 1),
)
"""By label: name, shape, and the sign of time. y grows downwards, so a growing angle turns clockwise."""


class Presentation:
    """One gesture with everything about it drawn from ``rng``, the same for both classes of a pair.

    Args:
        label: index into :data:`GESTURES`.
        rng: where its chances come from.
        duration_us: how long it is shown, µs.
    """

    def __init__(self, label: int, rng: np.random.Generator, duration_us: int) -> None:
        _, motion, self.direction = GESTURES[label]
        self.duration_us = duration_us
        self.motion = motion(rng)
        self.phase = rng.uniform()
        self.background = _texture(rng)
        contrast = rng.uniform(0.7, 1.2) * rng.choice([-1, 1])  # log intensity, shape to background
        self.level = np.float32(LEVEL * np.exp(contrast))

    def image(self, t: int) -> Image:
        """The image ``t`` µs after the start: linear intensity in 0…1, float32 [SIZE, SIZE]."""
        shown = min(1.0, t / FADE_US, (self.duration_us - t) / FADE_US)
        if shown <= 0:
            return blank()
        image = self.motion.cover(self.phase + self.direction * self.motion.rate * t * 1e-6)
        image *= self.level - self.background
        image += self.background - np.float32(LEVEL)
        image *= np.float32(shown)
        image += np.float32(LEVEL)
        return image


def blank() -> Image:
    """What is seen between presentations."""
    return np.full((SIZE, SIZE), LEVEL, np.float32)


def _texture(rng: np.random.Generator) -> Image:
    """A background of a few faint waves, about 5 % strong: too faint to send events of its own."""
    waves: Image = np.zeros_like(_X)
    for _ in range(6):
        kx, ky = rng.uniform(-0.5, 0.5, 2).astype(np.float32)
        waves += np.cos(kx * _X + ky * _Y + np.float32(rng.uniform(0, 2 * np.pi)))
    texture: Image = np.float32(LEVEL) * np.exp(np.float32(0.03) * waves)
    return texture


@dataclass(frozen=True, slots=True)
class Scene:
    """A course of presentations, one after another.

    Attributes:
        seed: everything random follows from it.
        presentations: how many.
        classes: the first so many of :data:`GESTURES` occur.
        duration_us: length of each, µs.
        pause_us: time between two, in which nothing moves, µs.
    """

    seed: int
    presentations: int
    classes: int
    duration_us: int
    pause_us: int

    def intervals(self) -> list[LabelInterval]:
        """When each class is shown: all equally often (to within one), in random order."""
        rng = np.random.default_rng((self.seed, 0))
        order = np.resize(rng.permutation(self.classes), self.presentations)
        rng.shuffle(order)
        period = self.duration_us + self.pause_us
        return [LabelInterval(i * period, i * period + self.duration_us, int(label)) for i, label in enumerate(order)]

    def images(self) -> Iterator[tuple[Image, int]]:
        """The images, each with its time in µs: every :data:`FRAME_US` from 0, and one at the very end."""
        period = self.duration_us + self.pause_us
        t = 0
        for i, interval in enumerate(self.intervals()):
            shown = Presentation(interval.label, np.random.default_rng((self.seed, 1 + i)), self.duration_us)
            while t < (i + 1) * period:
                yield shown.image(t - interval.t_start), t
                t += FRAME_US
        yield blank(), self.presentations * period
