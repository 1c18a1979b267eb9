"""Guards the numbers: what is not finite or explodes is noticed at once, and weights go back to the last good ones.

Looked at are the logits of each timestep, the squared norm of one connection's weights after each update (in turn, and
where the engine has it at hand), and all weights before they are kept as good ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stream_ottt.learning.counters import SessionCounters
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.network.growth import with_zero_rows
from stream_ottt.state import State, part, take, under

KEEP_EVERY = 200
"""Updates after which the weights are kept as good ones."""
LARGEST_MEAN_SQUARE = 1e4
"""Largest mean square of a connection's weights, or largest growth of it since the weights were kept."""
SMALLER = 0.1
"""Factor on the learning rate after each rollback."""
MOST_ROLLBACKS = 5
"""So many pause the learning."""


@dataclass(slots=True)
class Good:
    """Weights and optimizer at a moment at which all was well; the tensors are copies."""

    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    squares: dict[str, float]


class Guard:
    """Looks after one learner.

    Args:
        learner: whose weights it keeps and puts back.
        counters: where rollbacks and warnings are counted.
    """

    def __init__(self, learner: OnlineLearner, counters: SessionCounters) -> None:
        self._learner = learner
        self._counters = counters
        self._good: Good | None = None
        self._updates = 0  # looked at

    @property
    def gives_up(self) -> bool:
        """Whether learning is to pause, since going back did not help."""
        return self._counters.rollbacks >= MOST_ROLLBACKS

    def before_learning(self) -> None:
        """Keep the weights that there are at first."""
        if self._good is None:
            self._keep()

    def is_well(self, logits: npt.NDArray[np.float64]) -> bool:
        """Whether the logits [classes] of a timestep are numbers."""
        return math.isfinite(float(logits.sum()))

    def after_updates(self, updates: int) -> bool:
        """Whether the weights are well, after so many updates in all; good ones are kept now and then."""
        if updates == self._updates:
            return True
        before, self._updates = self._updates, updates
        if updates // KEEP_EVERY > before // KEEP_EVERY:
            return self._keep()
        found = self._learner.network.squared_norm(updates)
        return found is None or self._is_small(*found)

    def go_back(self, why: str) -> None:
        """Put back the good weights, learn in smaller steps from now on, and begin from rest."""
        learner, good = self._learner, self._good
        assert good is not None
        for name, value in learner.network.parameters.items():
            value.copy_(good.weights[name])
        learner.network.weights_changed(centred=learner.network.centred)
        optimizer = learner.optimizer
        optimizer.set_state(good.optimizer, optimizer.steps)
        optimizer.set_scale(optimizer.scale * SMALLER)
        if learner.average is not None:
            learner.average.take(good.weights, centred=learner.network.centred)
        before = learner.swap(learner.rest())
        learner.counts.discarded += len(before.pending)
        self._counters.rollbacks += 1
        self._counters.warn(
            "numbers",
            f"{why} after {self._counters.timesteps} timesteps; the weights went back to the last good ones and the "
            f"steps are {1 / SMALLER:g} times smaller from then on, after {MOST_ROLLBACKS} times learning pauses; "
            "use a smaller learner.lr",
        )

    def add_class(self) -> None:
        """The read-out has got a row: so have the good weights."""
        good = self._good
        if good is None:
            return
        for name, value in self._learner.network.parameters.items():
            if len(value) > len(good.weights[name]):
                kept = good.weights[name]
                good.weights[name] = torch.cat([kept, value[len(kept) :]])
        for key, value in self._learner.optimizer.state().items():
            if key in good.optimizer:
                good.optimizer[key] = with_zero_rows(good.optimizer[key], len(value))

    def _keep(self) -> bool:
        network = self._learner.network
        weights = {name: value.clone() for name, value in network.parameters.items()}
        squares = {name: float(value.double().square().sum()) for name, value in weights.items()}
        if not all(math.isfinite(value) for value in squares.values()):
            return False
        if self._good is not None and not all(self._is_small(n, weights[n].numel(), s) for n, s in squares.items()):
            return False
        optimizer = {name: value.clone() for name, value in self._learner.optimizer.state().items()}
        self._good = Good(weights, optimizer, squares)
        return True

    def _is_small(self, name: str, size: int, square: float) -> bool:
        assert self._good is not None
        return square <= LARGEST_MEAN_SQUARE * max(self._good.squares[name], size)

    # --- a checkpoint ------------------------------------------------------------------------------------------------

    def state_dict(self) -> State:
        """All of it, the good weights among it: a run that goes back after a restart goes back to the same."""
        state: State = {
            "updates": self._updates,
            "scale": self._learner.optimizer.scale,
            "kept": self._good is not None,
        }
        good = self._good
        if good is not None:  # never changed once kept
            state["squares"] = dict(good.squares)
            state |= under("weights", good.weights) | under("optimizer", good.optimizer)
        return state

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self._updates = take(state, "updates")
        self._learner.optimizer.set_scale(take(state, "scale"))
        self._good = None
        if take(state, "kept"):
            names = list(self._learner.network.parameters)
            squares = take(state, "squares")
            weights = {name: take(state, f"weights/{name}") for name in names}
            self._good = Good(weights, part(state, "optimizer"), {name: take(squares, name) for name in names})
