"""What the binner's thread hands to the learner's, in the order of the stream."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from stream_ottt.events.packet import Shares
from stream_ottt.events.timestep import Timestep
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.state import State


@dataclass(frozen=True, slots=True)
class Pass:
    """What depends on one pass over the source.

    Attributes:
        timeline: the labels; None where there are none, and none can come.
        boundaries: times (µs) at which a sample begins or ends, ascending.
    """

    timeline: LabelTimeline | None
    boundaries: tuple[int, ...] = ()


@dataclass(slots=True, eq=False)
class Handed:
    """What the learner gets, in the order of the stream: a timestep, or what begins or came before the next.

    Attributes:
        timestep: the timestep; None where there is only the rest.
        at: ``time.perf_counter()`` when the packet that completed it came; None for a file that is read ahead, whose
            events happened at no such moment.
        begins: the pass that begins here.
        came: labels that came with the stream.
        mark: state of source and binner at this place in the stream, where somebody asked for it.
    """

    timestep: Timestep | None = None
    at: float | None = None
    begins: Pass | None = None
    came: tuple[LabelInterval, ...] = ()
    mark: State | None = None

    @property
    def events(self) -> int:
        """Events in the timestep."""
        return 0 if self.timestep is None else self.timestep.events

    @property
    def shares(self) -> Shares:
        """How many of them are of which of several sources."""
        return Counter() if self.timestep is None else self.timestep.shares
