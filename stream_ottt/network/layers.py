"""The layers of a spiking network, each for one timestep: up, and down again with an error.

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

from stream_ottt.network.connection import Connection, FeedbackConnection, SkipGain
from stream_ottt.network.neurons import Neurons
from stream_ottt.network.optimizer import GradientSink
from stream_ottt.network.pooling import Features, Pooling
from stream_ottt.network.saved import LayerState, Saved

SWS_SCALE = 2.74
"""Factor on spikes and traces after each spiking layer of a network with scaled weight standardization."""


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
            make: has a method for each kind of part, see :class:`stream_ottt.engine.network.CompiledParts`.
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


class SpikingConv(Layer):
    """A convolution onto leaky integrate-and-fire neurons.

    Args:
        connection: the convolution.
        neurons: its neurons.

    Attributes:
        feedback: a connection that adds to the current, or None.
        top: where in the network the layer is whose spikes it carries.
    """

    connections = (("connection", ""), ("feedback", "feedback."))
    populations = (("neurons", ""),)

    def __init__(self, connection: Connection, neurons: Neurons) -> None:
        self.connection = connection
        self.neurons = neurons
        self.feedback: FeedbackConnection | None = None
        self.border = connection.padding

    def place(self, make: Any, plane: Plane, border: int) -> Plane:
        self.connection, plane = make.connection(self.connection, plane)
        self.neurons, plane = make.neurons(self.neurons, plane, border)
        return plane

    def new_saved(self) -> Saved:
        saved = Saved()
        for part in (self.connection, self.neurons, self.feedback):
            if part is not None:
                part.new_saved(saved)
        return saved

    def forward(self, x: Any, state: LayerState, saved: Saved | None, work: Any) -> Any:
        fed = None if self.feedback is None else self._feed(state, saved, work)
        current = self.connection.forward(x, work, fed)
        if saved is not None:
            saved.pre = self.connection.presynaptic(x, state.before, saved)
        return self.neurons.forward(current, state.neurons[0], saved)

    def _feed(self, state: LayerState, saved: Saved | None, work: Any) -> Any:
        """The current of the feedback connection; None at a sample's first step."""
        feedback, before = self.feedback, work.fed
        assert feedback is not None
        if saved is not None:
            saved.fed = None if before is None else feedback.presynaptic(before, state.before, saved)
        return None if before is None else feedback.forward(before, work)

    def backward(self, delta: Any, saved: Saved, work: Any, *, down: bool, sink: GradientSink | None) -> Any:
        saved.delta = delta
        if not down and sink is None:
            return None
        error = self.connection.error(delta, saved, work)
        below = self.connection.backward(error, saved, work) if down else None
        if sink is not None:
            self._learn(error, saved, sink, work)
        return below

    def learn(self, signal: Saved, saved: Saved, sink: GradientSink, work: Any) -> None:
        self._learn(self.connection.error(signal.delta, saved, work), saved, sink, work)

    def _learn(self, error: Any, saved: Saved, sink: GradientSink, work: Any) -> None:
        if self.feedback is not None:
            self.feedback.learn(self.connection.plain(error, work), saved.fed, sink, work)
        self.connection.learn(error, saved.pre, sink, work)


class AvgPool(Layer):
    """Average pooling.

    Args:
        size: edge of the pooled square, pixels.
        stride: from one square to the next; None for ``size``.
        padding: border of zeros, which count.
    """

    def __init__(self, size: int, stride: int | None = None, padding: int = 0) -> None:
        self.pooling = Pooling(size, stride or size, padding)

    @property
    def size(self) -> int:
        """Edge of the pooled square."""
        return self.pooling.size

    def place(self, make: Any, plane: Plane, border: int) -> Plane:
        self.pooling, plane = make.pooling(self.pooling, plane, border)
        return plane

    def new_saved(self) -> Saved:
        saved = Saved()
        self.pooling.new_saved(saved)
        return saved

    def forward(self, x: Any, state: LayerState, saved: Saved | None, work: Any) -> Any:
        if saved is not None:
            saved.shape = x.shape
        return self.pooling.forward(x)

    def backward(self, delta: Any, saved: Saved, work: Any, *, down: bool, sink: GradientSink | None) -> Any:
        return self.pooling.backward(delta, saved, saved.shape) if down else None


class ReadOut(Layer):
    """The last layer: features to logits, linear, without spikes.

    Args:
        connection: dense, [classes, features].
        pool: True averages each channel over the image (GAP) before; False takes every pixel as a feature.
    """

    connections = (("connection", ""),)

    def __init__(self, connection: Connection, *, pool: bool) -> None:
        self.connection = connection
        self.features = Features(pool=pool)

    def place(self, make: Any, plane: Plane, border: int) -> Plane:
        self.features, plane = make.features(self.features, plane)
        self.connection, plane = make.connection(self.connection, plane)
        return plane

    def new_saved(self) -> Saved:
        features = Saved()
        self.features.new_saved(features)
        saved = Saved((features,))
        self.connection.new_saved(saved)
        return saved

    def forward(self, x: Any, state: LayerState, saved: Saved | None, work: Any) -> Any:
        features = self.features.forward(x)
        if saved is not None:
            saved.shape = x.shape
            saved.pre = self.connection.presynaptic(features, state.before, saved)
        return self.connection.current(features, work)

    def backward(self, delta: Any, saved: Saved, work: Any, *, down: bool, sink: GradientSink | None) -> Any:
        saved.delta = delta
        error = self.connection.error(delta, None, work)
        below = None
        if down:
            below = self.features.backward(self.connection.backward(error, saved, work), saved.inner[0], saved.shape)
        if sink is not None:
            self.connection.learn(error, saved.pre, sink, work)
        return below

    def learn(self, signal: Saved, saved: Saved, sink: GradientSink, work: Any) -> None:
        self.connection.learn(self.connection.error(signal.delta, None, work), saved.pre, sink, work)


class StemConv(Layer):
    """A convolution whose output is a current: no neurons.

    Args:
        connection: the convolution.
    """

    connections = (("connection", ""),)

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.border = connection.padding

    def place(self, make: Any, plane: Plane, border: int) -> Plane:
        self.connection, plane = make.connection(self.connection, plane, border)
        return plane

    def new_saved(self) -> Saved:
        saved = Saved()
        self.connection.new_saved(saved)
        return saved

    def forward(self, x: Any, state: LayerState, saved: Saved | None, work: Any) -> Any:
        if saved is not None:
            saved.pre = self.connection.presynaptic(x, state.before, saved)
        return self.connection.current(x, work)

    def backward(self, delta: Any, saved: Saved, work: Any, *, down: bool, sink: GradientSink | None) -> Any:
        saved.delta = delta
        if not down and sink is None:
            return None
        error = self.connection.error(delta, None, work)
        below = self.connection.backward(error, saved, work) if down else None
        if sink is not None:
            self.connection.learn(error, saved.pre, sink, work)
        return below

    def learn(self, signal: Saved, saved: Saved, sink: GradientSink, work: Any) -> None:
        self.connection.learn(self.connection.error(signal.delta, None, work), saved.pre, sink, work)


class NFBlock(Layer):
    """A residual block of a pre-activation NF-ResNet, with two populations of neurons.

        spikes₁ = 2.74 · LIF(x / β)        x: the current from below, β = sqrt(its expected variance)
        spikes₂ = 2.74 · LIF(conv₁ spikes₁)
        out     = shortcut + α · g · conv₂ spikes₂        g learnable

    The shortcut is x itself, or in a block that downsamples a 1×1 convolution of spikes₁. Its output is a current,
    which carries no trace: what learns from one takes the current itself as its presynaptic factor. (Brock et al.,
    ICLR 2021; Xiao et al., NeurIPS 2022.)

    Args:
        first, second: the two convolutions; the first may downsample.
        shortcut: the convolution of the shortcut, or None.
        skip: the gain g.
        neurons: the two populations; the first takes x / β.
    """

    connections = (("first", "first_"), ("second", "second_"), ("shortcut", "shortcut_"), ("skip", "skip_"))
    populations = (("first_neurons", "first"), ("second_neurons", "second"))

    def __init__(
        self,
        first: Connection,
        second: Connection,
        shortcut: Connection | None,
        skip: SkipGain,
        neurons: tuple[Neurons, Neurons],
    ) -> None:
        self.first, self.second, self.shortcut, self.skip = first, second, shortcut, skip
        self.first_neurons, self.second_neurons = neurons

    def place(self, make: Any, plane: Plane, border: int) -> Plane:
        self.first_neurons, plane = make.neurons(self.first_neurons, plane, self.first.padding)
        if self.shortcut is not None:
            self.shortcut, _ = make.connection(self.shortcut, plane)
        self.first, plane = make.connection(self.first, plane)
        self.second_neurons, plane = make.neurons(self.second_neurons, plane, self.second.padding)
        self.second, plane = make.connection(self.second, plane)
        self.skip = make.skip(self.skip, plane, border)
        return plane

    def new_saved(self) -> Saved:
        first, second, shortcut = Saved(), Saved(), Saved()
        for part, saved in (
            (self.first_neurons, first),
            (self.first, first),
            (self.second_neurons, second),
            (self.second, second),
            (self.shortcut, shortcut),
        ):
            if part is not None:
                part.new_saved(saved)
        shortcut.pre = first.pre
        saved = Saved((first, second, shortcut))
        self.skip.new_saved(saved)
        return saved

    def forward(self, x: Any, state: LayerState, saved: Saved | None, work: Any) -> Any:
        first, second, _ = saved.inner if saved is not None else (None, None, None)
        spikes = self.first_neurons.forward(x, state.neurons[0], first)
        before = (None, None) if state.before is None else state.before.inner
        if first is not None:
            first.pre = self.first.presynaptic(spikes, before[0], first)
        shortcut = x if self.shortcut is None else self.shortcut.current(spikes, work)
        spikes = self.second_neurons.forward(self.first.forward(spikes, work), state.neurons[1], second)
        if second is not None:
            second.pre = self.second.presynaptic(spikes, before[1], second)
        residual = self.second.current(spikes, work)
        if saved is not None:
            saved.residual = self.skip.keep(residual, saved)
        return self.skip.forward(shortcut, residual, work)

    def backward(self, delta: Any, saved: Saved, work: Any, *, down: bool, sink: GradientSink | None) -> Any:
        first, second, shortcut = saved.inner
        saved.delta = delta
        error = self.second.error(delta, None, work, self.skip.value(work))
        second.delta = self.second.backward(error, second, work)
        if sink is not None:
            self.second.learn(error, second.pre, sink, work)
            self.skip.learn(delta, saved.residual, sink, work)
        if not down and sink is None:
            return None
        error = self.first.error(second.delta, second, work)
        below = self.first.backward(error, first, work) if down else None
        if sink is not None:
            self.first.learn(error, first.pre, sink, work)
        if self.shortcut is None:
            return self.skip.add(self.first_neurons.backward(below, first), delta) if down else None
        error = self.shortcut.error(delta, None, work)
        if below is not None:
            shortcut.pre = first.pre
            below = self.skip.add(below, self.shortcut.backward(error, shortcut, work))
        if sink is not None:
            self.shortcut.learn(error, first.pre, sink, work)
        return self.first_neurons.backward(below, first) if down else None

    def learn(self, signal: Saved, saved: Saved, sink: GradientSink, work: Any) -> None:
        first, second, _ = saved.inner
        error = self.second.error(signal.delta, None, work, self.skip.value(work))
        self.second.learn(error, second.pre, sink, work)
        self.skip.learn(signal.delta, saved.residual, sink, work)
        self.first.learn(self.first.error(signal.inner[1].delta, second, work), first.pre, sink, work)
        if self.shortcut is not None:
            self.shortcut.learn(self.shortcut.error(signal.delta, None, work), first.pre, sink, work)
