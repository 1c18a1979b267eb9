"""Timesteps that wait for their label or to be learned, within a bound of memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import numpy.typing as npt

from stream_ottt.events.timestep import Timestep
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.learning import caution
from stream_ottt.learning.counters import SessionCounters
from stream_ottt.learning.rehearsal import Frames, as_stored
from stream_ottt.state import State, pack, take, unpack

OBJECTS = 160
"""Bytes of a waiting timestep beside its arrays: the object, its time and its place in a queue, as CPython has them."""
ARRAY = 144
"""Bytes of an array beside its numbers: the object, and what the allocation of the numbers takes."""


@dataclass(slots=True, eq=False)
class Waiting:
    """A timestep that waits.

    Attributes:
        frame: as stored, [planes, height, width].
        middle: the middle of its span, µs.
        predicted: the label that was predicted; only where no interval holds it yet.
        softmax: float64 [classes], the prediction's; None where an interval holds it: it was scored at its time.
    """

    frame: Frames
    middle: float
    predicted: int = -1
    softmax: npt.NDArray[np.float64] | None = None

    @property
    def nbytes(self) -> int:
        """Memory that it takes, all objects counted; the same where its frame is a part of a remembered stretch."""
        arrays = (self.frame,) if self.softmax is None else (self.frame, self.softmax)
        return OBJECTS + sum(array.nbytes + ARRAY for array in arrays)


def stored(timestep: Timestep, counters: SessionCounters) -> Frames:
    """A timestep's frame as it is stored; where its counts are too large for that, it is said."""
    if not timestep.counts:
        return timestep.frame
    caution.of_counts(counters, timestep)
    return as_stored(timestep.frame)


class WaitingRoom:
    """The memory that waiting timesteps may take, and those that no interval holds yet.

    Args:
        keep_bytes: memory for all that waits; the oldest go when there is more.

    Attributes:
        timesteps, bytes: what is held, here, by presentations and by what is due.
        unlabelled: timesteps that no interval holds, oldest first.
    """

    def __init__(self, keep_bytes: int) -> None:
        self.keep_bytes = keep_bytes
        self.timesteps = 0
        self.bytes = 0
        self.unlabelled: deque[Waiting] = deque()

    def keep(self, waiting: Waiting, queue: deque[Waiting]) -> int:
        """Put a timestep at the end of ``queue``; how many had to go, those without an interval first."""
        queue.append(waiting)
        self.timesteps += 1
        self.bytes += waiting.nbytes
        gone = 0
        while self.bytes > self.keep_bytes and (oldest := self.unlabelled or queue):
            self.free([oldest.popleft()])
            gone += 1
        return gone

    def free(self, gone: Iterable[Waiting]) -> None:
        """These wait no longer."""
        for waiting in gone:
            self.timesteps -= 1
            self.bytes -= waiting.nbytes

    def take(self, interval: LabelInterval) -> list[Waiting]:
        """Give out those that ``interval`` holds, whose memory is still counted."""
        inside = [w for w in self.unlabelled if interval.holds(w.middle)]
        if inside:
            self.unlabelled = deque(w for w in self.unlabelled if not interval.holds(w.middle))
        return inside

    def scored(self, waiting: Waiting) -> None:
        """Its prediction is needed no longer."""
        self.bytes -= waiting.nbytes
        waiting.softmax = None
        self.bytes += waiting.nbytes

    def add_class(self, classes: int) -> None:
        """There are so many classes now; of a new one the predictions that wait said nothing."""
        for waiting in self.unlabelled:
            if waiting.softmax is not None:
                self.bytes -= waiting.nbytes
                waiting.softmax = np.append(waiting.softmax, np.zeros(classes - len(waiting.softmax)))
                self.bytes += waiting.nbytes

    def clear(self) -> None:
        """Give up all that no interval holds."""
        self.free(self.unlabelled)
        self.unlabelled.clear()

    def count(self, held: Iterable[Waiting]) -> None:
        """Count timesteps that others hold."""
        for waiting in held:
            self.timesteps += 1
            self.bytes += waiting.nbytes

    def state_dict(self) -> State:
        """The timesteps that no interval holds."""
        return pack_waiting(self.unlabelled)

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` gave; what others hold is counted by :meth:`count`."""
        self.unlabelled = unpack_waiting(state)
        self.timesteps = self.bytes = 0
        self.count(self.unlabelled)


def pack_waiting(held: Iterable[Waiting]) -> State:
    """Waiting timesteps as a state."""
    held = list(held)
    return {
        "frames": pack([w.frame for w in held]),
        "middles": [w.middle for w in held],
        "predicted": [w.predicted for w in held],
        "softmax": pack([w.softmax for w in held if w.softmax is not None]),
    }


def unpack_waiting(state: State) -> deque[Waiting]:
    """What :func:`pack_waiting` took."""
    softmax = unpack(take(state, "softmax")) or repeat(None)
    return deque(map(Waiting, unpack(take(state, "frames")), take(state, "middles"), take(state, "predicted"), softmax))
