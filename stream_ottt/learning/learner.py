"""OTTT at batch size 1: predict every timestep, learn from every label, now or later.

    L[t] = (1/T) ((1 - α) · cross_entropy(o[t], y) + α · mse(o[t], onehot(y)))
    ∇W_ij[t] = â_i[t] · f(u_j[t]) · δ_j[t]            three factors; no graph, no memory of earlier timesteps

OTTT_O steps the optimizer at every t; OTTT_A adds the gradients of T timesteps up first. (Xiao et al., NeurIPS 2022,
Eq. 4, 5, 7.) With an error delay Δ > 0 the error signal reaches the synapses Δ timesteps late (Sec. 4.3):

    ``paper``     ∇W_ij[t] = â_i[t] · f(u_j[t]) · δ_j[t-Δ]
    ``snapshot``  ∇W_ij[t] = â_i[t-Δ] · f(u_j[t-Δ]) · δ_j[t-Δ]
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stream_ottt.events.timestep import Prediction, Timestep
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.network.layers import Memo
from stream_ottt.network.network import Gradient, Network
from stream_ottt.network.optimizer import Optimizer, build_optimizer


@dataclass(slots=True)
class _Trail:
    """What is kept of a timestep until its label can no longer be used, or its error signal has met the synapses."""

    step: int
    logits: Tensor
    memos: list[Memo]
    deltas: list[Tensor] = field(default_factory=list)  # the error signal, once it is on its way


@dataclass(slots=True)
class LearnerCounts:
    """What became of the labels that :meth:`OnlineLearner.feedback` was given.

    Attributes:
        updates: optimizer steps.
        learned: timesteps whose error signal reached the synapses.
        too_late: labels of timesteps no longer kept.
        discarded: error signals still on their way when a new sample began.
    """

    updates: int = 0
    learned: int = 0
    too_late: int = 0
    discarded: int = 0


@dataclass(slots=True)
class _Sample:
    """State of the current sample beside the network's own."""

    step: int = -1
    memos: list[Memo] = field(default_factory=list)
    trails: deque[_Trail] = field(default_factory=deque)
    pending: deque[_Trail] = field(default_factory=deque)


@dataclass(slots=True, eq=False)
class LearnerState:
    """All that lies between two timesteps of one stream: a sample, the network's membranes and traces, gradients."""

    sample: _Sample = field(default_factory=_Sample)
    network: Any = None  # None: at rest
    sums: dict[str, Tensor] = field(default_factory=dict)
    summed: int = 0


class OnlineLearner:
    """Learns while it watches: :meth:`step` predicts, :meth:`feedback` makes it learn.

    Args:
        network: the spiking network; its parameters are updated in place.
        optimizer: None for the one that ``config`` describes.
        config: the learning rule; None for the defaults.
        classes: the label at each position of the logits; None for 0, 1, 2, …

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
    ) -> None:
        self.network = network
        self.config = config or LearnerConfig()
        self.optimizer = optimizer or build_optimizer(self.config)
        outputs = next(reversed(network.parameters.values())).shape[0]
        self.classes = list(range(outputs)) if classes is None else list(classes)
        if len(self.classes) != outputs:
            raise ValueError(f"{len(self.classes)} classes for a network with {outputs} outputs")
        self._position = {label: i for i, label in enumerate(self.classes)}
        weight = next(iter(network.parameters.values()))
        self._dtype, self._device = weight.dtype, weight.device
        self.counts = LearnerCounts()
        self.learned_from: int | None = None
        self._sample = _Sample()
        self._sums: dict[str, Tensor] = {}
        self._summed = 0

    # --- watching ------------------------------------------------------------------------------------------------

    def step(self, timestep: Timestep, *, learn: bool = True) -> Prediction:
        """Predict one timestep, before anything is learned from it.

        Args:
            timestep: its frame float32 [polarities, height, width]; ``new_sample`` resets the state before it.
            learn: False leaves out traces and memos: such a timestep cannot be learned from.
        """
        if timestep.new_sample:
            self.reset()
        outputs = self.forward(self.as_input(timestep.frame), timestep.index, learn=learn)
        logits = outputs[0].double().cpu().numpy()
        index = int(logits.argmax())
        e = np.exp(logits - logits[index])
        return Prediction(
            step=timestep.index,
            t_start=timestep.t_start,
            t_end=timestep.t_end,
            logits=logits,
            index=index,
            label=self.classes[index],
            confidence=float(1 / e.sum()),
        )

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
        logits, memos = self.network.forward(frames, learn=learn)
        sample = self._sample
        sample.step, sample.memos = step, memos
        if learn:
            sample.trails.append(_Trail(step, logits, memos))
        while sample.trails and sample.trails[0].step < step - self.config.history:
            sample.trails.popleft()
        return logits

    def reset(self) -> None:
        """Begin a new sample: neurons and traces to rest, error signals under way discarded and counted."""
        self._close_step()
        self.counts.discarded += len(self._sample.pending)
        if self._summed:
            self._apply_sums()
        self.network.reset()
        self._sample = _Sample(step=self._sample.step)

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Put the current sample aside, run another (a remembered one), and take it up again."""
        held = self.swap(self.rest())
        try:
            yield
        finally:
            self.reset()
            self.swap(held)

    def rest(self) -> LearnerState:
        """A state at rest, for :meth:`swap`."""
        return LearnerState()

    def swap(self, state: LearnerState) -> LearnerState:
        """Go on from ``state``; returns the state until now. Nothing is copied; weights and momentum are shared."""
        held = LearnerState(self._sample, self.network.state(), self._sums, self._summed)
        self._sample, self._sums, self._summed = state.sample, state.sums, state.summed
        if state.network is None:
            self.network.reset()
        else:
            self.network.set_state(state.network)
        return held

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
        sample = self._sample
        if step > sample.step:
            raise ValueError(f"step {step} has not been seen; the latest is {sample.step}")
        trail = next((t for t in sample.trails if t.step == step), None)
        if trail is None:
            self.counts.too_late += 1
            return False
        sample.trails.remove(trail)
        error = self._error(trail.logits, targets)
        if step + self.config.error_delay > sample.step:
            trail.deltas = self.network.credits(error, trail.memos)
            # In the order of their timesteps, whatever the order in which labels come.
            insort(sample.pending, trail, key=lambda t: t.step)
        elif step == sample.step or self.config.delay_mode == "snapshot":
            self._apply(self.network.sweep(error, trail.memos), step)
        else:
            trail.deltas = self.network.credits(error, trail.memos)
            self._meet(trail)
        if step == sample.step:
            self._close_step()
        return True

    def _close_step(self) -> None:
        """Apply the error signals that are due at the current timestep, once no more is expected of it.

        After the timestep's own error signal was formed: that one saw the weights before these updates.
        """
        sample = self._sample
        while sample.pending and sample.pending[0].step + self.config.error_delay <= sample.step:
            self._meet(sample.pending.popleft())

    def _meet(self, pending: _Trail) -> None:
        """An error signal reaches the synapses."""
        memos = pending.memos if self.config.delay_mode == "snapshot" else self._sample.memos
        if not memos:  # today's timestep was only watched
            self.counts.discarded += 1
            return
        self._apply(self.network.meet(pending.deltas, memos), pending.step)

    def _apply(self, gradients: Iterator[Gradient], step: int) -> None:
        self.counts.learned += 1
        self.learned_from = step
        if self.config.rule == "ottt_o":
            self.optimizer.begin()
            for gradient in gradients:
                gradient.apply(self.optimizer)
            self.counts.updates += 1
            return
        for gradient in gradients:
            for name, _, value in gradient.items:
                self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._summed += 1
        if self._summed == self.config.time_steps:
            self._apply_sums()

    def _apply_sums(self) -> None:
        """OTTT_A's one optimizer step for the gradients added up so far."""
        self.optimizer.begin()
        parameters = self.network.parameters
        for name, value in self._sums.items():
            self.optimizer.update(name, parameters[name], value)
        self.network.weights_changed()
        self.counts.updates += 1
        self._sums, self._summed = {}, 0

    def _error(self, logits: Tensor, targets: Tensor) -> Tensor:
        """∂L/∂logits [batch, classes], averaged over the batch."""
        c = self.config
        onehot = torch.zeros_like(logits).scatter_(1, targets.unsqueeze(1), 1)
        error = (1 - c.alpha) * (logits.softmax(1) - onehot)
        if c.alpha:
            error += (c.alpha * 2 / logits.shape[1]) * (logits - onehot)
        return error / (c.time_steps * logits.shape[0])
