"""One time that never runs backwards, whatever the sensor's clock does.

Events come in the order of the stream, each with the time that the sensor's clock (or a tool) gave it. A few times may
be wrong: left over from the last session, a bit flipped, or a clock that was set. What is done with them:

- The events whose times do not decrease make up the **line**. An event that is older than the line's newest by more
  than ``tolerance`` does not go on with it. Such events make up a **rival** line.
- After a step forward of more than ``GAP_US`` the line may be wrong: it is held until ``CONFIRM`` events stand behind
  the step. A rival may branch off from before the step. Once it has ``CONFIRM`` events, or when the next event could
  follow both or comes after a step itself, the longer of the two is right; the other one is **left out**.
- A rival is also left out when as many events speak against it as for it.
- A rival that begins before everything that was passed on means that the clock may have jumped back. ``CONFIRM`` of its
  events begin a new **epoch** where the jump is longer than ``FAR_US``. After a shorter one, ``MAX_RIVALS`` events do,
  or all those up to where the rival has come up to the line (without a step of more than ``CLIMB_US``) or up to the
  end: short steps back are mostly packets in the wrong order, for which ``tolerance`` is the cure. The new epoch goes
  on one silence (``SILENCE_US``) after the newest event before it.
- A step forward of more than ``PAUSE_US`` that lasts is a new epoch, too. Its times stay as they are: a clock that was
  set forward cannot be told from a pause, and labels are given in the recording's own time. Fewer than ``CONFIRM``
  events behind such a step at the very end, after an epoch of at least as many, are wrong times and are left out; so
  are fewer than ``CONFIRM`` before such a step at the very beginning, where at least as many stand behind it.
- Times below 0 or from ``LIMIT_US`` on are no times; such events are left out.

A stream whose times never decrease therefore passes unchanged. Every event is passed on, held or left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_ottt.events.packet import EVENT_DTYPE, EventArray, join_events, make_events
from stream_ottt.state import take

GAP_US = 10_000
CONFIRM = 32
CLIMB_US = 1_000
FAR_US = 1_000_000
MAX_RIVALS = 4096
PAUSE_US = 60_000_000
SILENCE_US = 1_000_000
LIMIT_US = 2**53
"""285 years."""
MAX_JUMPS = 100
"""Jumps that are kept one by one; all are counted."""

NO_EVENTS: EventArray = np.empty(0, EVENT_DTYPE)


@dataclass(frozen=True, slots=True)
class Jump:
    """A jump of the sensor's clock that began a new epoch.

    Attributes:
        before: the sensor's time before it, µs.
        after: the sensor's time after it, µs.
        at: where the new epoch begins in the time that is passed on, µs.
    """

    before: int
    after: int
    at: int


class Clock:
    """Passes the events of one stream on in the order of one time. Where the stream is cut into packets means nothing.

    Args:
        tolerance: events up to this much (µs) older than the newest are put in their place.

    Attributes:
        left_out: events whose times were wrong.
        epochs: how many the clock has had; 1 for a clock that never jumped.
        jumps: the first ``MAX_JUMPS`` jumps that began epochs.
    """

    def __init__(self, tolerance: int = 0) -> None:
        self.tolerance = tolerance
        self.left_out = 0
        self.jumps: list[Jump] = []
        self._undecided = NO_EVENTS
        self._held: list[int] = []  # indices into the undecided events
        self._kinds: list[int] = []
        self._rivals: list[int] = []
        self._state = np.zeros(11, np.int64)  # see the kernel
        self._state[[0, 1]] = -LIMIT_US  # newest and passed on: no event yet
        self._disordered = NO_EVENTS  # passed on by the line, sorted, but an earlier one may still come

    @property
    def epochs(self) -> int:
        """How many epochs there were; 1 for a clock that never jumped."""
        return 1 + int(self._state[3])

    @property
    def held(self) -> int:
        """Events taken that are neither passed on nor left out yet."""
        return len(self._undecided) + len(self._disordered)

    def feed(self, events: EventArray) -> EventArray:
        """Take the next events [n] of the stream.

        Returns:
            Events [m] that are ready, in order of time: the same array where all of it is as it should be.
        """
        return self._in_place(self.decide(events), end=False) if len(events) else events

    def flush(self, *, ended: bool = False) -> EventArray:
        """Decide on the events that are held, since no more are to come for now; those that are ready.

        Args:
            ended: whether none come at all.
        """
        return self._in_place(self.decide_rest(ended=ended), end=True)

    def decide(self, events: EventArray) -> EventArray:
        """As :meth:`feed`, but events that come late within the tolerance are neither waited for nor put in place."""
        if self._undecided.size or not self._is_plain(events["t"]):
            return self._walk(events)
        ready = self._shifted(events)
        self._state[[0, 1]] = int(events["t"][-1])
        self._state[10] += len(events)
        return ready

    def decide_rest(self, *, ended: bool) -> EventArray:
        """As :meth:`flush`, for :meth:`decide`."""
        return self._walk(None, ended=ended) if len(self._undecided) else NO_EVENTS

    def forget(self) -> int:
        """Give up the events that are held; how many they were."""
        count = self.held
        self._undecided = self._disordered = NO_EVENTS
        self._held, self._kinds, self._rivals = [], [], []
        self._state[6] = 0  # no rivals
        return count

    def facts(self) -> dict[str, Any]:
        """JSON-ready: ``epochs``, ``left_out``, ``jumps`` (``before``, ``after``, ``at``, µs)."""
        jumps = [{"before": j.before, "after": j.after, "at": j.at} for j in self.jumps]
        return {"epochs": self.epochs, "left_out": self.left_out, "jumps": jumps}

    def state_dict(self) -> dict[str, Any]:
        """All that the next packet meets, as plain values and arrays; exact."""
        return {
            "tolerance": self.tolerance,
            "left_out": self.left_out,
            "jumps": [[j.before, j.after, j.at] for j in self.jumps],
            "undecided": self._undecided.view(np.uint8).copy(),
            "held": list(self._held),
            "kinds": list(self._kinds),
            "rivals": list(self._rivals),
            "state": self._state.tolist(),
            "disordered": self._disordered.view(np.uint8).copy(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.tolerance = int(take(state, "tolerance"))
        self.left_out = int(take(state, "left_out"))
        self.jumps = [Jump(*jump) for jump in take(state, "jumps")]
        self._undecided = np.array(take(state, "undecided"), np.uint8).view(EVENT_DTYPE)
        self._held, self._kinds = list(take(state, "held")), list(take(state, "kinds"))
        self._rivals = list(take(state, "rivals"))
        self._state = np.array(take(state, "state"), np.int64)
        self._disordered = np.array(take(state, "disordered"), np.uint8).view(EVENT_DTYPE)

    def _is_plain(self, t: npt.NDArray[np.int64]) -> bool:
        """Whether all of these times go on with the line without a gap: the common case."""
        newest = int(self._state[0])
        first, last = int(t[0]), int(t[-1])
        if newest == -LIMIT_US:
            if len(t) < CONFIRM or first < 0:
                return False
        elif not newest <= first <= newest + GAP_US:
            return False
        if last >= LIMIT_US or len(t) == 1:
            return last < LIMIT_US
        steps = np.diff(t)
        return bool(steps.min() >= 0 and steps.max() <= GAP_US)

    def _walk(self, events: EventArray | None, *, ended: bool = False) -> EventArray:
        from stream_ottt.events.clock_kernel import END, JUMPS, PASSED, RIVALS, finish, walk

        before = len(self._undecided)
        every = self._undecided
        if events is not None:
            every = join_events([every, np.ascontiguousarray(events)]) if before else np.ascontiguousarray(events)
        t, s = np.ascontiguousarray(every["t"]), self._state
        line, kinds = _filled(self._held, len(t)), _filled(self._kinds, len(t))
        rivals = _filled(self._rivals, MAX_RIVALS)
        times, jumps = np.empty(len(t), np.int64), np.empty((MAX_JUMPS - len(self.jumps), 3), np.int64)
        rules = np.array([self.tolerance, GAP_US, CONFIRM, CLIMB_US, FAR_US, PAUSE_US, SILENCE_US, LIMIT_US])
        s[[PASSED, END, JUMPS]] = 0, len(self._held), 0
        if events is None:
            finish(t, line, kinds, times, rivals, jumps, s, rules, ended)
        else:
            walk(t, before, line, kinds, times, rivals, jumps, s, rules)
        self.jumps += [Jump(*jump) for jump in jumps[: s[JUMPS]].tolist()]
        n, end = int(s[PASSED]), int(s[END])
        undecided = np.sort(np.concatenate([line[n:end], rivals[: s[RIVALS]]]))
        self.left_out += len(t) - n - len(undecided)
        self._held = np.searchsorted(undecided, line[n:end]).tolist()
        self._kinds = kinds[n:end].tolist()
        self._rivals = np.searchsorted(undecided, rivals[: s[RIVALS]]).tolist()
        self._undecided = every[undecided]
        if n and line[n - 1] - line[0] == n - 1 and (np.diff(line[:n]) == 1).all():  # an epoch may have gone before
            ready = every[line[0] : line[0] + n]
            if np.array_equal(times[:n], t[line[0] : line[0] + n]):
                return ready
            ready = ready.copy()
        else:
            ready = every[line[:n]]
        ready["t"] = times[:n]
        return ready

    def _shifted(self, events: EventArray) -> EventArray:
        if self._state[2]:
            events = events.copy()
            events["t"] += self._state[2]
        return events

    def _in_place(self, ready: EventArray, *, end: bool) -> EventArray:
        """Put those within the tolerance in their place; hold those that an earlier one may still come before."""
        if not self.tolerance:
            return ready
        if len(self._disordered):
            ready = join_events([self._disordered, np.ascontiguousarray(ready)])
        t = np.ascontiguousarray(ready["t"])
        if len(t) > 1 and np.any(t[1:] < t[:-1]):
            order = np.argsort(t, kind="stable")
            ready, t = ready[order], t[order]
        # The latest one is always among those that are held, so that nothing else has to be remembered.
        done = len(t) if end or not len(t) else int(np.searchsorted(t, t[-1] - self.tolerance, "left"))
        self._disordered = ready[done:].copy()
        return ready[:done]


def load_kernel() -> None:
    """Have the clock's kernel loaded before an event needs it."""
    clock = Clock()
    clock.feed(make_events([0, 0], [0, 0], [1_000, 0], [0, 0]))
    clock.flush()


def _filled(values: list[int], size: int) -> npt.NDArray[np.int64]:
    out = np.empty(size, np.int64)
    out[: len(values)] = values
    return out
