"""A labelled collection as one stream: samples laid one after another in time, each with its label interval.

Each sample gets a slot. Its first event stands at the slot's start; the slot lasts ``duration``, or until 1
µs after the sample's last event; then comes ``gap``, then the next slot. Events whose times are wrong are neither first
nor last. The intervals must be known before the first packet, so without a ``duration`` every selected sample is read
once beforehand to learn its span (kept for later passes).
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.clock import Clock
from stream_ottt.events.packet import EventPacket
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.pipeline.excerpt import from_its_first
from stream_ottt.pipeline.source import BlockingSource, FileConfig
from stream_ottt.settings import Duration

MAX_SPAN_US = 2**53
"""285 years: times further apart than this in one sample are damage."""


class SampleConfig(FileConfig):
    """How a labelled collection becomes a stream.

    Attributes:
        samples: which samples, as a slice ``start:stop`` or ``start:stop:step`` of their order in the
            collection.
        shuffle: another order in each pass; the selection stays the same.
        seed: of the orders. The same seed and pass give the same order.
        gap: µs without events between two slots.
        duration: length of every slot, µs. Longer samples are cut there, which is no loss but the user's
            wish: what is cut is not part of the stream. None: each sample's own span.
    """

    samples: str | None = None
    shuffle: bool = False
    seed: int = Field(default=0, ge=0)
    gap: Duration = 0
    duration: Duration | None = Field(default=None, gt=0)

    @field_validator("samples")
    @classmethod
    def _is_slice(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"(-?\d+)?:(-?\d+)?(:-?[1-9]\d*)?", value):
            raise ValueError("expected a slice such as '0:600' or '600:'")
        return value

    def select(self, n: int) -> range:
        """Indices of the selected samples out of ``n``, in the collection's order."""
        if self.samples is None:
            return range(n)
        return range(n)[slice(*(int(part) if part else None for part in self.samples.split(":")))]

    def refuse(self, what: str) -> None:
        """Raises UsageError when an option of collections was given for ``what``, which is none."""
        given = sorted(self.model_fields_set & set(SampleConfig.model_fields) - set(FileConfig.model_fields))
        if given:
            raise UsageError(f"{self.path}: {given[0]!r} is for labelled collections; this is {what}")


class SampleSource(BlockingSource):
    """A source of which samples make one labelled stream; :meth:`open_stream` is its own."""

    config: SampleConfig

    def __init__(self, config: SampleConfig) -> None:
        super().__init__(config)
        self._stream: LabelledStream | None = None
        self._names: dict[int, str] = {}

    @property
    def labels(self) -> Sequence[LabelInterval] | None:
        """Slots of the samples in the pass begun last."""
        return self._stream.labels if self._stream else None

    @property
    def class_names(self) -> dict[int, str]:
        """Label → name, where there are such, once iteration has begun."""
        return self._names

    def packets(self) -> Iterator[EventPacket]:
        """Decode from the beginning; each further pass over shuffled samples has another order."""
        if self._stream is None:
            self._stream = self.open_stream()
        yield from self._stream.packets()

    @abstractmethod
    def open_stream(self) -> LabelledStream:
        """Find the samples, and put the names of their classes into ``_names``.

        Raises:
            InputError: there are none, or they cannot be read.
        """


class Reach:
    """Up to where the times of one recording go, but for those that its clock leaves out.

    Args:
        first: time of its first event, µs.
        tolerance: the clock's, µs.
    """

    def __init__(self, first: int, tolerance: int) -> None:
        self._first = first
        self._clock = Clock(tolerance)
        self._newest = 0
        self._farthest: int | None = None

    def take(self, packet: EventPacket) -> None:
        """The recording goes on."""
        events = packet.events.copy()
        events["t"] -= self._first
        self._farthest = max(self._farthest or 0, int(events["t"].max()))
        self._newest = max(self._newest, int(self._clock.decide(events)["t"].max(initial=0)))

    def newest(self) -> int | None:
        """Time of its newest event, µs; once it has ended. None where there was none."""
        if self._farthest is None:
            return None
        newest = max(self._newest, int(self._clock.decide_rest(ended=True)["t"].max(initial=0)))
        # Where the clock has jumped, it has moved what came later.
        return self._first + (newest if self._clock.epochs == 1 else self._farthest)


class LabelledStream:
    """Lays samples out in time, pass by pass.

    Args:
        labels: class of each sample, [n].
        read: the packets of sample i, in the sample's own time.
        fail: an InputError about sample i.
        config: selection, order and slots.
        size: (width, height) of the stream; None takes the largest of the selected samples, which reads them
            once.
        intervals: of a sample that has several labels of its own, in its own time; it then has no class.

    Attributes:
        labels: intervals of the pass that was begun last, ascending; None before the first.
    """

    def __init__(
        self,
        labels: Sequence[int],
        read: Callable[[int], Iterator[EventPacket]],
        fail: Callable[[int, str], InputError],
        config: SampleConfig,
        size: tuple[int, int] | None,
        intervals: Callable[[int], Sequence[LabelInterval]] | None = None,
    ) -> None:
        self._intervals = intervals
        self._firsts: dict[int, int] = {}
        self._classes = labels
        self._read = read
        self._fail = fail
        self._config = config
        self._size = size
        self._chosen = list(config.select(len(labels)))
        if not self._chosen:
            raise UsageError(f"{config.path}: samples={config.samples} selects none of its {len(labels)} samples")
        self._lengths: dict[int, int] = {}
        self._passes = 0
        self.labels: list[LabelInterval] | None = None

    def packets(self) -> Iterator[EventPacket]:
        """One pass over the selected samples. ``labels`` is set before the first packet is yielded.

        Raises:
            InputError: a sample is damaged, after everything before the damage.
        """
        config = self._config
        if config.duration is None or self._size is None or self._intervals is not None:
            self._survey()
        order = list(self._chosen)
        if config.shuffle:
            order = np.random.default_rng([config.seed, self._passes]).permutation(order).tolist()
        self._passes += 1
        slots, at = [], 0
        for i in order:
            end = at + (config.duration or self._lengths[i])
            slots.append(LabelInterval(at, end, self._classes[i]))
            at = end + config.gap
        intervals = self._intervals
        own = slots if intervals is None else []
        for i, slot in zip(order, slots, strict=True):
            for interval in intervals(i) if intervals is not None else ():
                start, end = (t - self._firsts[i] + slot.t_start for t in (interval.t_start, interval.t_end))
                if max(start, slot.t_start) < min(end, slot.t_end):
                    own.append(LabelInterval(max(start, slot.t_start), min(end, slot.t_end), interval.label))
        self.labels = own
        for i, slot in zip(order, slots, strict=True):
            yield from self._lay(i, slot)

    def _lay(self, i: int, slot: LabelInterval) -> Iterator[EventPacket]:
        assert self._size is not None
        first, packets = from_its_first(self._read(i), self._config.tolerance)
        for packet in filter(len, packets):
            t = packet.events["t"]
            if _apart(t, first):
                raise self._fail(i, f"times {t.min()} and {t.max()} µs are centuries apart; the sample is damaged")
            events = packet.events.copy()
            events["t"] = t - first + slot.t_start
            # Without a duration, what lies beyond the slot are wrong times, which the stream's clock leaves out.
            inside = events["t"] < slot.t_end if self._config.duration else np.ones(len(t), bool)
            if not inside.any():
                break
            yield EventPacket(events if inside.all() else events[inside], *self._size)

    def _survey(self) -> None:
        """Learn each sample's span and the largest sensor. Damage ends a sample; it is raised in its turn."""
        if len(self._lengths) == len(self._chosen):
            return
        width = height = 1
        for i in self._chosen:
            first, packets = from_its_first(self._read(i), self._config.tolerance)
            reach = Reach(first, self._config.tolerance)
            with suppress(InputError):
                for packet in filter(len, packets):
                    if _apart(packet.events["t"], first):
                        break
                    reach.take(packet)
                    width, height = max(width, packet.width), max(height, packet.height)
            newest = reach.newest()
            self._lengths[i], self._firsts[i] = 1 if newest is None else newest - first + 1, first
        if self._size is None:
            self._size = width, height


def _apart(t: npt.NDArray[Any], first: int) -> bool:
    return int(t.max()) - first > MAX_SPAN_US or first - int(t.min()) > MAX_SPAN_US
