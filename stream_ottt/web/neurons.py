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
    """The layers of spiking neurons that have seen a timestep, first layer first."""
    found: list[Layer] = []
    states = [neurons for layer in network.state.layers for neurons in layer.neurons]
    for (name, neurons), state in zip(network.populations.items(), states, strict=True):
        if state.output is not None:
            threshold = neurons.model.threshold
            size = state.spikes().size
            found.append(
                Layer(name, size, threshold, state.spikes, lambda s=state, v=threshold: s.potential(v), lambda: None)
            )
    return found
