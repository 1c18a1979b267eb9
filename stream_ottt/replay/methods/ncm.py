"""Nearest class mean on frozen features.

    argmin_k ‖z - μ_k‖²  =  argmax_k  μ_k · z - ½ ‖μ_k‖²

(Mensink et al., TPAMI 2013; as a stream's baseline in Rebuffi et al., CVPR 2017.) The right side is linear in z, so
that the read-out itself says it.
"""

from __future__ import annotations

from torch import Tensor

from stream_ottt.replay.methods.features import OnFeatures


class NCM(OnFeatures):
    """The class whose mean of random features is nearest."""

    name = "ncm"

    def solve(self) -> tuple[Tensor, Tensor]:
        return self.means, -0.5 * self.means.square().sum(1)
