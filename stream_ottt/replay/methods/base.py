"""What a learning method is: it learns one batch of samples and predicts another; all else is the same for all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stream_ottt.learning.config import LearnerConfig
from stream_ottt.network.network import Network
from stream_ottt.network.optimizer import Optimizer
from stream_ottt.replay.config import MethodConfig
from stream_ottt.state import State, take


class Method(ABC):
    """Base of the methods. To add one: subclass, register its name; or name its file, ``--method.name rule.py:MyRule``.

    A method makes gradients in its own way and hands them to :meth:`update`, which makes the optimizer step.

    Class attributes:
        name: the short name.
        every_step: whether it makes an optimizer step at each timestep, rather than one a batch.
        alone: whether it follows one stream in one process, so that batches cannot be shared among several.

    Args:
        network: what is trained, in place.
        optimizer: applies the gradients.
        config: T, α, the optimizer's settings.
        options: the ``[method]`` table.
        batch_size: samples that are learned at once.

    Attributes:
        network: the network to read weights from; a method may have wrapped the one it was given.
        rng: for what it draws; the workbench puts one here that follows from the seed.
    """

    name: ClassVar[str]
    every_step: ClassVar[bool] = False
    alone: ClassVar[bool] = False

    def __init__(
        self, network: Network, optimizer: Optimizer, config: LearnerConfig, options: MethodConfig, *, batch_size: int
    ) -> None:
        self.network = network
        self.optimizer = optimizer
        self.config = config
        self.options = options
        self.batch_size = batch_size
        self.rng = np.random.default_rng(0)

    @classmethod
    def updates(cls, timesteps: int, config: LearnerConfig) -> int:
        """Optimizer steps that learning one batch of so many timesteps makes."""
        return timesteps if cls.every_step else 1

    @abstractmethod
    def learn(self, frames: Iterable[Tensor], targets: Tensor) -> Tensor:
        """Learn one batch of samples, from a state at rest.

        Args:
            frames: T times [batch, channels, height, width]; taken one at a time, so they may be made as they are
                needed.
            targets: int64 [batch].

        Returns:
            Logits [T, batch, classes] as they were when each timestep was seen.
        """

    def update(self, gradients: Mapping[str, Tensor]) -> None:
        """One optimizer step.

        Args:
            gradients: ∂L/∂parameter by full name; parameters that are left out stay as they are.
        """
        parameters = self.network.parameters
        self.optimizer.begin()
        with torch.no_grad():
            for name, gradient in gradients.items():
                self.optimizer.update(name, parameters[name], gradient)
        self.network.weights_changed()

    def before_test(self) -> None:  # noqa: B027 - most have learned already
        """Called before held-out samples are classified: what is learned from a memory at the end is learned here."""

    def state_dict(self) -> State:
        """What it remembers beside weights and optimizer, so that a killed run goes on to the same end."""
        return {"rng": self.rng.bit_generator.state}

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.rng.bit_generator.state = take(state, "rng")

    def predict(self, frames: Iterable[Tensor]) -> Tensor:
        """Logits [T, batch, classes] of one batch from a state at rest; nothing is learned."""
        self.network.reset()
        logits = [self.network.forward(frame, learn=False)[0] for frame in frames]
        self.network.reset()
        return torch.stack(logits)


def loss(logits: Tensor, targets: Tensor, *, alpha: float, time_steps: int) -> Tensor:
    """L[t] = (1/T) ((1 - α) · cross_entropy + α · mse), averaged over the batch; logits [batch, classes]."""
    value = F.cross_entropy(logits, targets) * (1 - alpha)
    if alpha:
        onehot = F.one_hot(targets, logits.shape[1]).to(logits.dtype)
        value = value + alpha * F.mse_loss(logits, onehot)
    return value / time_steps
