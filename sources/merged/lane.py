"""The way of one source into a merged stream: checked, in the order of its own clock, put in its place, counted."""

from __future__ import annotations

from typing import Any

from stream_ottt.events.clock import Clock
from stream_ottt.events.packet import EventArray, EventPacket, Ledger, split_well_formed
from stream_ottt.labels.sidecar import LabelFile
from stream_ottt.pipeline.excerpt import from_its_first
from stream_ottt.pipeline.source import Source
from stream_ottt.sources.merged.place import Place, Plane


class Lane:
    """One source among several.

    Args:
        name: what the source is called.
        source: the source.
        place: where its events lie.
        labels: what the file of its labels holds; None where it has none.

    Attributes:
        first: time of its first event whose time is right, µs; None before it.
        newest: time of its newest event that was given on, µs; None before it.
        ledger: what became of its events. ``binned`` are those given on to the merged stream; the run counts what
            becomes of these.
        clock: what makes one time of its sensor's.
        size: of its sensor, pixels; None before its first packet.
        plane: beyond which its events are malformed; None while it is not known.
    """

    def __init__(self, name: str, source: Source, place: Place, labels: LabelFile | None = None) -> None:
        self.name = name
        self.source = source
        self.place = place
        self.labels = labels
        self.first: int | None = None
        self.newest: int | None = None
        self.ledger = Ledger()
        self.clock = Clock(source.config.tolerance)
        self.size: Plane | None = None
        self.plane: Plane | None = None

    def begin(self) -> None:
        """A new pass over the source."""
        self.ledger.drop("stopped", self.clock.forget())
        self.clock = Clock(self.source.config.tolerance)

    def take(self, packet: EventPacket) -> EventArray:
        """Events [m] that are ready, in order of the source's time, on the plane; the others are counted or held."""
        self.ledger.read += len(packet)
        self.size = (packet.width, packet.height)
        if self.first is None and len(packet):
            self.first = from_its_first(iter([packet]), self.clock.tolerance)[0]
        events, malformed = split_well_formed(packet)
        if self.plane is not None:
            inside = EventPacket(events, *self._room(packet))
            events, outside = split_well_formed(inside)
            malformed += outside
        self.ledger.malformed += malformed
        return self._placed(events)

    def last(self, *, ended: bool) -> EventArray:
        """What its clock held, since nothing more comes for now, or none at all where it has ``ended``."""
        return self._placed(None, ended=ended)

    def account(self) -> Ledger:
        """Its events that were not given on: held, late, malformed or dropped here."""
        given, account = self.ledger.binned, Ledger.total([self.ledger])
        account.read, account.binned = account.read - given, 0
        return account

    def facts(self) -> dict[str, Any]:
        """JSON-ready: its clock and its transport."""
        found: dict[str, Any] = {"clock": self.clock.facts()}
        if transport := self.source.statistics():
            found["transport"] = transport
        return found

    def _room(self, packet: EventPacket) -> Plane:
        assert self.plane is not None
        left = (max(0, self.plane[0] - self.place.x), max(0, self.plane[1] - self.place.y))
        return min(packet.width, left[0]), min(packet.height, left[1])

    def _placed(self, events: EventArray | None, *, ended: bool = False) -> EventArray:
        left_out = self.clock.left_out
        events = self.clock.flush(ended=ended) if events is None else self.clock.feed(events)
        self.ledger.malformed += self.clock.left_out - left_out
        if self.place.x or self.place.y:
            events = events.copy()
            events["x"] += self.place.x
            events["y"] += self.place.y
        if len(events):
            self.newest = int(events["t"][-1])
        return events
