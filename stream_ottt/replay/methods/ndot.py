"""NDOT: the presynaptic trace decays by what each neuron's membrane kept, in the place of a constant λ.

    OTTT    â[t] = λ â[t-1] + s[t]
    NDOT    â[t] = ρ[t] â[t-1] + s[t],    ρ[t] = (u[t] - V_th s[t]) / (u[t-1] - V_th s[t-1])

Jiang, De Masi, Xiong, Gu: "NDOT: Neuronal Dynamics-based Online Training for Spiking Neural Networks", ICML 2024. As
in the code that they released, ρ is kept within [-λ, λ], and is λ where the denominator is 0: without that it is not
finite. All else, the loss, the surrogate and the optimizer among it, is OTTT_O's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stream_ottt.errors import UsageError
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.network.layers import AvgPool, ReadOut, SpikingConv
from stream_ottt.network.network import Network
from stream_ottt.network.optimizer import Optimizer
from stream_ottt.network.saved import Saved
from stream_ottt.replay.config import MethodConfig
from stream_ottt.replay.methods.online import Online


class Ndot(Online):
    """OTTT_O with NDOT's trace, for networks of convolutions and pooling.

    The trace is each neuron's, scaled and dropped out as its spikes are, and passes through pooling as they do.

    Raises:
        UsageError: a network with residual blocks.
    """

    name = "ndot"

    def __init__(
        self, network: Network, optimizer: Optimizer, config: LearnerConfig, options: MethodConfig, *, batch_size: int
    ) -> None:
        super().__init__(network, optimizer, config, options, batch_size=batch_size)
        if not all(isinstance(layer, (SpikingConv, AvgPool, ReadOut)) for layer in network.layers):
            raise UsageError("method 'ndot' has no trace for residual blocks; use network.topology 'layers' or 'vgg'")
        self.rest()

    def rest(self) -> None:
        self._rest: list[Tensor | None] = [None] * len(self.network.layers)
        self._traces: list[Tensor | None] = [None] * len(self.network.layers)

    def gradients(self, error: Tensor, saved: Sequence[Saved]) -> dict[str, Tensor]:
        before = list(self._traces)
        carried: Any = None  # the trace of the neurons below; none of the input, which is OTTT's
        for i, (layer, state) in enumerate(zip(self.network.layers, self.network.state.layers, strict=True)):
            if isinstance(layer, AvgPool):
                carried = None if carried is None else layer.pooling.forward(carried)
            elif isinstance(layer, SpikingConv):
                if carried is not None:
                    saved[i].pre = carried
                if layer.feedback is not None and saved[i].fed is not None:
                    # It carried the top layer's spikes of the timestep before.
                    saved[i].fed = next(t for t in reversed(before) if t is not None)
                carried = self._advance(i, state.neurons[0], layer.neurons.model.threshold)
        return super().gradients(error, saved)

    def _advance(self, i: int, neurons: Any, threshold: float) -> Tensor:
        """The trace of layer i's neurons at this timestep."""
        kept = neurons.u - threshold * neurons.s
        trace: Tensor = neurons.output
        last, rest = self._traces[i], self._rest[i]
        if last is not None and rest is not None:
            decay = self.network.decay
            ratio = torch.where(rest == 0, decay, kept / rest).clamp(-decay, decay)
            trace = trace + ratio * last
        self._rest[i], self._traces[i] = kept, trace
        return trace
