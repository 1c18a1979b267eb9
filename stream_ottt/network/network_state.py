"""What a network remembers between two timesteps, as a value."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from stream_ottt.network.saved import LayerState, Saved, pack, unpack


class NetworkState:
    """What a network remembers between two timesteps: a value that one may keep, and go on from later.

    Attributes:
        layers: of each layer.
        saved: the saved tensors of the latest timestep, which hold its traces.
    """

    def __init__(self, layers: list[LayerState]) -> None:
        self.layers = layers
        self.saved: Sequence[Saved] = []

    def reset(self) -> None:
        """Back to rest, for a new sample."""
        self.saved = []
        for layer in self.layers:
            layer.reset()

    def pack(self, names: Sequence[str]) -> dict[str, Tensor]:
        """As tensors by name, ``names`` of the layers first; without the traces where ``saved`` holds them."""
        found: dict[str, Tensor] = {}
        for name, layer in zip(names, self.layers, strict=True):
            for i, neurons in enumerate(layer.neurons):
                found |= pack(f"{name}.{i}.", neurons)
        return found

    def unpack(self, names: Sequence[str], tensors: dict[str, Tensor], saved: Sequence[Saved]) -> None:
        """Put back into a state at rest what :meth:`pack` gave, and the traces that ``saved`` holds."""
        for name, layer in zip(names, self.layers, strict=True):
            for i, neurons in enumerate(layer.neurons):
                unpack(f"{name}.{i}.", neurons, tensors)
        self.saved = saved
        for own, kept in zip(self.layers, saved, strict=False):
            own.before = kept
