"""The neurons of a network between two timesteps, whatever computes it. Read only, in the learner's thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_ottt.network.network import Network


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of spiking neurons after a timestep.

    Attributes:
        name: of the layer.
        threshold: V_th.
        state: what the neurons remember between timesteps.
    """

    name: str
    threshold: float
    state: Any

    def spikes(self) -> npt.NDArray[Any]:
        """[neurons], above 0 where a neuron fired."""
        found: npt.NDArray[Any] = self.state.spikes()
        return found

    def places(self, neurons: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.intp], ...]:
        """Where these neurons, numbered as in :meth:`spikes`, stand in the layer's image."""
        return np.unravel_index(neurons, self.state.spike_image().shape)


def states_of(network: Network) -> list[Any]:
    """What each layer of spiking neurons remembers now, first layer first."""
    return [neurons for layer in network.state.layers for neurons in layer.neurons]


def layers_of(network: Network) -> list[Layer]:
    """The layers of spiking neurons that have seen a timestep, first layer first."""
    populations = zip(network.populations.items(), states_of(network), strict=True)
    return [Layer(name, part.model.threshold, state) for (name, part), state in populations if state.output is not None]
