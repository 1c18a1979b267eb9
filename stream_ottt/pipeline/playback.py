"""A person's hand on a file that is played: its speed, a hold, a step to the next timestep."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from threading import Condition, Event

import numpy as np

from stream_ottt.events.packet import EventPacket
from stream_ottt.pipeline.pace import JUMP_US, PACE_US


class Playback:
    """When the parts of a file are due. One thread reads; the speed, a hold and steps come from any.

    Args:
        speed: stream seconds per wall second; None for as fast as possible.
        stopped: once set, nothing is waited for.

    Attributes:
        speed: as now.
        held: whether nothing is played until it goes on, but for steps.
        made: tells how many timesteps were made so far.
        span: longest part while held, µs: no more than a timestep.
    """

    def __init__(self, speed: float | None, stopped: Event) -> None:
        self.speed = speed
        self.held = False
        self.made: Callable[[], int] = lambda: 0
        self.span = PACE_US
        self._stopped = stopped
        self._changed = Condition()
        self._woken = False
        self._steps = 0  # still to be made
        self._made_before: int | None = None  # the step that is under way
        self._newest: int | None = None  # latest time played, µs
        self._from = 0.0  # when that was due

    # --- from any thread -------------------------------------------------------------------------------------------

    def set_speed(self, speed: float | None) -> None:
        """Play so fast from the next part on."""
        with self._changed:
            self.speed = speed
            self._go_on()

    def hold(self, on: bool) -> None:
        """Stand still, or go on."""
        with self._changed:
            self.held, self._steps = on, 0
            self._go_on()

    def step(self) -> None:
        """Stand still after the next timestep; where the stream is silent, after the next few."""
        with self._changed:
            self.held = True
            self._steps += 1
            self._go_on()

    def wake(self) -> None:
        """Let :meth:`wait` return, so that the reader may give something else."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def _go_on(self) -> None:
        self._from = time.perf_counter()
        self._changed.notify_all()

    # --- in the reader's thread ------------------------------------------------------------------------------------

    def parts(self, packet: EventPacket) -> Iterator[EventPacket]:
        """What is played one by one of a packet; all that is left of it where nothing is waited for."""
        at, t = 0, packet.events["t"]
        while at < len(t) or at == 0:
            end = len(t)
            if self.speed is not None or self.held:
                span = self.span if self.held else PACE_US
                end = at + max(1, int(np.searchsorted(t[at:], int(t[at]) + span))) if end else 1
            yield packet.part(at, end)
            at = max(end, 1)

    @property
    def due(self) -> float:
        """``time.perf_counter()`` at which what was waited for last was due."""
        return self._from

    def begin(self) -> None:
        """A new pass over the file begins."""
        self._newest = None

    def go_on(self) -> None:
        """After a wait that is not the stream's: what comes next is due from now on."""
        with self._changed:
            self._go_on()

    def wait(self, part: EventPacket) -> bool:
        """Until the last event of ``part`` is due; time that jumps by more than ``JUMP_US`` is not waited for.

        Returns:
            False when the reader was woken before; True when the part is due, or the run was stopped.
        """
        t = int(part.events["t"][-1]) if len(part) else None
        with self._changed:
            if self._newest is None and t is not None:
                self._newest, self._from = int(part.events["t"][0]), time.perf_counter()
            step = 0 if t is None or self._newest is None else t - self._newest
            while not self._stopped.is_set():
                if self._woken:
                    self._woken = False
                    return False
                now = time.perf_counter()
                stands, due = self._stands(), self._due(step, now)
                if not stands and due <= now:
                    self._from = due
                    if t is not None and (step > 0 or abs(step) > JUMP_US):
                        self._newest = t
                    break
                self._changed.wait(None if stands else due - now)
        return True

    def _due(self, step: int, now: float) -> float:
        if self.speed is None or self.held or abs(step) > JUMP_US:
            return now
        return self._from + max(step, 0) / 1e6 / self.speed

    def _stands(self) -> bool:
        """Whether nothing may be played now; a step ends once a timestep was made."""
        if not self.held:
            return False
        if self._made_before is not None and self.made() > self._made_before:
            self._made_before = None
            self._steps = max(0, self._steps - 1)
        if self._steps and self._made_before is None:
            self._made_before = self.made()
        return not self._steps
