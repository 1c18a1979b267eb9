"""One thread that decodes a file or takes what came, validates it, bins it, and hands over timesteps in their order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from threading import Event, Lock

from stream_ottt.events.binning import Binner, Of
from stream_ottt.events.clock import Clock, load_kernel
from stream_ottt.events.config import BinningConfig
from stream_ottt.events.misfits import Misfits
from stream_ottt.events.packet import EventArray, EventPacket, Ledger
from stream_ottt.events.timestep import Timestep
from stream_ottt.filters.chain import FilterChain, open_filters
from stream_ottt.pipeline.excerpt import from_its_first
from stream_ottt.pipeline.handed import Handed, Pass
from stream_ottt.pipeline.queues import BoundedQueue
from stream_ottt.pipeline.source_reader import Arrived, Labels, SourceReader
from stream_ottt.state import State, take


class BinningThread:
    """Turns what a reader gives into timesteps, in one thread.

    Args:
        reader: the source's end.
        binning: how events become timesteps.
        begin_pass: what depends on a pass, from the source's own labels and the first event's time (µs).
        queue: where timesteps go; whoever takes them closes it when it ends.
        stopped: once set, no further timestep is made.
        fail: told of an error that ends the thread before its end; it sets ``stopped``.
        timed: True where the moment at which a packet came means something.
        mark_every: timesteps after which a mark is sent unasked; None sends those that are asked for.
        takers: get the events of the first pass before the filters, with the sensor's (width, height).

    Attributes:
        ledger: what became of events here.
        misfits: why events lay outside the sensor or the range of times.
        clock: what makes one time of the sensor's, of the pass that was begun last.
        filters: what the events of that pass go through; None before the first packet.
    """

    def __init__(
        self,
        reader: SourceReader,
        binning: BinningConfig,
        begin_pass: Callable[[Labels | None, int], Pass],
        queue: BoundedQueue[Handed],
        *,
        stopped: Event,
        fail: Callable[[BaseException], None],
        timed: bool,
        mark_every: int | None = None,
        takers: Sequence[Callable[[EventArray, tuple[int, int]], None]] = (),
    ) -> None:
        self.ledger, self.misfits = Ledger(), Misfits()
        self._reader = reader
        self.clock = Clock(reader.source.config.tolerance)
        self._binning = binning
        self._begin_pass = begin_pass
        self._queue = queue
        self._stopped = stopped
        self._fail = fail
        self._timed = timed
        self.filters: FilterChain | None = None
        self._binner: Binner | None = None
        self._pass_number = -1
        self._begins: Pass | None = None  # with the next timestep
        self._index = 0  # of the next timestep
        self._number = 0  # of the last packet
        self._handing = 0  # events of the timestep that is being handed over
        self._heard = 0.0
        self._place = {"pass": 0, "events": 0, "first": 0}  # see state_dict
        self._taken = Ledger()  # what was read and came here
        self._mark_wanted = False
        self._mark_every = mark_every
        self._takers = takers
        self._size = (0, 0)  # of the sensor
        self._marked = 0  # timesteps before the last mark
        self._restored: State | None = None  # of filters and binner that are still to be made
        self._abandoned = self._gave_up = False
        self._ending = Lock()

    def run(self) -> None:
        """To the end of what the reader gives, or until stopped."""
        try:
            if self._timed:
                load_kernel()
            with closing(self._reader.arrivals()) as arrivals:
                for arrived in arrivals:
                    if self._abandoned:
                        return
                    if self._stopped.is_set():
                        self._drop(arrived.packet)
                        break
                    self._take(arrived)
                    self._send_mark()
            if self._binner is not None and not self._stopped.is_set():
                self._end_pass(self._binner, time.perf_counter())
        except BaseException as e:
            self._fail(e)
        finally:
            with self._ending:
                self._give_up()  # once more, where it was abandoned: nothing is left then
            self._queue.end()

    def abandon(self) -> None:
        """The thread will not come back from its source in time: give up what it holds, in its place."""
        with self._ending:
            self._abandoned = True
            self._give_up()

    def mark(self) -> None:
        """Send the state of source and binner along with the stream, at the next end of a packet."""
        self._mark_wanted = True
        self._reader.wake()

    def _send_mark(self) -> None:
        if self._stopped.is_set():
            return  # the rest of the packet may have been given up
        every = self._mark_every
        if self._binner is not None and (self._mark_wanted or (every and self._index - self._marked >= every)):
            self._mark_wanted, self._marked = False, self._index
            self._put(Handed(mark=self.state_dict()))

    def made(self) -> int:
        """Timesteps that were made."""
        return self._index

    def pass_number(self) -> int:
        """0, 1, 2, … of the pass that is being read; before :meth:`run` the one that a resumed run goes on in."""
        return int(self._place["pass"])

    def held(self) -> int:
        """Events taken from the reader that were not handed over yet."""
        return self._handing + self.clock.held + (0 if self._binner is None else self._binner.held)

    def state_dict(self) -> State:
        """The state at the end of a packet, for :meth:`load_state_dict` of a thread that has not begun.

        ``place`` says up to where the source was taken: the pass, and how many of its events; and the time of the
        first event of all whose time is right (µs).
        """
        reader = self._reader.ledger.state_dict() if self._gave_up else self._reader.state_dict(self._taken)
        return {
            "place": dict(self._place),
            "index": self._index,
            "binner": None if self._binner is None else self._binner.state_dict(),
            "filters": None if self.filters is None else self.filters.state_dict(),
            "clock": self.clock.state_dict(),
            "ledger": self.ledger.state_dict(),
            "misfits": self.misfits.state_dict(),
            "reader": reader,
            "source": self._reader.source.state_dict(),
        }

    def load_state_dict(self, state: State, *, gap: bool = False) -> None:
        """Go on from what :meth:`state_dict` gave, before :meth:`run`. The source begins behind what was taken.

        Args:
            state: the state.
            gap: True where the source has gone on meanwhile: what comes belongs to no window that was open then.

        Raises:
            ModelError: a field is missing.
        """
        self._index = self._marked = take(state, "index")
        self.ledger.load_state_dict(take(state, "ledger"))
        self.misfits.load_state_dict(take(state, "misfits"))
        self._taken = self._reader.load_state_dict(take(state, "reader"))
        if gap:
            self._reader.source.load_state_dict(take(state, "source"), 0, 0)
            return
        place = take(state, "place")
        self._place = {key: take(place, key) for key in self._place}
        if take(state, "binner") is not None:
            self._restored = {key: take(state, key) for key in ("binner", "filters")}
        self.clock.load_state_dict(take(state, "clock"))
        self._reader.skip(self._place["pass"], self._place["events"])
        self._reader.source.load_state_dict(take(state, "source"), self._place["pass"], self._place["events"])

    # --- what came -------------------------------------------------------------------------------------------------

    def _take(self, arrived: Arrived) -> None:
        packet = arrived.packet
        first = self._binner is None  # then the labels came before the pass that takes them
        if arrived.came and not first:
            self._put(Handed(came=arrived.came))
        if packet is None:
            if arrived.quiet and self._binner is not None:
                self._emit(self._binner.feed(*self._last()), arrived.at)
                if self._binner.newest is not None:
                    now = self._binner.newest + int((arrived.at - self._heard) * 1e6)
                    self._emit(self._binner.advance(now), arrived.at)
            return
        self._heard = arrived.at
        if arrived.pass_number != self._pass_number:
            self._begin(packet, arrived)
        elif arrived.number != self._number + 1 and self._binner is not None:
            self._emit(self._binner.feed(*self._last()), arrived.at)  # what came before the loss
            self._binner.lost_some()
        if arrived.came and first:
            self._put(Handed(came=arrived.came))
        self._number = arrived.number
        assert self._binner is not None
        self._place["events"] = arrived.behind
        self._taken.count("read", len(packet), packet.shares)
        self._emit(self._binner.feed(*self._usable(packet)), arrived.at)

    def _begin(self, packet: EventPacket, arrived: Arrived) -> None:
        """End the pass before, and begin that of ``packet``."""
        if self._binner is not None:
            self._end_pass(self._binner, arrived.at)
        elif self._restored is None:
            self._place["first"] = from_its_first(iter([packet]), self._reader.source.config.tolerance)[0]
        self._pass_number = arrived.pass_number
        if self._restored is None:
            self.clock = Clock(self._reader.source.config.tolerance)
            self._place["pass"] = arrived.pass_number
        begins = self._begin_pass(arrived.labels, self._place["first"])
        self._size = (packet.width, packet.height)
        self.filters = open_filters(self._binning.filters, packet.width, packet.height, several=packet.of is not None)
        size = self.filters.width, self.filters.height
        self._binner = Binner(self._binning, *size, self.ledger, boundaries=begins.boundaries, first_index=self._index)
        if self._restored is not None:
            self.filters.load_state_dict(self._restored["filters"])
            self._binner.load_state_dict(self._restored["binner"])
            self._restored = None
        self._put(Handed(begins=begins))

    def _usable(self, packet: EventPacket) -> tuple[EventArray, Of | None]:
        """What of a packet is fit to be binned, in order of time, and the sources; the others are counted.

        Those of several sources went through a clock each, and are in one order already.
        """
        if packet.of is not None:
            return self._filtered(packet.events, packet.of)
        events, malformed = self.misfits.sift(packet)
        self.ledger.malformed += malformed
        return self._clocked(lambda: self.clock.feed(events))

    def _last(self, *, ended: bool = False) -> tuple[EventArray, Of | None]:
        """What the clock held, since nothing more comes for now, or none at all where the pass has ``ended``."""
        return self._clocked(lambda: self.clock.flush(ended=ended))

    def _clocked(self, give: Callable[[], EventArray]) -> tuple[EventArray, Of | None]:
        """What the clock gives; what it leaves out is counted."""
        left_out = self.clock.left_out
        events = give()
        self.ledger.malformed += self.clock.left_out - left_out
        return self._filtered(events)

    def _filtered(self, events: EventArray, of: Of | None = None) -> tuple[EventArray, Of | None]:
        """The events that all filters keep, and their sources; the others are counted by filter."""
        assert self.filters is not None
        if self._pass_number == 0 and len(events):
            for taker in self._takers:
                taker(events, self._size)
        return self.filters.sift(events, of, self.ledger.drop)

    def _end_pass(self, binner: Binner, at: float) -> None:
        self._emit(binner.feed(*self._last(ended=True)), at)
        if not self._stopped.is_set():
            self._emit(binner.flush(), at)
        if self._stopped.is_set():
            binner.abandon("stopped")  # that of the next pass takes its place

    # --- what goes on ----------------------------------------------------------------------------------------------

    def _emit(self, timesteps: Iterable[Timestep], at: float) -> None:
        """Hand timesteps over as the binner makes them."""
        for timestep in timesteps:
            self._index = timestep.index + 1
            self._put(Handed(timestep, at if self._timed else None))
            if self._stopped.is_set():
                return

    def _put(self, handed: Handed) -> None:
        self._handing = handed.events
        for one in self._queue.put(handed):
            self.ledger.drop("stopped", one.events, one.shares)
        self._handing = 0

    def _drop(self, packet: EventPacket | None) -> None:
        if packet is not None:
            self.ledger.drop("stopped", len(packet), packet.shares)

    def _give_up(self) -> None:
        """Count what will not be binned any more."""
        self._gave_up = True
        self.ledger.drop("stopped", self.clock.forget())
        if self._binner is not None:
            self._binner.abandon("stopped")
        for packet in self._reader.close():
            self._drop(packet)
