"""Streaming linear discriminant analysis on frozen features: a mean a class, and one covariance for all.

    Σ ← (t Σ + Δ) / (t + 1),   Δ = t (z - μ_y)(z - μ_y)ᵀ / (t + 1),   then μ_y ← (c_y μ_y + z) / (c_y + 1)
    Λ = ((1 - ε) Σ + ε I)⁻¹,   w_k = Λ μ_k,   b_k = -½ μ_k · Λ μ_k,   ε = 10⁻⁴

t is the number of samples before. Hayes and Kanan: "Lifelong Machine Learning with Deep Streaming Linear Discriminant
Analysis", CVPR Workshops 2020, Eq. 1 to 3. There the features are those of a pretrained network; here they are random.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stream_ottt.learning.config import LearnerConfig
from stream_ottt.network.network import Network
from stream_ottt.network.optimizer import Optimizer
from stream_ottt.replay.config import MethodConfig
from stream_ottt.replay.methods.features import OnFeatures
from stream_ottt.state import State, take

SHRINKAGE = 1e-4
"""ε"""


class SLDA(OnFeatures):
    """Each batch solves a system as large as there are features: a read-out with ``gap`` keeps that small."""

    name = "slda"

    def __init__(
        self, network: Network, optimizer: Optimizer, config: LearnerConfig, options: MethodConfig, *, batch_size: int
    ) -> None:
        super().__init__(network, optimizer, config, options, batch_size=batch_size)
        features = self.means.shape[1]
        self.covariance = torch.zeros(features, features, dtype=torch.float64, device=self.means.device)

    def see(self, z: Tensor, label: int) -> None:
        t = float(self.counts.sum())
        off = z - self.means[label]
        self.covariance.mul_(t).add_(torch.outer(off, off), alpha=t / (t + 1)).div_(t + 1)
        super().see(z, label)

    def solve(self) -> tuple[Tensor, Tensor]:
        identity = torch.eye(len(self.covariance), dtype=torch.float64, device=self.covariance.device)
        precision = (1 - SHRINKAGE) * self.covariance + SHRINKAGE * identity
        weight = torch.linalg.solve(precision, self.means.T).T
        return weight, -0.5 * (self.means * weight).sum(1)

    def state_dict(self) -> State:
        return super().state_dict() | {"covariance": self.covariance}

    def load_state_dict(self, state: State) -> None:
        super().load_state_dict(state)
        self.covariance.copy_(take(state, "covariance"))
