"""What a layer of a spiking network does in one timestep: up, and down again with an error.

A layer says what follows from what. How a connection, a population or a pooling computes is theirs: in batches by torch
(:mod:`stream_ottt.network`), or for one stream on a CPU by compiled kernels (:mod:`stream_ottt.engine`).

Going up, a layer takes the spikes (or currents) x of the layer below and fills in saved tensors: the presynaptic
factor â and the surrogate derivative f(u). Going down it keeps the error signal δ = ∂L/∂(its output) and passes it on
through its weights. The weights' gradient is made of an error signal and saved tensors,

    ∇W_ij[t] = â_i[t] · f(u_j[t]) · δ_j[t],

which may be those of different timesteps: that is the error delay.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from torch import Tensor

from stream_ottt.network.optimizer import GradientSink
from stream_ottt.network.saved import LayerState, Saved


class Plane(NamedTuple):
    """What a layer gives, as compiled parts see it.

    Attributes:
        height, width, channels: its size.
        scale: factor on its spikes, which compiled connections put into their weights.
    """

    height: int
    width: int
    channels: int
    scale: float = 1.0

    @property
    def size(self) -> tuple[int, int, int]:
        """(height, width, channels)"""
        return self[:3]


class Layer(ABC):
    """One stage of a network.

    Class attributes:
        connections: (attribute, prefix of its parameters' names) of each connection that it may have.
        populations: (attribute, prefix of its name) of each population.

    Attributes:
        border: of zeros that a compiled layer wants around its input, pixels.
    """

    connections: tuple[tuple[str, str], ...] = ()
    populations: tuple[tuple[str, str], ...] = ()
    border = 0

    def parts(self, kinds: tuple[tuple[str, str], ...]) -> list[tuple[str, Any]]:
        """(prefix, part) of those parts that this layer has."""
        found = [(prefix, getattr(self, attribute)) for attribute, prefix in kinds]
        return [(prefix, part) for prefix, part in found if part is not None]

    @property
    def parameters(self) -> dict[str, Tensor]:
        """Its trainable tensors by name."""
        return {
            f"{prefix}{key}": value
            for prefix, connection in self.parts(self.connections)
            for key, value in connection.parameters.items()
        }

    @abstractmethod
    def place(self, make: Any, plane: Plane, border: int) -> Plane:
        """Have ``make`` replace the parts by ones that compute in another way.

        Args:
            make: has a method for each kind of part, see :class:`stream_ottt.engine.parts.CompiledParts`.
            plane: the input.
            border: of zeros to leave around the output, pixels.

        Returns:
            The output.
        """

    def rest(self) -> LayerState:
        """The state at rest."""
        return LayerState(tuple(n.rest() for _, n in self.parts(self.populations)))

    def new_saved(self) -> Saved:
        """Where one timestep's saved tensors go."""
        return Saved()

    @abstractmethod
    def forward(self, x: Any, state: LayerState, saved: Saved | None, work: Any) -> Any:
        """Advance by one timestep.

        Args:
            x: output of the layer below.
            state: what is remembered from the timestep before; becomes that of this one.
            saved: filled in for learning; None only predicts, and ends the traces.
            work: the compiled parts' buffers and weights.

        Returns:
            This layer's output.
        """

    @abstractmethod
    def backward(self, delta: Any, saved: Saved, work: Any, *, down: bool, sink: GradientSink | None) -> Any:
        """Keep an error signal and pass it down.

        Args:
            delta: ∂L/∂(this layer's output).
            saved: this layer's, of the same timestep; the error signal is kept there.
            work: as in :meth:`forward`.
            down: False when nothing below learns.
            sink: takes the gradients at once, after the error has passed the weights; None: see :meth:`learn`.

        Returns:
            ∂L/∂x, or None without ``down``.
        """

    def learn(self, signal: Saved, saved: Saved, sink: GradientSink, work: Any) -> None:  # noqa: B027
        """Give ``sink`` the gradients from one timestep's error signal and another's (or the same's) saved tensors."""
