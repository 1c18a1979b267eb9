"""OTTT at batch size 1: predict every timestep, learn from every label, now or later.

    L[t] = (1/T) ((1 - α) · cross_entropy(o[t], y) + α · mse(o[t], onehot(y)))
    ∇W_ij[t] = â_i[t] · f(u_j[t]) · δ_j[t]            three factors; no graph, no memory of earlier timesteps

OTTT_O steps the optimizer at every t; OTTT_A adds the gradients of T timesteps up first. (Xiao et al., NeurIPS 2022,
Eq. 4, 5, 7.) With an error delay Δ > 0 the error signal reaches the synapses Δ timesteps late (Sec. 4.3):

    ``paper``     ∇W_ij[t] = â_i[t] · f(u_j[t]) · δ_j[t-Δ]
    ``snapshot``  ∇W_ij[t] = â_i[t-Δ] · f(u_j[t-Δ]) · δ_j[t-Δ]

How it learns, as curves and tables: ``benchmarks/README.md``.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stream_ottt.events.timestep import Prediction, Timestep
from stream_ottt.learning import learner_checkpoint, loss
from stream_ottt.learning.average import Average
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.learner_state import Kept, LearnerCounts, LearnerState
from stream_ottt.learning.one_by_one import OneByOne
from stream_ottt.learning.perturbation import Perturbation
from stream_ottt.network.network import Network
from stream_ottt.network.optimizer import GradientSink, GradientSum, Optimizer, build_optimizer
from stream_ottt.state import State


class OnlineLearner(OneByOne):
    """Learns while it watches: :meth:`step` predicts, :meth:`feedback` makes it learn.

    :func:`stream_ottt.build_learner` makes a fast one.

    Args:
        network: the spiking network; its parameters are updated in place.
        optimizer: None for the one that ``config`` describes.
        config: the learning rule; None for the defaults.
        classes: the label at each position of the logits; None for 0, 1, 2, …
        history: how many timesteps after its own a label can still be learned from.
        average: what predicts; None for the network itself.

    Attributes:
        counts: labels and updates so far.
        learned_from: the timestep whose error signal was applied last, or None.
    """

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer | None = None,
        config: LearnerConfig | None = None,
        *,
        classes: Iterable[int] | None = None,
        history: int = 0,
        average: Average | None = None,
    ) -> None:
        self.network = network
        self.config = config or LearnerConfig()
        self.optimizer = optimizer or build_optimizer(self.config)
        self.history = history
        self.average = average
        self.perturbation = Perturbation(network, self.config.perturb) if self.config.perturb else None
        self.classes = list(range(network.outputs)) if classes is None else list(classes)
        if len(self.classes) != network.outputs:
            raise ValueError(f"{len(self.classes)} classes for a network with {network.outputs} outputs")
        if (average is None) == bool(self.config.average):
            raise ValueError("learner.average needs a second network, which build_learner makes")
        self._position = {label: i for i, label in enumerate(self.classes)}
        weight = next(iter(network.parameters.values()))
        self._dtype, self._device = weight.dtype, weight.device
        self.counts = LearnerCounts()
        self.learned_from: int | None = None
        self._state = LearnerState(network.state, network.outputs)

    # --- watching ------------------------------------------------------------------------------------------------

    def step(self, timestep: Timestep, *, learn: bool = True) -> Prediction:
        """Predict one timestep, before anything is learned from it.

        Args:
            timestep: its frame float32 [polarities, height, width]; ``new_sample`` resets the state before it.
            learn: False leaves out traces and saved tensors: such a timestep cannot be learned from. With an average
                it also puts the network that learns at rest.
        """
        if timestep.new_sample:
            self.reset()
        frames = self.as_input(timestep.frame)
        if self.average is None:
            outputs = self.forward(frames, timestep.index, learn=learn)
        else:
            outputs = self._predict(frames, self.average)
            if learn:
                self.forward(frames, timestep.index)
            else:
                self._pass_over(timestep.index)
        logits = outputs[0].double().cpu().numpy()
        return Prediction.of(timestep, logits, self.classes)

    @property
    def latest_step(self) -> int:
        """Index of the timestep that was seen last; −1 before the first."""
        return self._state.step

    @property
    def predictor(self) -> Network:
        """The network whose predictions are given."""
        return self.network if self.average is None else self.average.network

    def _predict(self, frames: Tensor, average: Average) -> Tensor:
        state = self._state
        if state.predicting is None:
            state.predicting = average.network.rest()
        return average.predict(frames, state.predicting)

    def _pass_over(self, step: int) -> None:
        """A timestep that only the average has seen."""
        self._close_step()
        state = self._state
        state.step = step
        state.kept.clear()
        state.network.reset()

    def as_input(self, frame: npt.NDArray[np.generic]) -> Tensor:
        """A frame [polarities, height, width] of any dtype as a batch of one for :meth:`forward`."""
        return torch.from_numpy(frame).to(self._device, self._dtype).unsqueeze(0)

    def forward(self, frames: Tensor, step: int, *, learn: bool = True) -> Tensor:
        """Advance the network by one timestep; :meth:`step` for a batch.

        Args:
            frames: [batch, polarities, height, width].
            step: index of the timestep; larger than the one before.
            learn: as in :meth:`step`.

        Returns:
            Logits [batch, classes].
        """
        self._close_step()
        logits, saved = self.network.forward(frames, learn=learn)
        state = self._state
        state.step = step
        if learn:
            state.kept.append(Kept(step, logits, saved))
        while state.kept and state.kept[0].step < step - self.history:
            state.kept.popleft()
        return logits

    def reset(self) -> None:
        """Begin a new sample: neurons and traces to rest, error signals under way discarded and counted."""
        self._close_step()
        state = self._state
        self.counts.discarded += len(state.pending)
        if state.summed:
            self._apply_sums()
        state.network.reset()
        if state.predicting is not None:
            state.predicting.reset()
        self._state = LearnerState(state.network, state.outputs, step=state.step, predicting=state.predicting)

    def discard(self) -> None:
        """Error signals under way, and what OTTT_A has summed up, never reach the synapses; the neurons go on."""
        state = self._state
        self.counts.discarded += len(state.pending)
        state.pending.clear()
        state.sums, state.summed = GradientSum(), 0

    # --- state as a value --------------------------------------------------------------------------------------------

    def rest(self) -> LearnerState:
        """A state at rest, to go on from."""
        return LearnerState(self.network.rest(), self.network.outputs)

    def swap(self, state: LearnerState) -> LearnerState:
        """Go on from ``state``; returns the state so far. Weights, optimizer and counts are shared."""
        state.widen(self.network)
        before, self._state = self._state, state
        self.network.state = state.network
        return before

    # --- classes -----------------------------------------------------------------------------------------------------

    def add_class(self, label: int) -> None:
        """Tell one class more apart from now on; the weights of the others do not change by a bit.

        The read-out's new row is drawn as the others were, and the optimizer remembers nothing of it.

        Raises:
            ValueError: it is one of ``classes`` already.
        """
        if label in self._position:
            raise ValueError(f"label {label} is one of the classes {self.classes} already")
        for network in (self.network,) if self.average is None else (self.network, self.average.network):
            network.add_output()
        self.optimizer.grow(self.network.parameters)
        self._position[label] = len(self.classes)
        self.classes.append(label)
        self._state.widen(self.network)

    # --- learning ------------------------------------------------------------------------------------------------

    def feedback(self, step: int, label: int) -> bool:
        """Learn from the label of one timestep, now known.

        The error signal is formed now and meets the synapses at step + Δ, or at once when that has passed.

        Args:
            step: index of a timestep that :meth:`step` has seen.
            label: one of ``classes``.

        Returns:
            False when the timestep is no longer kept (counted in ``counts.too_late``) or cannot be learned from.

        Raises:
            ValueError: a label that is no class, or a step that has not been seen.
        """
        if label not in self._position:
            raise ValueError(f"label {label} is not among the classes {self.classes}")
        return self.learn(step, torch.tensor([self._position[label]], device=self._device))

    def learn(self, step: int, targets: Tensor) -> bool:
        """Learn from the targets int64 [batch] (positions, not labels) of one timestep; see :meth:`feedback`."""
        state, delay = self._state, self.config.error_delay
        if step > state.step:
            raise ValueError(f"step {step} has not been seen; the latest is {state.step}")
        kept = next((k for k in state.kept if k.step == step), None)
        if kept is None:
            self.counts.too_late += 1
            return False
        state.kept.remove(kept)
        error = loss.error(kept.logits, targets, self.config)
        if step + delay > state.step:
            self.network.backward(error, kept.saved)
            # In the order of their timesteps, whatever the order in which labels come.
            insort(state.pending, kept, key=lambda k: k.step)
        elif step == state.step or self.config.delay_mode == "snapshot":
            self._apply(step, lambda sink: self.network.backward(error, kept.saved, sink))
        else:
            self.network.backward(error, kept.saved)
            self._meet(kept)
        if step == state.step:
            self._close_step()
        return True

    def _close_step(self) -> None:
        """Apply the error signals that are due at the current timestep, once no more is expected of it.

        After the timestep's own error signal was formed: that one saw the weights before these updates.
        """
        state = self._state
        while state.pending and state.pending[0].step + self.config.error_delay <= state.step:
            self._meet(state.pending.popleft())

    def _meet(self, signal: Kept) -> None:
        """An error signal reaches the synapses."""
        saved = signal.saved if self.config.delay_mode == "snapshot" else self._state.network.saved
        if not saved:  # today's timestep was only watched
            self.counts.discarded += 1
            return
        self._apply(signal.step, lambda sink: self.network.learn(signal.saved, saved, sink))

    def _apply(self, step: int, give_gradients: Callable[[GradientSink], None]) -> None:
        self.counts.learned += 1
        self.learned_from = step
        if self.config.rule == "ottt_o":
            self.optimizer.begin()
            give_gradients(self.optimizer)
            self._count_update()
            return
        state = self._state
        give_gradients(state.sums)
        state.summed += 1
        if state.summed == self.config.time_steps:
            self._apply_sums()

    def _apply_sums(self) -> None:
        """OTTT_A's one optimizer step for the gradients added up so far."""
        state = self._state
        self.optimizer.begin()
        parameters = self.network.parameters
        for name, value in state.sums.sums.items():
            self.optimizer.update(name, parameters[name], value)
        self.network.weights_changed(centred=self.network.centred)
        self._count_update()
        state.sums, state.summed = GradientSum(), 0

    def _count_update(self) -> None:
        self.counts.updates += 1
        if self.perturbation is not None:
            self.perturbation.follow(self.network, self.optimizer.steps)
        if self.average is not None:
            self.average.follow(self.network, self.optimizer.steps)

    # --- a checkpoint ------------------------------------------------------------------------------------------------

    def state_dict(self) -> State:
        """All of it by name, tensors and plain JSON values: a learner that loads it goes on as this one, to the bit."""
        return learner_checkpoint.pack(self, self._state)

    def load_state_dict(self, found: State) -> None:
        """Go on from what :meth:`state_dict` gave; classes that it has beyond this learner's are added.

        Raises:
            ValueError: it is of another network; nothing was changed.
        """
        self.swap(learner_checkpoint.unpack(self, found))
