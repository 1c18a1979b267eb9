"""From packets of events to timesteps: windows of fixed duration or fixed event count, reduced to the network's input.

Where the stream was cut into packets changes nothing. A window of fixed duration closes when an event at or after its
end comes; what comes later but belongs before the open window is *late*: counted, not binned. Windows lie on a grid
that starts at the first event and starts anew at each boundary of a sample and after each silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_ottt.events.config import BinningConfig
from stream_ottt.events.frames import Counts, open_frames
from stream_ottt.events.packet import EventArray, Ledger
from stream_ottt.events.pixel_map import PixelMap
from stream_ottt.events.timestep import Timestep
from stream_ottt.state import part, take, under

FOREVER = 2**63 - 1


class Binner:
    """Cuts one stream into timesteps.

    Args:
        config: windows and reduction.
        width: sensor width, pixels.
        height: sensor height, pixels.
        ledger: account of whoever feeds it; late and cropped events are counted there.
        boundaries: times (µs) at which a sample ends or begins, ascending; no window reaches across one.
        first_index: index of the first timestep.
    """

    def __init__(
        self,
        config: BinningConfig,
        width: int,
        height: int,
        ledger: Ledger,
        *,
        boundaries: Iterable[int] = (),
        first_index: int = 0,
    ) -> None:
        self.config = config
        self.ledger = ledger
        self.shape = config.frame_shape(width, height)
        flat = (config.polarities, *self.shape[1:])
        self._pixels = PixelMap(width, height, flat, reduce=config.reduce)
        self._frames = open_frames(config.frame, flat)
        self._counting = isinstance(self._frames, Counts)
        self._boundaries = list(boundaries)
        self._passed = 0  # boundaries at or before the open window's start
        self._index = first_index
        self._n = 0  # events in the open window
        self._start: int | None = None  # of the open window; None: it starts at the next event
        self._end = FOREVER
        self._newest: int | None = None  # latest time seen
        self._new_sample = True
        self._waiting = 0
        self._gap = False  # events are missing before the next

    @property
    def held(self) -> int:
        """Events taken that are in no timestep yet: those of the open window, and of a packet not yet used up."""
        return self._n + self._waiting

    def feed(self, events: EventArray) -> Iterator[Timestep]:
        """Take well-formed events [n] and yield the timesteps that they complete.

        Use the iterator up before the next call; what it has not reached is counted by :attr:`held`.
        """
        if self._pixels.crops:
            events = self._without_cropped(events)
        n = self._waiting = len(events)
        if not n:
            return
        t = np.ascontiguousarray(events["t"])
        before = int(t[0]) if self._newest is None else self._newest
        newest = self._newest_at(t, before)
        pixels = self._pixels(events)
        if self._gap and newest[0] - before < self.config.silence:
            yield from self._pass_over_gap(int(newest[0]))
        self._gap = False
        silences: list[int] = []
        if newest[-1] - before >= self.config.silence:  # else there is no room for one
            silences = np.flatnonzero(np.diff(newest, prepend=before) >= self.config.silence).tolist()
        for k, (at, stop) in enumerate(zip([0, *silences], [*silences, n], strict=True)):
            if k:
                yield from self._fall_silent()
            yield from self._stretch(t, newest, pixels, at, stop)

    def state_dict(self) -> dict[str, Any]:
        """The open window and all that the next event depends on: plain values, and what the frame remembers.

        Between two calls of :meth:`feed`, with its iterator used up.
        """
        return {
            "index": self._index,
            **under("frame", self._frames.state_dict()),
            "events": self._n,
            "start": self._start,
            "end": self._end,
            "newest": self._newest,
            "passed": self._passed,
            "new_sample": self._new_sample,
            "gap": self._gap,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that a binner of the same settings and boundaries gave."""
        self._index = int(take(state, "index"))
        self._frames.load_state_dict(part(state, "frame"))
        self._n = int(take(state, "events"))
        self._start = take(state, "start")
        self._end = int(take(state, "end"))
        self._newest = take(state, "newest")
        self._passed = int(take(state, "passed"))
        self._new_sample = bool(take(state, "new_sample"))
        self._gap = bool(take(state, "gap"))
        self._waiting = 0

    @property
    def newest(self) -> int | None:
        """Latest event time seen, µs."""
        return self._newest

    def advance(self, now: int) -> Iterator[Timestep]:
        """Close the open window without waiting for the next event, if the stream's time is ``now`` (µs) or later.

        The timesteps are the same as without it, provided that no event before ``now`` still comes: a window that
        holds none is left open, since it is not known yet whether a silence has begun.
        """
        if not self._n or self._newest is None:
            return
        if self.config.count is None:
            if now >= self._end:
                end = self._end
                yield self._close(end)
                self._open(end)
        elif now >= min(self._newest + self.config.silence, self._end):
            yield self._close(self._end_if_closed_now())
            self._start = None

    def flush(self) -> Iterator[Timestep]:
        """The last window, complete or not, when it holds an event."""
        if self._n:
            yield self._close(self._end_if_closed_now())

    def lost_some(self) -> None:
        """Events were given up before those that are fed next: the windows that lie between hold nothing to see.

        They are left out, so that a learner which is too slow for its stream catches up.
        """
        self._gap = True

    def abandon(self, reason: str) -> None:
        """Give up the open window and the rest of the packet, counted as dropped for ``reason``."""
        self.ledger.drop(reason, self.held)
        self._frames.reset()
        self._n = self._waiting = 0

    @staticmethod
    def _newest_at(t: npt.NDArray[np.int64], before: int) -> npt.NDArray[np.int64]:
        """The latest time seen at each event [n]. It never falls, so that windows and silences are found by bisection.

        Args:
            t: times of the events [n].
            before: latest time seen before them.
        """
        if t[0] >= before and not (t[1:] < t[:-1]).any():
            return t
        newest = np.maximum.accumulate(t)
        np.maximum(newest, before, out=newest)
        return newest

    def _without_cropped(self, events: EventArray) -> EventArray:
        inside = self._pixels.inside(events)
        self.ledger.drop("cropped", int(len(events) - np.count_nonzero(inside)))
        kept: EventArray = events[inside]
        return kept

    def _stretch(
        self,
        t: npt.NDArray[np.int64],
        newest: npt.NDArray[np.int64],
        pixels: npt.NDArray[np.intp],
        at: int,
        stop: int,
    ) -> Iterator[Timestep]:
        """Bin the events at … stop, between which there is no silence."""
        count = self.config.count
        while at < stop:
            if self._start is None:
                self._open(int(newest[at]))
            split = at + int(np.searchsorted(newest[at:stop], self._end))
            if count is not None:
                split = min(split, self._filled(t, at, split, count - self._n))
            self._add(t[at:split], pixels[at:split])
            if split > at:
                self._newest = int(newest[split - 1])
            at = split
            if count is None:
                if at < stop:  # the next event lies beyond the window's end
                    end = self._end
                    yield self._close(end)
                    self._open(end)
            elif self._n == count or (at < stop and newest[at] >= self._end):
                if self._n:
                    yield self._close(self._end_if_closed_now())
                self._start = None

    def _filled(self, t: npt.NDArray[np.int64], at: int, split: int, wanted: int) -> int:
        """Index behind the event that gives the window its count; late events do not count."""
        assert self._start is not None
        if split - at < wanted:
            return split
        counted = np.cumsum(t[at:split] >= self._start)
        return at + int(np.searchsorted(counted, wanted)) + 1

    def _add(self, t: npt.NDArray[np.int64], pixels: npt.NDArray[np.intp]) -> None:
        """Put events into the open window, counting those that are too old for it."""
        assert self._start is not None
        self._waiting -= len(t)
        if len(t) and t.min() < self._start:
            fresh = t >= self._start
            self.ledger.late += len(t) - int(np.count_nonzero(fresh))
            t, pixels = t[fresh], pixels[fresh]
        if len(pixels):
            self._frames.add(pixels, t)
            self._n += len(pixels)

    def _open(self, start: int) -> None:
        """Begin a window at ``start`` (µs); its end is never beyond the next boundary."""
        self._start = start
        while self._passed < len(self._boundaries) and self._boundaries[self._passed] <= start:
            self._passed += 1
            self._begin_sample()
        boundary = self._boundaries[self._passed] if self._passed < len(self._boundaries) else FOREVER
        self._end = boundary if self.config.count is not None else min(start + self.config.window, boundary)

    def _end_if_closed_now(self) -> int:
        """End of the open window if no more events come: a window of fixed count ends with its last event."""
        if self.config.count is None:
            return self._end
        assert self._newest is not None
        return min(self._newest + 1, self._end)

    def _close(self, end: int) -> Timestep:
        """The open window as a timestep."""
        assert self._start is not None
        frame = self._frames.close(self._start, end)
        if self.config.clamp is not None:
            np.minimum(frame, self.config.clamp, out=frame)
        timestep = Timestep(frame, self._start, end, self._index, self._n, self._new_sample, self._counting)
        self._index += 1
        self._n, self._new_sample = 0, False
        return timestep

    def _pass_over_gap(self, t: int) -> Iterator[Timestep]:
        """Close the open window and open, on the same grid, the one that holds ``t`` (µs), where that is another."""
        if self._start is None or self.config.count is not None or t < self._end:
            return
        start = self._end
        if self._n:
            yield self._close(start)
        for boundary in self._boundaries[self._passed :]:
            if boundary > t:
                break
            start = max(start, boundary)
        self._open(start + (t - start) // self.config.window * self.config.window)

    def _fall_silent(self) -> Iterator[Timestep]:
        """The stream paused: close what is open; the next event begins a new sample."""
        yield from self.flush()
        self._start = None
        self._begin_sample()

    def _begin_sample(self) -> None:
        """Nothing is left of what came before; no window is open, or an empty one."""
        self._new_sample = True
        self._frames.reset()
