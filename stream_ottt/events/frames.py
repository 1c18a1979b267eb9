"""What a frame shows of the events in its window: counts, a time surface, decaying sums, or counts in two time bins.

A frame builder takes the events of one window after the other, in pieces of any size, and closes each window into a
frame. It sees no event from behind the window's end. Where several pixels of the sensor fall into one of the frame,
their events are taken together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import deepcopy
from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt
from pydantic import Field

from stream_ottt.registry import Registry, options_of
from stream_ottt.settings import Duration, Settings
from stream_ottt.state import take

Frame = npt.NDArray[np.float32]
Shape = tuple[int, int, int]

FRAMES = Registry(
    "frame",
    {
        "counts": "stream_ottt.events.frames:Counts",
        "time-surface": "stream_ottt.events.frames:TimeSurface",
        "decay": "stream_ottt.events.frames:Decay",
        "voxel-2": "stream_ottt.events.frames:TwoBins",
    },
)


class FrameConfig(Settings):
    """Options of a frame, as ``?key=value`` of its specification."""


class FrameBuilder(ABC):
    """Turns the events of a window into a frame.

    Class attributes:
        name: in the registry.
        Config: the pydantic model of its options.
        planes_per_polarity: planes that a frame has for each polarity.
        remembers: the attributes that :meth:`state_dict` holds.

    Args:
        config: an instance of ``Config``.
        shape: (polarities, height, width), as events are flattened into.

    Attributes:
        shape: (planes, height, width) of the frames.
        counts: int32 [pixels], to which who feeds it may add events instead of calling :meth:`add`; empty where counts
            are not enough.
    """

    name: ClassVar[str]
    Config: ClassVar[type[FrameConfig]] = FrameConfig
    planes_per_polarity: ClassVar[int] = 1
    remembers: ClassVar[tuple[str, ...]]

    def __init__(self, config: FrameConfig, shape: Shape) -> None:
        self.config = config
        self.shape = (shape[0] * self.planes_per_polarity, *shape[1:])
        self._pixels = shape[0] * shape[1] * shape[2]
        self.counts = np.zeros(0, np.int32)

    @abstractmethod
    def add(self, pixels: npt.NDArray[np.intp], t: npt.NDArray[np.int64]) -> None:
        """Put events into the open window.

        Args:
            pixels: [n], where each event falls in the flattened [polarity, height, width].
            t: [n], µs, in the window; order matters only to the last bits of a sum.
        """

    @abstractmethod
    def close(self, start: int, end: int) -> Frame:
        """The frame of the open window [start, end), µs, as float32 [planes, height, width]; the next window opens."""

    @abstractmethod
    def reset(self) -> None:
        """Forget all events, those of the open window too: a new sample begins."""

    def state_dict(self) -> dict[str, Any]:
        """What is remembered of the events so far: plain numbers, None and numpy arrays, copied."""
        return {name.lstrip("_"): deepcopy(getattr(self, name)) for name in self.remembers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` of a builder of the same settings gave."""
        for name in self.remembers:
            setattr(self, name, deepcopy(take(state, name.lstrip("_"))))


class Counts(FrameBuilder):
    """Events of the window, per pixel."""

    name = "counts"
    remembers = ("counts",)

    def __init__(self, config: FrameConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        from stream_ottt.events.binning_kernel import take

        self._take = take
        self.counts = np.zeros(self._pixels, np.int32)

    def add(self, pixels: npt.NDArray[np.intp], t: npt.NDArray[np.int64]) -> None:
        """Count events."""
        np.add.at(self.counts, pixels, 1)

    def close(self, start: int, end: int) -> Frame:
        """The counts."""
        frame = np.empty(self._pixels, np.float32)
        self._take(self.counts, frame)
        return frame.reshape(self.shape)

    def reset(self) -> None:
        """Forget the open window."""
        self.counts[:] = 0


class FadingConfig(FrameConfig):
    """Options of frames that remember.

    Attributes:
        tau: time constant: what an event leaves behind falls to 1/e in this time, µs.
    """

    tau: Duration = Field(50_000, ge=1, lt=2**63)


class TimeSurface(FrameBuilder):
    """How recent the latest event of each pixel is: exp(−(end − t_last) / tau), and 0 where there was none.

    Lagorce et al., "HOTS: a hierarchy of event-based time-surfaces for pattern recognition", 2016, over the whole
    frame. Events of earlier windows of the sample count.
    """

    name = "time-surface"
    remembers = ("_last",)
    Config = FadingConfig
    config: FadingConfig

    def __init__(self, config: FadingConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        self._last = np.full(self._pixels, -1, np.int64)

    def add(self, pixels: npt.NDArray[np.intp], t: npt.NDArray[np.int64]) -> None:
        """Remember the latest time of each pixel."""
        np.maximum.at(self._last, pixels, t)

    def close(self, start: int, end: int) -> Frame:
        """The surface, as seen at the window's end."""
        age = np.maximum(end - self._last, 0)
        surface = np.where(self._last < 0, 0.0, np.exp(age / -self.config.tau))
        return surface.reshape(self.shape).astype(np.float32)

    def reset(self) -> None:
        """Forget all times."""
        self._last[:] = -1


class Decay(FrameBuilder):
    """The sum of exp(−(end − t) / tau) over all events of a pixel since the sample began: a leaky integral."""

    name = "decay"
    remembers = ("_sum", "_last")
    Config = FadingConfig
    config: FadingConfig

    def __init__(self, config: FadingConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        from stream_ottt.events.frame_kernels import add_decaying

        self._add = add_decaying
        # Each pixel's sum as it was at the time of its latest event: the result is the same however events come in.
        self._sum = np.zeros(self._pixels)
        self._last = np.zeros(self._pixels, np.int64)

    def add(self, pixels: npt.NDArray[np.intp], t: npt.NDArray[np.int64]) -> None:
        """Let the sums decay up to each event, and add it."""
        self._add(pixels, t, self._sum, self._last, float(self.config.tau))

    def close(self, start: int, end: int) -> Frame:
        """The sums, decayed to the window's end."""
        age = np.maximum(end - self._last, 0)
        decayed = self._sum * np.exp(age / -self.config.tau)
        return decayed.reshape(self.shape).astype(np.float32)

    def reset(self) -> None:
        """Forget all sums."""
        self._sum[:] = 0
        self._last[:] = 0


class TwoBins(FrameBuilder):
    """A voxel grid with two time bins: an event at the share r = (t − start) / (end − start) of its window counts
    1 − r in the early bin and r in the late one.

    The bilinear kernel of Zhu et al., "Unsupervised event-based learning of optical flow, depth, and egomotion", 2019,
    with the polarities in planes of their own: first those of the early bin, then those of the late one.
    """

    name = "voxel-2"
    remembers = ("_counts", "_times", "_origin")
    planes_per_polarity = 2

    def __init__(self, config: FrameConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        self._counts = np.zeros(self._pixels)
        self._times = np.zeros(self._pixels)  # sum of t − origin: whole numbers, so that their order changes nothing
        self._origin: int | None = None

    def add(self, pixels: npt.NDArray[np.intp], t: npt.NDArray[np.int64]) -> None:
        """Add up events and their times."""
        if not len(pixels):
            return
        if self._origin is None:
            self._origin = int(t[0])
        self._counts += np.bincount(pixels, minlength=self._pixels)
        self._times += np.bincount(pixels, weights=t - self._origin, minlength=self._pixels)

    def close(self, start: int, end: int) -> Frame:
        """Both bins."""
        origin = start if self._origin is None else self._origin
        late = (self._times + self._counts * (origin - start)) / (end - start)
        frame = np.stack([self._counts - late, late]).reshape(self.shape).astype(np.float32)
        self.reset()
        return frame

    def reset(self) -> None:
        """Forget the open window."""
        self._counts[:] = 0
        self._times[:] = 0
        self._origin = None


def parse_frame(spec: str) -> tuple[type[FrameBuilder], FrameConfig]:
    """The builder and the options that a specification means, such as ``counts`` or ``time-surface:?tau=20ms``.

    Raises:
        UsageError: unknown name or option; it names the near miss.
    """
    head, _, query = spec.partition("?")
    name = head.strip().removesuffix(":")
    builder = cast("type[FrameBuilder]", FRAMES.get(name))
    options = options_of(query)
    return builder, builder.Config.load(options, where=f"frame:{name}")


def open_frames(spec: str, shape: Shape) -> FrameBuilder:
    """The frame builder that a specification means.

    Args:
        spec: see :func:`parse_frame`.
        shape: (polarities, height, width).
    """
    builder, config = parse_frame(spec)
    return builder(config, shape)
