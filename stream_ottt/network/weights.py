"""Scaled weight standardization (sWS), forward and backward.

    Ŵ = gain · (W - mean) / sqrt(var · N + ε)        per output channel; var unbiased, N the fan-in, ε = 1e-4

(Brock et al., "Characterizing signal propagation to close the performance gap in unnormalized ResNets", ICLR 2021,
as the paper uses it.)
"""

from __future__ import annotations

import torch
from torch import Tensor

SWS_EPSILON = 1e-4


class ScaledStandardization:
    """Ŵ of one layer, computed once per update of W.

    Args:
        weight: W [out, in, k, k], changed in place by the optimizer.
        gain: [out, 1, 1, 1].
    """

    def __init__(self, weight: Tensor, gain: Tensor) -> None:
        self._raw = weight
        self._gain = gain
        self._weight: Tensor | None = None
        self._centred = weight
        self._inverse = gain

    @property
    def weight(self) -> Tensor:
        """Ŵ [out, in, k, k]."""
        if self._weight is None:
            rows = self._raw.flatten(1)
            n = rows.shape[1]
            self._centred = rows - rows.mean(1, keepdim=True)
            # Σ(W - mean)² as a batch of dot products: torch's variance over rows is many times slower on a CPU.
            squares = torch.linalg.vecdot(self._centred, self._centred).unsqueeze(1)
            self._inverse = (squares * (n / (n - 1)) + SWS_EPSILON).rsqrt_()
            scale = self._inverse * self._gain.view(-1, 1)
            self._weight = (self._centred * scale).view_as(self._raw)
        return self._weight

    def changed(self) -> None:
        """W or the gain was updated."""
        self._weight = None

    def backward(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """From ∂L/∂Ŵ [out, in, k, k] to ∂L/∂W (same shape) and ∂L/∂gain [out, 1, 1, 1]."""
        _ = self.weight  # statistics of the weights as they are now
        rows = gradient.flatten(1)
        n = rows.shape[1]
        along = torch.linalg.vecdot(rows, self._centred).unsqueeze(1)
        gain = along * self._inverse
        scale = self._inverse * self._gain.view(-1, 1)
        raw = rows - rows.mean(1, keepdim=True)
        raw -= self._centred * (along * self._inverse.square() * (n / (n - 1)))
        raw *= scale
        return raw.view_as(gradient), gain.view_as(self._gain)
