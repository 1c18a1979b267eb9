"""Rehearsal: a bounded memory of labelled stretches of the stream, learned again beside the live timesteps.

A live stream shows one thing for seconds, and plain online learning then forgets the rest. Every ``stretch`` live
timesteps that were learned are stored as one remembered stretch; remembered stretches are drawn at random and learned
in the same way, one update a timestep, from a state at rest.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from stream_ottt.settings import Bytes, Settings, Unit
from stream_ottt.state import State, take

Frames = npt.NDArray[Any]
"""[…, planes, height, width]: counts as uint8, larger ones than :data:`LARGEST_COUNT` as that; others as float32."""

LARGEST_COUNT = 255


def as_stored(frame: npt.NDArray[np.generic]) -> Frames:
    """Frames of counts as they are stored, uint8; a count above 255 becomes 255."""
    stored: Frames = np.minimum(frame, LARGEST_COUNT).astype(np.uint8)
    return stored


class RehearsalConfig(Settings):
    """When and from how much memory to rehearse.

    Attributes:
        mode: ``alongside`` learns ``ratio`` remembered timesteps for each new one, of as many stretches that take
            turns, ``idle`` does the same in whatever time the stream leaves, ``ratio`` learns ``ratio`` whole stretches
            in a row for each new one, ``off`` never rehearses.
        ratio: remembered timesteps for each new one, fractions allowed, up to 1000; in ``ratio`` mode stretches.
        stretch: timesteps in a stretch, up to 100,000.
        max_bytes: memory for remembered frames, bytes.
        shift: a remembered stretch is learned moved by up to this many pixels of the frame, each way.
        zoom: a remembered stretch is learned enlarged or reduced by up to this factor; 1 leaves its size.
        zoom_half: remembered presentations of a class at which half of ``zoom`` (of its logarithm) is used: with n it
            is zoom^(n/(n + ``zoom_half``)). 0 uses all of it from the first on.
    """

    mode: Literal["off", "alongside", "idle", "ratio"] = "alongside"
    ratio: float = Field(4, ge=0, le=1000)
    stretch: int = Field(15, ge=1, le=100_000)
    max_bytes: Bytes = 64 * 2**20
    shift: Annotated[int, Unit("pixels")] = Field(0, ge=0, le=32767)
    zoom: float = Field(1.0, ge=1, le=4)
    zoom_half: Annotated[int, Unit("presentations")] = Field(0, ge=0, le=10_000)

    @model_validator(mode="after")
    def _whole(self) -> RehearsalConfig:
        if self.mode == "ratio" and self.ratio != int(self.ratio):
            raise ValueError(f"rehearsal.ratio = {self.ratio:g}: 'ratio' learns whole stretches; use a whole number")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Consecutive timesteps of one label.

    Attributes:
        frames: as stored, [timesteps, planes, height, width].
        label: what they show.
        of: number of the presentation that they are of; -1 without one.
        id: its number, in the order of storing; a memory never gives a number twice.
    """

    frames: Frames
    label: int
    of: int = -1
    id: int = -1


class RehearsalMemory:
    """Remembered stretches, balanced over the classes and bounded by bytes.

    When full, a stretch of the class that takes most room goes. Within a class it is a reservoir (Vitter 1985): each
    stretch of the class ever stored is kept with the same probability.

    Args:
        max_bytes: room for frames.
        rng: draws what is replaced and what is rehearsed.
    """

    def __init__(self, max_bytes: int, rng: np.random.Generator) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.rng = rng
        self._kept: dict[int, list[Stretch]] = {}
        self._seen: dict[int, int] = {}
        self._next_id = 0
        self._awaited: list[int] = []

    def __len__(self) -> int:
        return sum(map(len, self._kept.values()))

    def counts(self) -> dict[int, int]:
        """Stretches remembered per label."""
        return {label: len(kept) for label, kept in sorted(self._kept.items())}

    def latest(self, n: int) -> dict[int, list[Stretch]]:
        """Up to ``n`` of the stretches remembered per label; their frames never change."""
        return {label: kept[-n:] for label, kept in sorted(self._kept.items())}

    def await_class(self, label: int) -> None:
        """A class was named while the stream runs: the first that is remembered of it is drawn next."""
        self._awaited.append(label)

    @property
    def overdue(self) -> int | None:
        """A class that was awaited, of which something is remembered and nothing was drawn yet."""
        return next((label for label in self._awaited if self._kept.get(label)), None)

    def store(self, stretch: Stretch) -> None:
        """Remember a stretch, or, when there is no room, let the reservoir decide."""
        size = stretch.frames.nbytes
        if size > self.max_bytes:
            return
        own = self._kept.setdefault(stretch.label, [])
        self._seen[stretch.label] = self._seen.get(stretch.label, 0) + 1
        while self.bytes + size > self.max_bytes:
            largest = max(self._kept, key=lambda k: (sum(s.frames.nbytes for s in self._kept[k]), k == stretch.label))
            if largest == stretch.label:
                # The newcomer takes its place with probability kept / seen, else it is not remembered.
                if self.rng.random() * self._seen[stretch.label] >= len(own):
                    return
                self._forget_one(own)
            else:
                self._forget_one(self._kept[largest])
        own.append(replace(stretch, id=self._next_id))
        self._next_id += 1
        self.bytes += size

    def correct(self, of: int, label: int) -> list[Stretch]:
        """What is remembered of a presentation gets another label; all of it, in the order of storing."""
        found: list[Stretch] = []
        for other, kept in self._kept.items():
            wrong = [s for s in kept if s.of == of]
            if wrong:
                kept[:] = [s for s in kept if s.of != of]
                self._seen[other] -= len(wrong)
                found += wrong
        if found:
            right = [replace(s, label=label) for s in sorted(found, key=lambda s: s.id)]
            self._kept.setdefault(label, []).extend(right)
            self._seen[label] = self._seen.get(label, 0) + len(right)
        return found and right

    def forget(self, of: int) -> None:
        """Nothing of a presentation is remembered any more, as if it had never been."""
        for label, kept in self._kept.items():
            wrong = [s for s in kept if s.of == of]
            if wrong:
                kept[:] = [s for s in kept if s.of != of]
                self._seen[label] -= len(wrong)
                self.bytes -= sum(s.frames.nbytes for s in wrong)

    def _forget_one(self, kept: list[Stretch]) -> None:
        i = int(self.rng.integers(len(kept)))
        self.bytes -= kept[i].frames.nbytes
        kept[i] = kept[-1]
        kept.pop()

    def labels(self) -> list[int]:
        """The classes of which something is remembered."""
        return [label for label in sorted(self._kept) if self._kept[label]]

    def draw(self, among: Collection[int] | None = None) -> Stretch | None:
        """A remembered stretch at random, each class (of ``among``) equally likely; None when there is none.

        A class that is overdue comes first.
        """
        if (overdue := self.overdue) is not None:
            self._awaited.remove(overdue)
            among = [overdue]
        labels = [label for label in self.labels() if among is None or label in among]
        if not labels:
            return None
        kept = self._kept[labels[int(self.rng.integers(len(labels)))]]
        return kept[int(self.rng.integers(len(kept)))]

    def varied(self, stretch: Stretch, how: RehearsalConfig) -> Frames:
        """A stretch's frames as they are learned again: moved and scaled at random."""
        if not how.shift and how.zoom == 1:
            return stretch.frames
        share = 1.0
        if how.zoom_half:  # what little is known of a class is learned as it was, and then ever farther from that
            n = len({kept.of for kept in self._kept[stretch.label]})
            share = n / (n + how.zoom_half)
        return jitter(stretch.frames, self.rng, shift=how.shift, zoom=how.zoom**share)

    def state_dict(self) -> State:
        """All stretches, each under ``stretch/<id>`` and never changed; which are kept, in order; the draws' state."""
        kept = [(label, [(s.id, s.of) for s in stretches]) for label, stretches in self._kept.items()]
        frames = {f"stretch/{s.id}": s.frames for stretches in self._kept.values() for s in stretches}
        seen = list(self._seen.items())
        rng = self.rng.bit_generator.state
        awaited = list(self._awaited)
        return {"kept": kept, "seen": seen, "next_id": self._next_id, "rng": rng, "awaited": awaited, **frames}

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self._kept = {
            label: [Stretch(take(state, f"stretch/{i}"), label, of, i) for i, of in own]
            for label, own in take(state, "kept")
        }
        self._seen = dict(take(state, "seen"))
        self._next_id = take(state, "next_id")
        self._awaited = list(take(state, "awaited"))
        self.rng.bit_generator.state = take(state, "rng")
        self.bytes = sum(s.frames.nbytes for kept in self._kept.values() for s in kept)


def cut(timesteps: int, length: int) -> list[slice]:
    """A whole presentation as the stretches of ``length`` timesteps that a live stream would have made of it.

    The last one counts when it is at least half a stretch long; a presentation shorter than that is one stretch.
    """
    starts = range(0, timesteps, length)
    return [slice(at, min(at + length, timesteps)) for at in starts if not at or 2 * (timesteps - at) >= length]


def jitter(frames: Frames, rng: np.random.Generator, *, shift: int, zoom: float) -> Frames:
    """Frames as seen from a little aside and a little nearer or further, the same for all of them.

    Args:
        frames: as stored, [timesteps, planes, height, width].
        rng: draws the shift, and the factor (its logarithm is uniform).
        shift: largest shift along each axis, pixels.
        zoom: largest factor, ≥ 1.
    """
    factor = np.exp(rng.uniform(-1, 1) * np.log(zoom))
    for axis in (2, 3):
        size = frames.shape[axis]
        middle, moved = (size - 1) / 2, rng.integers(-shift, shift + 1)
        source = np.rint((np.arange(size) - middle - moved) / factor + middle).astype(np.intp)
        outside = (source < 0) | (source >= size)
        frames = frames.take(source.clip(0, size - 1), axis)
        frames[(slice(None),) * axis + (outside,)] = 0
    return frames
