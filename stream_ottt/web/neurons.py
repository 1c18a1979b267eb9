"""The neurons of a network between two timesteps, whatever computes it. Read only, in the learner's thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_ottt.network.network import Network

Flat = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of spiking neurons after a timestep.

    Attributes:
        name: of the layer.
        neurons: how many there are.
        threshold: V_th.
        spikes: gives [neurons], above 0 where a neuron fired.
        u: gives [neurons], membrane potential before reset.
        trace: gives [neurons], the tracked activity â; None while nothing is learned.
    """

    name: str
    neurons: int
    threshold: float
    spikes: Callable[[], Flat]
    u: Callable[[], Flat]
    trace: Callable[[], Flat | None]


def layers_of(network: Network) -> list[Layer]:
    """The layers of spiking neurons, first layer first."""
    from stream_ottt.engine.network import FastNetwork
    from stream_ottt.engine.stages import ConvStage
    from stream_ottt.network.spiking_conv import SpikingConv

    found: list[Layer] = []
    if isinstance(network, FastNetwork):
        for i, stage in enumerate(network.stages):
            if isinstance(stage, ConvStage):
                threshold = network.layers[i].neuron.threshold
                size = stage.height * stage.width * stage.channels

                def spikes(i: int = i) -> Flat:
                    return np.asarray(network._images[i + 1].inside).reshape(-1)

                def u(i: int = i, threshold: float = threshold) -> Flat:
                    return network._state.v.held[i].reshape(-1) + threshold * (spikes(i) > 0)

                found.append(Layer(network.names[i], size, threshold, spikes, u, lambda: None))
        return found
    for name, layer in zip(network.names, network.layers, strict=True):
        if isinstance(layer, SpikingConv) and layer._state is not None:
            state = layer._state
            found.append(
                Layer(
                    name,
                    state.u[0].numel(),
                    layer.neuron.threshold,
                    lambda s=state: s.s[0].reshape(-1).numpy(),
                    lambda s=state: s.u[0].reshape(-1).numpy(),
                    lambda s=state: None if s.trace is None else s.trace[0].reshape(-1).numpy(),
                )
            )
    return found
