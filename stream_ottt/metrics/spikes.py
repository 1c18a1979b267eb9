"""How many neurons fire, layer by layer: looked at in the learner's thread, twice a second, for others to read."""

from __future__ import annotations

import time
from concurrent.futures import Future

from stream_ottt.events.timestep import StepResult
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.pipeline.view import RunView

EVERY_S = 0.5


class SpikeRates:
    """The share of neurons that fired at a timestep, by layer.

    Attributes:
        latest: layer → share; empty before the first look.
    """

    def __init__(self) -> None:
        self.latest: dict[str, float] = {}
        self._due_at = 0.0
        self._begun: Future[None] | None = None

    def begin(self, run: RunView) -> None:
        """Have the learner's thread look, unless it does; to be called again and again, as it cannot at first."""
        begun = self._begun
        refused = begun is not None and begun.done() and begun.exception() is not None
        if run.controls.watch is not None and (begun is None or refused):
            self._begun = run.controls.watch(self._look)

    def _look(self, learner: OnlineLearner, _: StepResult) -> bool:
        if time.monotonic() >= self._due_at:
            self._due_at = time.monotonic() + EVERY_S
            self.latest = learner.network.firing()
        return True
