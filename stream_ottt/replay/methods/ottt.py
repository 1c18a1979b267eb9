"""OTTT_O and OTTT_A: the online learner on whole samples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

import torch
from torch import Tensor

from stream_ottt.engine.config import EngineConfig
from stream_ottt.learning.build import build_learner
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.network.network import Network
from stream_ottt.network.optimizer import Optimizer
from stream_ottt.replay.config import MethodConfig
from stream_ottt.replay.methods.base import Method


class OtttO(Method):
    """An optimizer step at every timestep (Eq. 4, 5)."""

    name = "ottt_o"
    every_step = True
    rule: ClassVar[Literal["ottt_o", "ottt_a"]] = "ottt_o"

    def __init__(
        self, network: Network, optimizer: Optimizer, config: LearnerConfig, options: MethodConfig, *, batch_size: int
    ) -> None:
        super().__init__(network, optimizer, config, options, batch_size=batch_size)
        plain = batch_size > 1  # the fast engine takes one stream
        engine = EngineConfig(
            engine="plain" if plain else "auto", precision=options.precision, compiled=options.compiled
        )
        rule = config.model_copy(update={"rule": self.rule})
        self.learner = build_learner(network, optimizer, rule, engine=engine, threads=None)
        self.network = self.learner.network

    def learn(self, frames: Iterable[Tensor], targets: Tensor) -> Tensor:
        learner = self.learner
        learner.reset()
        logits: list[Tensor] = []
        for t, frame in enumerate(frames):
            logits.append(learner.forward(frame, t))
            learner.learn(t, targets)
        learner.reset()
        return torch.stack(logits)


class OtttA(OtttO):
    """One optimizer step for the gradients of T timesteps (Eq. 7), T that of the loss."""

    name = "ottt_a"
    every_step = False
    rule = "ottt_a"

    @classmethod
    def updates(cls, timesteps: int, config: LearnerConfig) -> int:
        return -(-timesteps // config.time_steps)
