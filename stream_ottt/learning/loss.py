"""The loss of one timestep, as its error signal.

L[t] = (1/T) ((1 - α) · cross_entropy(o[t], y) + α · mse(o[t], onehot(y)))
"""

from __future__ import annotations

import torch
from torch import Tensor

from stream_ottt.learning.config import LearnerConfig


def error(logits: Tensor, targets: Tensor, config: LearnerConfig) -> Tensor:
    """∂L/∂logits [batch, classes], averaged over the batch; ``targets`` int64 [batch] are positions."""
    onehot = torch.zeros_like(logits).scatter_(1, targets.unsqueeze(1), 1)
    found = (1 - config.alpha) * (logits.softmax(1) - onehot)
    if config.alpha:
        found += (config.alpha * 2 / logits.shape[1]) * (logits - onehot)
    return found / (config.time_steps * logits.shape[0])
