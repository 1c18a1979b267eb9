"""ObGD: a step size that shrinks where the step would overshoot.

    z ← μ z + ∇L,    M = lr κ ‖z‖₁ max(|δ|, 1),    W ← W - min(lr, lr / M) z

Elsayed, Vasan, Mahmood: "Streaming Deep Reinforcement Learning Finally Works", 2024, Algorithm 3. There ∇ is that of a
value, δ its temporal-difference error, and the step is δ z. Here the loss's gradient has the error as a factor already,
so that δ is 1; μ (``learner.momentum``) stands in the place of γλ. ‖z‖₁ goes over all parameters.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from stream_ottt.learning.config import LearnerConfig
from stream_ottt.network.network import Network
from stream_ottt.network.optimizer import Optimizer
from stream_ottt.replay.config import MethodConfig
from stream_ottt.replay.methods.online import Online
from stream_ottt.state import State, part, under


class ObGD(Online):
    """OTTT_O's gradients, applied by ObGD; of the optimizer only the learning rate and its schedule are used."""

    name = "obgd"
    alone = True

    def __init__(
        self, network: Network, optimizer: Optimizer, config: LearnerConfig, options: MethodConfig, *, batch_size: int
    ) -> None:
        super().__init__(network, optimizer, config, options, batch_size=batch_size)
        self.traces = {name: torch.zeros_like(value) for name, value in network.parameters.items()}

    def update(self, gradients: Mapping[str, Tensor]) -> None:
        self.optimizer.begin()
        rate, parameters = self.optimizer.lr, self.network.parameters
        for name, trace in self.traces.items():
            trace.mul_(self.config.momentum)
            if name in gradients:
                trace.add_(gradients[name])
        norm = sum(float(trace.abs().sum()) for trace in self.traces.values())
        overshoot = rate * self.options.kappa * norm
        for name, trace in self.traces.items():
            parameters[name].add_(trace, alpha=-rate / max(overshoot, 1))
        self.network.weights_changed()

    def state_dict(self) -> State:
        return super().state_dict() | under("trace", self.traces)

    def load_state_dict(self, state: State) -> None:
        super().load_state_dict(state)
        for name, value in part(state, "trace").items():
            self.traces[name].copy_(value)
