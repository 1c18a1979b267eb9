"""The layers of a spiking network: spiking convolution, pooling, read-out, and a convolution without neurons."""

from __future__ import annotations

from typing import Any

from stream_ottt.network.connection import Connection, FeedbackConnection
from stream_ottt.network.layer import Layer, Plane
from stream_ottt.network.neurons import Neurons
from stream_ottt.network.optimizer import GradientSink
from stream_ottt.network.pooling import Features, Pooling
from stream_ottt.network.saved import LayerState, Saved

SWS_SCALE = 2.74
"""Factor on spikes and traces after each spiking layer of a network with scaled weight standardization."""


class SpikingConv(Layer):
    """A convolution onto leaky integrate-and-fire neurons.

    Args:
        connection: the convolution.
        neurons: its neurons.

    Attributes:
        feedback: a connection that adds to the current, or None.
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
