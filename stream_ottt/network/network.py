"""A spiking network: layers with named parameters, one forward pass a timestep, one backward pass an error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stream_ottt.network.connection import Connection
from stream_ottt.network.describe import as_html, as_text
from stream_ottt.network.growth import with_new_row, with_zero_columns
from stream_ottt.network.layer import Layer
from stream_ottt.network.layers import ReadOut, SpikingConv
from stream_ottt.network.network_state import NetworkState
from stream_ottt.network.neurons import Neurons
from stream_ottt.network.optimizer import GradientSink
from stream_ottt.network.saved import Saved


class Work:
    """What the layers' calls at one timestep share.

    Attributes:
        fed: the spikes that the feedback connection carries, or None.
    """

    fed: Any = None


class Network:
    """Layers from the input to the read-out.

    Args:
        layers: (name, layer) in forward order; parameter names are ``<layer>.<parameter>``.
        input_shape: (polarities, height, width) of a timestep's frame.
        decay: λ of the traces.
        input_scale: factor on the frames.
        input_mass: what each frame is brought to sum up to before; 0 leaves it.

    Attributes:
        state: what is remembered between timesteps; another one may be put here.
    """

    def __init__(
        self,
        layers: Sequence[tuple[str, Layer]],
        *,
        input_shape: tuple[int, int, int],
        decay: float,
        input_scale: float = 1.0,
        input_mass: float = 0.0,
    ) -> None:
        self.names = [name for name, _ in layers]
        self.layers = [layer for _, layer in layers]
        self.input_shape = input_shape
        self.decay = decay
        self.input_scale = input_scale
        self.input_mass = input_mass
        self.work: Any = Work()
        self.name_parts()
        self.state = self.rest()

    def name_parts(self) -> None:
        """Tell each connection its name, and find those that learn and the source of the feedback."""
        named = zip(self.names, self.layers, strict=True)
        self.connections: dict[str, Connection] = {
            f"{name}.{prefix}": part for name, layer in named for prefix, part in layer.parts(layer.connections)
        }
        for name, part in self.connections.items():
            part.name = name
        self._lowest = next(i for i, layer in enumerate(self.layers) if layer.connections)
        spiking = [i for i, layer in enumerate(self.layers) if isinstance(layer, SpikingConv)]
        fed = any(layer.feedback is not None for layer in self.layers if isinstance(layer, SpikingConv))
        self._top = spiking[-1] if fed else None

    @property
    def populations(self) -> dict[str, Neurons]:
        """All populations by name."""
        named = zip(self.names, self.layers, strict=True)
        return {
            f"{name}.{prefix}".rstrip("."): part
            for name, layer in named
            for prefix, part in layer.parts(layer.populations)
        }

    @property
    def parameters(self) -> dict[str, Tensor]:
        """All trainable tensors by full name; updates are in place."""
        return {
            f"{name}{key}": value for name, part in self.connections.items() for key, value in part.parameters.items()
        }

    @property
    def readout(self) -> ReadOut:
        """The last layer."""
        layer = self.layers[-1]
        assert isinstance(layer, ReadOut)
        return layer

    @property
    def outputs(self) -> int:
        """Number of classes."""
        return len(self.readout.connection.parameters["bias"])

    @property
    def size(self) -> int:
        """Number of trainable weights."""
        return sum(p.numel() for p in self.parameters.values())

    def __repr__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)

    def to(self, device: torch.device) -> None:
        """Move the weights to a device, before anything is predicted or learned."""
        for part in self.connections.values():
            part.set_parameters({name: value.to(device) for name, value in part.parameters.items()})

    def compile(self) -> None:
        """Have torch compile the forward pass when it is first called."""
        self.forward = torch.compile(self.forward)  # type: ignore[method-assign]

    # --- up ---------------------------------------------------------------------------------------------------------

    def forward(self, frame: Tensor, *, learn: bool) -> tuple[Tensor, Sequence[Saved]]:
        """Advance by one timestep.

        Args:
            frame: [batch, polarities, height, width].
            learn: whether to advance the traces and keep what learning needs.

        Returns:
            Logits [batch, classes], and the saved tensors of each layer (none without ``learn``).
        """
        saved: Sequence[Saved] = self.new_saved() if learn else []
        return self.pass_up(self.scaled(frame), saved), saved

    def scaled(self, frame: Tensor) -> Tensor:
        """Frames [batch, polarities, height, width] as the first layer sees them."""
        if self.input_mass:
            frame = frame * (self.input_mass / frame.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1))
        return frame if self.input_scale == 1 else frame * self.input_scale

    def new_saved(self) -> Sequence[Saved]:
        """Where the saved tensors of one timestep go."""
        return [layer.new_saved() for layer in self.layers]

    def pass_up(self, x: Any, saved: Sequence[Saved]) -> Any:
        """The output of the last layer."""
        state, work = self.state, self.work
        if self._top is not None:
            work.fed = state.layers[self._top].neurons[0].output
        for i, layer in enumerate(self.layers):
            self.before_use(i)
            own, kept = state.layers[i], saved[i] if saved else None
            x = layer.forward(x, own, kept, work)
            own.before = kept
        state.saved = saved
        return x

    def before_use(self, i: int) -> None:
        """Layer ``i``'s weights are about to be used in the forward pass."""

    # --- down -------------------------------------------------------------------------------------------------------

    def backward(self, error: Tensor, saved: Sequence[Saved], sink: GradientSink | None = None) -> None:
        """Form the error signals of one timestep, which are kept in its saved tensors.

        Args:
            error: ∂L/∂logits [batch, classes].
            saved: of that timestep.
            sink: takes the gradients of the same timestep, layer by layer from the top, after the error has passed.
        """
        for _ in self.pass_down(error, saved, self.work, sink):
            pass

    def pass_down(self, delta: Any, saved: Sequence[Saved], work: Any, sink: GradientSink | None) -> Iterator[None]:
        """:meth:`backward` one layer a step."""
        for i in range(len(self.layers) - 1, self._lowest - 1, -1):
            delta = self.layers[i].backward(delta, saved[i], work, down=i > self._lowest, sink=sink)
            yield

    def learn(self, signals: Sequence[Saved], saved: Sequence[Saved], sink: GradientSink) -> None:
        """Give ``sink`` the gradients from one timestep's error signals and another's saved tensors, from the top."""
        for i in range(len(self.layers) - 1, self._lowest - 1, -1):
            self.layers[i].learn(signals[i], saved[i], sink, self.work)

    # --- weights ----------------------------------------------------------------------------------------------------

    def weights_changed(self, *, centred: bool = False) -> None:
        """Called after parameters were changed from outside, such as by loading a model.

        Args:
            centred: the rows are known to have no mean, as :attr:`centred` weights that were saved.
        """
        for part in self.connections.values():
            part.weights_changed(centred=centred)

    centred = False
    """Whether the means of standardized rows, which act on nothing, were taken out of the parameters."""

    @contextmanager
    def differentiable(self, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
        """Parameters of these names as leaves of autograd's graph; neurons drop out as in learning.

        Within, :meth:`forward` with ``learn=False`` builds a graph over timesteps, with the reset detached.
        """
        leaves = {name: self.parameters[name] for name in names}
        for leaf in leaves.values():
            leaf.requires_grad_()
        for neurons in self.populations.values():
            neurons.always_drop = True
        self.weights_changed()
        try:
            yield leaves
        finally:
            for leaf in leaves.values():
                leaf.requires_grad_(False)
            for neurons in self.populations.values():
                neurons.always_drop = False
            self.reset()
            self.weights_changed()

    def detach(self) -> None:
        """Cut autograd's graph here: gradients do not pass to earlier timesteps, and parameters may change."""
        for layer in self.state.layers:
            for neurons in layer.neurons:
                for key in neurons.FIELDS:
                    value = getattr(neurons, key)
                    setattr(neurons, key, None if value is None else value.detach())
        self.weights_changed()

    # --- how it is ---------------------------------------------------------------------------------------------------

    def squared_norm(self, turn: int) -> tuple[str, int, float] | None:
        """A parameter's name, size and squared norm, another one at each ``turn``; None where that is not at hand."""
        parameters = list(self.parameters.items())
        name, value = parameters[turn % len(parameters)]
        return name, value.numel(), float(value.double().square().sum())

    def firing(self) -> dict[str, float]:
        """The share of neurons that fired at the latest timestep, by population; none at rest."""
        states = [neurons for layer in self.state.layers for neurons in layer.neurons]
        named = zip(self.populations, states, strict=True)
        found = {name: neurons.spikes() for name, neurons in named if neurons.output is not None}
        return {name: np.count_nonzero(spikes) / spikes.size for name, spikes in found.items()}

    # --- state ------------------------------------------------------------------------------------------------------

    def rest(self) -> NetworkState:
        """The state at rest."""
        return NetworkState([layer.rest() for layer in self.layers])

    def reset(self) -> None:
        """All neurons and traces to rest, for a new sample."""
        self.state.reset()

    def settle(self) -> None:
        """Return once nothing is being learned any more, where that is done in another thread."""

    @property
    def generator(self) -> torch.Generator | None:
        """What draws the dropout masks; None without dropout."""
        return next((n.generator for n in self.populations.values() if n.model.dropout), None)

    def layout(self) -> dict[str, list[bool]]:
        """Which of several ways, equal but for rounding, each connection's next product takes; plain JSON values."""
        return {}

    def set_layout(self, layout: dict[str, list[bool]]) -> None:
        """Put back what :meth:`layout` gave, once the weights are those of then."""

    def add_output(self) -> None:
        """One class more: the read-out gets a row; the rest does not change by a bit."""
        part = self.readout.connection
        part.set_parameters(with_new_row(part.parameters))

    def widen(self, saved: Sequence[Saved]) -> None:
        """Bring the error signal of a timestep before :meth:`add_output` to the outputs that there are now."""
        saved[-1].delta = with_zero_columns(saved[-1].delta, self.outputs)

    def take_up(self, saved: Saved) -> None:
        """Bring saved tensors that were loaded into the form in which this network keeps them."""
