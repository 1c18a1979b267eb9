"""What the page shows of a run, and what it can do to it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from stream_ottt.errors import UsageError
from stream_ottt.events.timestep import StepResult
from stream_ottt.pipeline.view import Controls, RunView
from stream_ottt.web import parts
from stream_ottt.web.asked import Asked
from stream_ottt.web.curves import Curves
from stream_ottt.web.message import Command, CommandName, Wish, encode_part
from stream_ottt.web.probe import Probe, probe_part
from stream_ottt.web.slot import Slot

if TYPE_CHECKING:
    from stream_ottt.learning.session import Session

FRAME_S, STATUS_S, CURVES_S, INSIDE_S, SLOW_S = 0.0, 0.2, 1.0, 0.2, 2.0
"""Shortest time between two parts of a kind; frames come as fast as a browser draws them."""

SAMPLE_S = 0.25
"""Time between two points of the curves."""

SPEED_S = 2.0
"""Speeds are over this time."""

ANSWER_S = 5.0
"""Longest wait for a command to be done before the browser is told that it takes longer."""

FILTERS, THUMBNAILS = 64, 3
"""Filters of the first layer, and remembered stretches of a class, that are shown at most."""


@dataclass(frozen=True, slots=True)
class _Sample:
    wall_s: float
    stream_s: float
    events: int


class _Watch:
    """A probe in the learner's thread, and what browsers are sent of it."""

    def __init__(self, probe: Probe, controls: Controls) -> None:
        self.slot = Slot(probe.take, probe_part, INSIDE_S)
        self._probe = probe
        self._begun = None if controls.watch is None else controls.watch(probe)

    def is_alive(self) -> bool:
        if self._begun is None or (self._begun.done() and self._begun.exception() is not None):
            return False  # the stream had not begun
        return not self._probe.is_forgotten


class RunPage:
    """Gathers what a page shows. All of it happens in the thread of the sink that feeds it.

    Args:
        run: the run.
    """

    def __init__(self, run: RunView) -> None:
        self._run = run
        self._latest: StepResult | None = None
        self._ended: str | None = None
        self._curves = Curves()
        self._index = -1
        self._stream_s = 0.0
        self._samples: deque[_Sample] = deque([_Sample(time.perf_counter(), 0.0, 0)], maxlen=round(SPEED_S / SAMPLE_S))
        self._sample_at = 0.0
        self._shown_facts: tuple[object, object] = (None, None)
        self._probes: dict[tuple[str | None, int | None], _Watch] = {}
        self._always = [
            Slot(self._facts, lambda _: parts.facts_part(run.facts, available(run.controls)), STATUS_S),
            Slot(lambda: self._latest, parts.frame_part, FRAME_S),
            Slot(self._status, parts.status_part, STATUS_S),
            Slot(self._course, lambda arrays: encode_part("curves", {}, arrays), CURVES_S),
        ]
        self._memory_shown: parts.Remembered | None = None  # belongs to the learner's thread
        self._weights = Slot(Asked(self._ask, first_weights, SLOW_S).read, lambda w: parts.weights_part(*w), INSIDE_S)
        self._memory = Slot(Asked(self._ask, self._remembered, SLOW_S).read, parts.memory_part, INSIDE_S)

    # --- from the run ----------------------------------------------------------------------------------------------

    def take(self, result: StepResult) -> None:
        """Show this result, until the next one comes."""
        self._latest = result
        timestep = result.timestep
        # Results may have been missed; timesteps are numbered.
        self._stream_s += (timestep.index - self._index) * (timestep.t_end - timestep.t_start) / 1e6
        self._index = timestep.index
        self._curves.label(self._stream_s, result.truth)
        if time.perf_counter() >= self._sample_at:
            self._sample()

    def end(self, reason: str) -> None:
        """The run is over."""
        self._ended = reason
        self._sample()

    def _sample(self) -> None:
        now = time.perf_counter()
        self._sample_at = now + SAMPLE_S
        snapshot = self._run.snapshot()
        self._samples.append(_Sample(now, self._stream_s, snapshot.ledger.read))
        if snapshot.session is not None:
            self._curves.sample(self._stream_s, snapshot.session.accuracy)

    # --- to browsers -----------------------------------------------------------------------------------------------

    def slots(self, wish: Wish) -> list[Slot]:
        """What a browser with this wish is sent."""
        found = list(self._always)
        if wish.inside:
            found += [self._probe(wish.layer, wish.neuron), self._weights]
        if wish.memory:
            found.append(self._memory)
        return found

    def _facts(self) -> object:
        now = (self._run.facts, self._run.controls)
        if now[0] is not self._shown_facts[0] or now[1] is not self._shown_facts[1]:
            self._shown_facts = now
        return self._shown_facts

    def _status(self) -> parts.Status:
        old, new = self._samples[0], self._samples[-1]
        wall_s = max(time.perf_counter() - old.wall_s, 1e-9)
        stream_s = new.stream_s - old.stream_s
        events_per_s = (new.events - old.events) / stream_s if stream_s > 0 else 0.0
        return parts.Status(self._run.snapshot(), stream_s / wall_s, events_per_s, self._ended)

    def _course(self) -> object:
        return self._curves.arrays()

    def _ask(self, act: Callable[[Session], Any]) -> Future[Any]:
        if self._run.controls.ask is None:
            future: Future[Any] = Future()
            future.set_exception(UsageError("the run has not begun"))
            return future
        return self._run.controls.ask(act)

    def _probe(self, layer: str | None, neuron: int | None) -> Slot:
        """The slot of a probe of this layer and neuron; those that no browser reads any more go."""
        self._probes = {key: held for key, held in self._probes.items() if held.is_alive()}
        held = self._probes.get((layer, neuron))
        if held is None:
            held = self._probes[layer, neuron] = _Watch(Probe(layer, neuron), self._run.controls)
        return held.slot

    def _remembered(self, session: Session) -> parts.Remembered:
        """What the rehearsal memory holds, in the learner's thread; the same object while that has not changed.

        The frames of a stretch never change, and are not copied.
        """
        memory = session.memory
        latest = memory.latest(THUMBNAILS)
        ids = tuple(stretch.id for some in latest.values() for stretch in some)
        if self._memory_shown is None or ids != self._memory_shown.ids:
            frames = {label: [stretch.frames for stretch in some] for label, some in latest.items()}
            self._memory_shown = parts.Remembered(memory.counts(), memory.bytes, ids, frames)
        return self._memory_shown

    # --- from browsers ---------------------------------------------------------------------------------------------

    async def carry_out(self, command: Command) -> dict[str, Any]:
        """Do what a person asks for; waits until it is done, for a while.

        Raises:
            StreamOtttError: it cannot be done.
        """
        name = "label_last" if command.name == "label" and command.span_us is not None else command.name
        control = control_of(self._run.controls, name)
        if control is None:
            raise UsageError(f"{command.name.replace('_', ' ')}: not available in this run")
        if command.name in ("label", "correct") and command.label is None:
            raise UsageError(f"{command.name}: which class?")
        arguments: dict[str, tuple[Any, ...]] = {
            "label": (command.label,),
            "label_last": (command.label, command.span_us),
            "correct": (command.label, None),
            "retract": (None,),
            "new_class": (command.text,),
            "speed": (command.value,),
            "hold": (bool(command.value),),
        }
        doing = asyncio.wrap_future(control(*arguments.get(name, ())))
        done, _ = await asyncio.wait([doing], timeout=ANSWER_S)
        if not done:
            raise UsageError(f"{command.name}: not done within {ANSWER_S:g} s; the run is busy, and does it later")
        result = doing.result()
        return {RESULTS[command.name]: result} if command.name in RESULTS else {}


RESULTS = {
    "pause": "learning",
    "resume": "learning",
    "label": "timesteps",
    "new_class": "label",
    "save": "path",
    "checkpoint": "path",
}
"""What a command's result is called in its answer."""


def control_of(controls: Controls, command: str) -> Callable[..., Future[Any]] | None:
    """What does a command, or None where the run has no such thing."""
    return getattr(controls, {"label": "label_now", "new_class": "add_class"}.get(command, command), None)


def available(controls: Controls) -> dict[str, bool]:
    """Which commands the run takes."""
    return {name: control_of(controls, name) is not None for name in get_args(CommandName)}


# --- of the session, in the learner's thread -------------------------------------------------------------------------


def first_weights(session: Session) -> tuple[np.ndarray[Any, np.dtype[np.float32]], int] | None:
    """The first layer's weights [≤ FILTERS, channels, height, width], and how many filters there are."""
    weights = next((p for p in session.learner.network.parameters.values() if p.ndim == 4), None)
    if weights is None:
        return None
    return weights[:FILTERS].detach().float().cpu().numpy().copy(), len(weights)
