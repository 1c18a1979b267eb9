"""Makes the parts of layers for one stream on a CPU: connections, populations and poolings over reused buffers."""

from __future__ import annotations

from typing import Any

import torch

from stream_ottt.engine.connection import CompiledConnection, CompiledDense
from stream_ottt.engine.feedback import CompiledFeedback
from stream_ottt.engine.neurons import CompiledNeurons
from stream_ottt.engine.pooling import CompiledFeatures, CompiledPooling
from stream_ottt.engine.precision import EXACT, Rounding
from stream_ottt.engine.products import Buffers, Shape, may_round, products_over
from stream_ottt.engine.rows import Rows
from stream_ottt.engine.skip import CompiledSkip, GainSet
from stream_ottt.network.connection import Connection, FeedbackConnection, SkipGain
from stream_ottt.network.layer import Plane
from stream_ottt.network.layers import SpikingConv
from stream_ottt.network.network import Network
from stream_ottt.network.neurons import Neurons
from stream_ottt.network.pooling import Features, Pooling


class CompiledParts:
    """Makes the compiled parts of a network, in the order in which its layers ask for them.

    Args:
        keep_means: whether the means of standardized rows stay in W; else they are taken out, which under SGD changes
            nothing that the network does.
        rounding: how the operands of matrix products are rounded.
        dtype: of the numbers.
    """

    def __init__(self, *, keep_means: bool, rounding: Rounding, dtype: torch.dtype) -> None:
        self._keep_means, self._rounding, self._dtype = keep_means, rounding, dtype
        self.made: list[Any] = []
        self.rows: list[Any] = []

    def connection(self, like: Connection, plane: Plane, border: int = 0) -> tuple[CompiledConnection, Plane]:
        """A convolution or a dense product onto a plane of currents."""
        weight = like.parameters["weight"]
        dense = weight.dim() == 2
        rounds = not dense and may_round(Shape.of(like, plane.size, len(weight)), self._dtype)
        rounding = self._rounding if rounds else EXACT
        rows = Rows(like.parameters, plane.scale, keep_means=self._keep_means, rounding=rounding)
        kind = CompiledDense if dense else CompiledConnection
        part = kind(like, len(self.made), plane.size, rows, border)
        self._add(part, rows)
        return part, Plane(part.shape.height, part.shape.width, part.shape.out)

    def neurons(self, like: Neurons, plane: Plane, border: int) -> tuple[CompiledNeurons, Plane]:
        """A population."""
        return CompiledNeurons(like, plane.size, border, self._dtype), plane._replace(scale=like.scale)

    def pooling(self, like: Pooling, plane: Plane, border: int) -> tuple[CompiledPooling, Plane]:
        """An average pooling."""
        part = CompiledPooling(like, plane.size, border, self._dtype)
        height, width, channels = part.out.inside.shape
        return part, Plane(height, width, channels, plane.scale)

    def features(self, like: Features, plane: Plane) -> tuple[CompiledFeatures, Plane]:
        """What a read-out reads."""
        part = CompiledFeatures(like, plane.size, self._dtype)
        height, width, channels = part.out.inside.shape
        return part, Plane(height, width, channels, plane.scale)

    def skip(self, like: SkipGain, plane: Plane, border: int) -> CompiledSkip:
        """The gain of a residual block."""
        rows = GainSet(like.parameters)
        part = CompiledSkip(like, len(self.made), plane.size, rows, border)
        self._add(part, rows)
        return part

    def feedback(self, like: FeedbackConnection, top: Plane, border: int) -> CompiledFeedback:
        """A feedback connection from the plane ``top``, whose images have this border."""
        rows = Rows(like.parameters, top.scale, keep_means=self._keep_means, rounding=EXACT)
        part = CompiledFeedback(like, len(self.made), top.size, border, rows)
        self._add(part, rows)
        return part

    def _add(self, part: Any, rows: Any) -> None:
        self.made.append(part)
        self.rows.append(rows)

    def products(self) -> list[Any]:
        """The products of all connections over buffers of their own, for one thread."""
        shapes = [part.shape for part in self.made if part.shape is not None]
        space = Buffers(shapes, self._dtype)
        make = products_over(space, shapes, self._rounding)
        return [None if part.shape is None else part.products(space, make) for part in self.made]


def place_layers(network: Network, parts: CompiledParts) -> None:
    """Give a network's layers compiled parts."""
    channels, height, width = network.input_shape
    plane = Plane(height, width, channels)
    borders = [layer.border for layer in network.layers[1:]] + [0]
    feeding: tuple[SpikingConv, FeedbackConnection] | None = None
    top: tuple[Plane, int] | None = None
    for layer, border in zip(network.layers, borders, strict=True):
        plane = layer.place(parts, plane, border)
        if isinstance(layer, SpikingConv):
            top = plane, border
            if layer.feedback is not None:
                feeding = layer, layer.feedback
    if feeding is not None and top is not None:
        feeding[0].feedback = parts.feedback(feeding[1], *top)  # type: ignore[assignment]
