"""From packets of events to timesteps: windows of fixed duration or fixed event count, reduced to the network's input.

Where the stream was cut into packets changes nothing. A window of fixed duration closes when an event at or after its
end comes; what comes later but belongs before the open window is *late*: counted, not binned. Windows lie on a grid
that starts at the first event and starts anew at each boundary of a sample and after each silence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_ottt.events.config import BinningConfig
from stream_ottt.events.frames import Counts, open_frames
from stream_ottt.events.packet import EventArray, Ledger, Shares, shares
from stream_ottt.events.pixel_map import PixelMap
from stream_ottt.events.timestep import Timestep
from stream_ottt.state import part, take, under

FOREVER = 2**63 - 1

Of = npt.NDArray[np.uint8]
"""The numbers of the sources of events [n]."""

Kept = tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]
"""Room for the pixels and the times of events, of which a frame wants more than counts."""


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
        from stream_ottt.events.binning_kernel import walk

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
        self._of: Of | None = None  # the sources of the events of the packet not yet used up
        self._shares: Shares = Counter()  # of the events in the open window
        self._gap = False  # events are missing before the next
        self._walk = walk

    @property
    def held(self) -> int:
        """Events taken that are in no timestep yet: those of the open window, and of a packet not yet used up."""
        return self._n + self._waiting

    def feed(self, events: EventArray, of: Of | None = None) -> Iterator[Timestep]:
        """Take well-formed events [n] and yield the timesteps that they complete.

        ``of`` [n] are the sources of the events, where they are several. Use the iterator up before the next call; what
        it has not reached is counted by :attr:`held`.

        Raises:
            ValueError: an event lies outside the sensor.
        """
        self._of = of
        if self._pixels.crops:
            events = self._without_cropped(events)
        n = self._waiting = len(events)
        if not n:
            return
        events, silence = readable(events), self.config.silence
        t = events["t"]
        if self._newest is None:
            self._newest = int(t[0])
        newest = max(int(t[0]), self._newest)
        if self._gap and newest - self._newest < silence:
            yield from self._pass_over_gap(newest)
        self._gap = False
        room = 0 if self._counting else n
        kept = np.empty(room, np.intp), np.empty(room, np.int64)
        at = 0
        while at < n:
            newest = max(int(t[at]), self._newest)
            if newest - self._newest >= silence:
                yield from self._fall_silent()
            elif self._start is not None and newest >= self._end:  # the event lies beyond the window's end
                yield from self._end_window()
                continue
            if self._start is None:
                self._open(newest)
            self._newest = newest
            at = self._add(events, at, kept)
            if self._n == self.config.count:
                yield from self._end_window()

    def state_dict(self) -> dict[str, Any]:
        """The open window and all that the next event depends on: plain values, and what the frame remembers.

        Between two calls of :meth:`feed`, with its iterator used up.
        """
        return {
            "index": self._index,
            **under("frame", self._frames.state_dict()),
            "events": self._n,
            "shares": {str(source): n for source, n in self._shares.items()},
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
        self._shares = Counter({int(source): n for source, n in take(state, "shares").items()})
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
        fixed = self.config.count is None
        if now >= (self._end if fixed else min(self._newest + self.config.silence, self._end)):
            yield from self._end_window()

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
        rest = None if self._of is None else self._of[len(self._of) - self._waiting :]
        self.ledger.drop(reason, self.held, self._shares + shares(rest))
        self._frames.reset()
        self._n = self._waiting = 0
        self._shares = Counter()

    def _without_cropped(self, events: EventArray) -> EventArray:
        inside = self._pixels.inside(events)
        of = self._of
        cropped = None if of is None else of[~inside]
        self.ledger.drop("cropped", int(len(events) - np.count_nonzero(inside)), shares(cropped))
        self._of = None if of is None else of[inside]
        kept: EventArray = events[inside]
        return kept

    def _add(self, events: EventArray, at: int, kept: Kept) -> int:
        """Put events from ``at`` on into the open window, as far as they belong there, counting those that are too old
        for it; the index behind them."""
        assert self._start is not None
        room = FOREVER if self.config.count is None else self.config.count - self._n
        stop, self._newest, n = self._walk(
            events, at, *self._pixels.adds, self._start, self._end, self.config.silence, self._newest, room,
            self._frames.counts, *kept,
        )  # fmt: skip
        if not self._counting:
            self._frames.add(kept[0][:n], kept[1][:n])
        self._n += n
        self._waiting -= stop - at
        late: Shares = Counter()
        if self._of is not None:
            of, too_old = self._of[at:stop], events["t"][at:stop] < self._start
            late = shares(of[too_old])
            self._shares += shares(of[~too_old])
        self.ledger.count("late", stop - at - n, late)
        return stop

    def _end_window(self) -> Iterator[Timestep]:
        """Close the open window, which is over or full; one of fixed duration is followed by the next at once."""
        end = self._end
        if self.config.count is None:
            yield self._close(end)
            self._open(end)
            return
        if self._n:
            yield self._close(self._end_if_closed_now())
        self._start = None

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
        timestep = Timestep(
            frame, self._start, end, self._index, self._n, self._new_sample, self._counting, self._shares
        )
        self._shares = Counter()
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


def readable(events: EventArray) -> EventArray:
    """Events as one kind of array, for which alone the loop is compiled: contiguous, and not to be written."""
    events = np.ascontiguousarray(events).view()
    events.flags.writeable = False
    return events
