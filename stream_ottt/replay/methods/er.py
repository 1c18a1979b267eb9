"""Experience replay: each new sample is learned in one batch with a remembered one, drawn from a reservoir.

Rolnick et al.: "Experience Replay for Continual Learning", NeurIPS 2019; Chaudhry et al.: "On Tiny Episodic Memories in
Continual Learning", 2019. As many remembered samples as new ones, and no more updates than without them.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from stream_ottt.learning.config import LearnerConfig
from stream_ottt.network.network import Network
from stream_ottt.network.optimizer import Optimizer
from stream_ottt.replay.config import MethodConfig
from stream_ottt.replay.methods.memory import Reservoir, as_batch, in_one, samples
from stream_ottt.replay.methods.online import Online
from stream_ottt.state import State, part, under


class ER(Online):
    """OTTT_O on batches that are half new and half remembered."""

    name = "er"
    alone = True

    def __init__(
        self, network: Network, optimizer: Optimizer, config: LearnerConfig, options: MethodConfig, *, batch_size: int
    ) -> None:
        super().__init__(network, optimizer, config, options, batch_size=batch_size)
        self.memory = Reservoir(options.memory)

    def learn(self, frames: Iterable[Tensor], targets: Tensor) -> Tensor:
        new, both, labels = in_one(frames), in_one(frames), targets
        drawn = self.memory.draw(len(targets), self.rng)
        if drawn:
            remembered, theirs = as_batch(drawn, new)
            both, labels = torch.cat([new, remembered], dim=1), torch.cat([targets, theirs])
        logits = super().learn(both, labels)[:, : len(targets)]
        for sample in samples(new, targets, logits):
            self.memory.add(sample, self.rng)
        return logits

    def state_dict(self) -> State:
        return super().state_dict() | under("memory", self.memory.state_dict())

    def load_state_dict(self, state: State) -> None:
        super().load_state_dict(state)
        self.memory.load_state_dict(part(state, "memory"))
