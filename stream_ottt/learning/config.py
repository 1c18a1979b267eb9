"""The settings of the learning rule, apart from what needs torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stream_ottt.network.config import OptimizerConfig


class LearnerConfig(OptimizerConfig):
    """The learning rule, and the optimizer that applies its gradients.

    Attributes:
        rule: ``ottt_o`` updates at every timestep, ``ottt_a`` once every ``time_steps`` learned timesteps or at a
            sample's end.
        time_steps: T of the loss; on an endless stream a nominal one.
        alpha: α, the share of the squared error in the loss.
        error_delay: Δ in timesteps.
        average: horizon in updates of the average of the weights that predicts, from 25; 0 predicts with the weights
            themselves.
        perturb: share of each weight that is lost at an update and made up for by noise, such as 2e-4, so that a stream
            of changing classes is learned as fast after long as at its start; 0 leaves the rule as it is.
        delay_mode: which traces a delayed error meets, ``paper`` (today's) or ``snapshot`` (those of its own step).
    """

    rule: Literal["ottt_o", "ottt_a"] = "ottt_o"
    time_steps: int = Field(10, ge=1, le=1_000_000)
    alpha: float = Field(0.05, ge=0, le=1)
    error_delay: int = Field(0, ge=0, le=10_000)
    delay_mode: Literal["paper", "snapshot"] = "paper"
    average: int = Field(0, ge=0, le=2**40)
    perturb: float = Field(0.0, ge=0, le=0.1)
