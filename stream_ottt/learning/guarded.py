"""Predicting and learning under the guard: where the numbers fail, weights and all that is under way go back."""

from __future__ import annotations

from collections.abc import Callable

from stream_ottt.events.timestep import Prediction, Timestep
from stream_ottt.learning.counters import SessionCounters
from stream_ottt.learning.due import DueLearning
from stream_ottt.learning.firing import FiringWatch
from stream_ottt.learning.guard import MOST_ROLLBACKS, Guard
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.learning.novelty import Novelty


class Guarded:
    """A learner whose numbers are looked after.

    Args:
        learner: the learner.
        guard: keeps its good weights.
        firing: looks at its spikes.
        due: what is under way, which begins from rest after the weights went back.
        counters: where it is said.
        novelty: says what is unknown, or None.
        pause: pauses learning, where going back did not help.
    """

    def __init__(
        self,
        learner: OnlineLearner,
        guard: Guard,
        firing: FiringWatch,
        due: DueLearning,
        counters: SessionCounters,
        novelty: Novelty | None,
        *,
        pause: Callable[[], None],
    ) -> None:
        self._learner = learner
        self._guard = guard
        self._firing = firing
        self._due = due
        self._counters = counters
        self._novelty = novelty
        self._pause = pause

    def predict(self, timestep: Timestep, *, learns: bool) -> Prediction:
        """Predict a timestep, so that it can be learned from where the session ``learns``."""
        if learns:
            self._guard.before_learning()
        # The traces tell what is unknown; but errors that are on their way must not meet those of a pause.
        keep = learns or (self._novelty is not None and not self._learner.config.error_delay)
        prediction = self._learner.step(timestep, learn=keep)
        if learns and not self._guard.is_well(prediction.logits):
            self._go_back("the network's output was no number")
            prediction = self._learner.step(timestep, learn=keep)
        if self._novelty is not None:
            if timestep.new_sample:
                self._novelty.begin()
            prediction.unknown = self._novelty.is_unknown(self._learner.network.state, prediction.confidence)
            self._counters.unknown += prediction.unknown
        self._firing.look(timestep.events)
        return prediction

    def look_at_weights(self) -> None:
        """After updates."""
        if not self._guard.after_updates(self._learner.counts.updates):
            self._go_back("an update exploded")

    def _go_back(self, why: str) -> None:
        self._guard.go_back(why)
        self._due.rest()
        if self._guard.gives_up:
            self._pause()
            self._counters.warn("paused", f"learning paused after the weights had gone back {MOST_ROLLBACKS} times")
