"""The source's end of the pipeline: its packets in order, at their pace, each with the labels that came before it.

A file is read by the thread that bins it (:mod:`stream_ottt.pipeline.file_reader`), a live source in the event loop
(:mod:`stream_ottt.pipeline.live_reader`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from threading import Event

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EventPacket, Ledger
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.pipeline.playback import Playback
from stream_ottt.pipeline.source import Source
from stream_ottt.state import State

Labels = Sequence[LabelInterval]
"""A source's own labels."""


@dataclass(slots=True, eq=False)
class Arrived:
    """What the binner gets next: labels that came with the stream, a packet, or neither.

    Attributes:
        at: ``time.perf_counter()`` when the packet came, or was due.
        came: labels that came before the packet.
        packet: the packet.
        number: 1, 2, 3, … of the packets; one that is missing was given up.
        pass_number: 0, 1, 2, … of the passes over the source.
        behind: events of this pass up to the end of the packet, those that were given up among them.
        labels: the source's own, of this pass.
        quiet: no packet came within the reader's patience.
    """

    at: float
    came: tuple[LabelInterval, ...] = ()
    packet: EventPacket | None = None
    number: int = 0
    pass_number: int = 0
    behind: int = 0
    labels: Labels | None = None
    quiet: bool = False


class SourceReader(ABC):
    """Reads a source to its end, or until stopped.

    Args:
        source: where events come from.
        passes: how often the source is iterated.
        stopped: once set, nothing more is read.

    Attributes:
        ledger: what was read, and what was given up here.
        error: what ended the source before its end; all that was good before it is given on.
        sensor: (width, height) once the first packet has come.
        playback: a person's hand on a file; None for what comes at its own time.
    """

    playback: Playback | None = None

    def __init__(self, source: Source, *, passes: int, stopped: Event) -> None:
        self.source = source
        self.ledger = Ledger()
        self.error: Exception | None = None
        self.sensor: tuple[int, int] | None = None
        self._passes = passes
        self._stopped = stopped
        self._number = 0
        self._skip = (0, 0)
        self._behind = 0  # events of the pass that was begun last

    @abstractmethod
    def arrivals(self) -> Generator[Arrived]:
        """What came, in its order; for the binner's thread."""

    @abstractmethod
    async def run(self) -> None:
        """What there is to do in the event loop, until all has been read."""

    @abstractmethod
    def stop(self) -> None:
        """Let whoever reads look at ``stopped``."""

    @abstractmethod
    def wake(self) -> None:
        """Let :meth:`arrivals` give something, be it neither label nor packet, as soon as may be."""

    def add_label(self, interval: LabelInterval) -> bool:
        """Take a label that comes after the packets so far; False when too many wait."""
        return False

    def skip(self, pass_number: int, events: int) -> None:
        """Begin in that pass over the source, behind so many of its events. They are not counted as read."""
        self._skip = (pass_number, events)

    def _without_skipped(self, packet: EventPacket, pass_number: int) -> EventPacket | None:
        """What is left of a packet behind those that are to be skipped.

        Returns:
            None where it lies before them. A packet that ends with them is given on, though empty: the pass that goes
            on needs one to begin with.
        """
        first, events = self._skip
        skipped = 0 if pass_number != first else max(0, min(len(packet), events - self._behind))
        self._behind += skipped
        if skipped and self._behind < events:
            return None
        return packet.part(skipped) if skipped else packet

    def close(self) -> list[EventPacket]:
        """The binner takes nothing any more, and gives up what waits here. Called in its thread."""
        return []

    def state_dict(self, taken: Ledger) -> State:
        """Its account, with only what was ``taken`` or given up as read: what waits here will be read again."""
        account = Ledger()
        account.load_state_dict(self.ledger.state_dict())
        _as_taken(account, taken)
        return account.state_dict()

    def load_state_dict(self, state: State) -> Ledger:
        """Go on from :meth:`state_dict`; returns what had been taken then."""
        self.ledger.load_state_dict(state)
        return _taken(self.ledger)

    def held(self) -> int:
        """Events that wait here."""
        return 0

    def _check_skipped(self, pass_number: int) -> None:
        """Raise InputError where a pass has ended before all that is to be skipped."""
        first, events = self._skip
        if pass_number == first and self._behind < events:
            raise InputError(
                f"holds {self._behind} events, and {events} had been taken of it before: it is not what it was; "
                "resume with the source of then",
                path=getattr(self.source.config, "path", None),
            )

    def _count(self, packet: EventPacket, at: float, pass_number: int, labels: Labels | None) -> Arrived:
        self.ledger.count("read", len(packet), packet.shares)
        self.sensor = (packet.width, packet.height)
        self._number += 1
        self._behind += len(packet)
        return Arrived(at, (), packet, self._number, pass_number, self._behind, labels)


def _as_taken(account: Ledger, taken: Ledger) -> None:
    account.read = taken.read + sum(account.dropped.values())
    for source, own in account.sources.items():
        _as_taken(own, taken.share(source))


def _taken(account: Ledger) -> Ledger:
    sources = {source: _taken(own) for source, own in account.sources.items()}
    return Ledger(account.read - sum(account.dropped.values()), sources=sources)
