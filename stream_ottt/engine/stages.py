"""The layers of the fast path: each takes an image, makes the next one, and passes an error back down."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from stream_ottt.compiled import Array
from stream_ottt.engine import neuron_kernels, pixel_kernels, spike_kernels
from stream_ottt.engine.images import Image
from stream_ottt.engine.precision import EXACT, Products
from stream_ottt.engine.turn import Shape, Turn
from stream_ottt.engine.weights import Momentum, Rows
from stream_ottt.network.layers import AvgPool, Layer, ReadOut
from stream_ottt.network.network import Network
from stream_ottt.network.spiking_conv import SpikingConv

# In units of a dense product's time per input and output pixel: that of scattering one spike instead, and that of
# transposing the weights for it, per input channel (measured; see benchmarks/README.md).
SCATTERING, TRANSPOSING = 10, 100


@dataclass(slots=True)
class Kept:
    """What one stage keeps of a timestep for learning from it.

    Attributes:
        trace: presynaptic factor; an image before a convolution, features [1, 1, features] before the read-out.
        sigma: what the surrogate derivative is made of, [pixels, channels], see :func:`neuron_kernels.surrogate`.
    """

    trace: Image | None = None
    sigma: Tensor | None = None
    sigma_array: Array = field(default_factory=lambda: torch.zeros(0).numpy())


class Stage(ABC):
    """One layer.

    Attributes:
        height, width, channels: of its output.
        rows: its weights, if it has any.
        shape: of its matrix product, if it has one.
    """

    height: int
    width: int
    channels: int
    rows: Rows | None = None
    shape: Shape | None = None

    def keep(self) -> Kept:
        """New buffers for one timestep."""
        return Kept()

    @abstractmethod
    def forward(self, image: Image, out: Image, v: Array, kept: Kept | None, turn: Turn | None) -> None:
        """Advance by one timestep.

        Args:
            image: its input.
            out: its output.
            v: its membranes after reset, in place.
            kept: where to leave what learning needs.
            turn: its views into the workspace.
        """

    def to_membrane(self, delta: Tensor, kept: Kept, rows: Rows | None, turn: Turn | None) -> None:  # noqa: B027
        """Put the error at the membrane into ``turn`` from ∂L/∂(output)."""

    @abstractmethod
    def pass_down(self, delta: Tensor, rows: Rows | None, turn: Turn | None, below: Tensor) -> None:
        """Put ∂L/∂(input) into ``below``; after :meth:`to_membrane`."""


class PoolStage(Stage):
    """Average pooling."""

    def __init__(self, layer: AvgPool, height: int, width: int, channels: int) -> None:
        self.size = layer.size
        self.height, self.width, self.channels = height // self.size, width // self.size, channels

    def forward(self, image: Image, out: Image, v: Array, kept: Kept | None, turn: Turn | None) -> None:
        pixel_kernels.pool(image.array, self.size, out.array, out.pad)

    def pass_down(self, delta: Tensor, rows: Rows | None, turn: Turn | None, below: Tensor) -> None:
        pixel_kernels.unpool(delta.numpy(), self.size, below.numpy())


class WeightStage(Stage):
    """A layer with weights.

    Args:
        name: the layer's name, the first part of its parameters' names.
        layer: whose parameters are taken over.
        input_scale: factor on its input spikes.
        shape: of its product.
        products: how its products take its weights rounded.

    Attributes:
        rows: its weights.
        momentum: of its parameters.
    """

    rows: Rows
    shape: Shape

    def __init__(self, name: str, layer: Layer, input_scale: float, shape: Shape, products: Products) -> None:
        p = layer.parameters
        self.name = name
        self.layer = layer
        self.shape = shape
        self.dtype = p["weight"].dtype
        self.rows = Rows(p["weight"], p["bias"], p.get("gain"), input_scale, products)
        layer.set_parameters(self.rows.parameters)
        self.momentum = Momentum(name, self.rows.parameters, standardized=self.rows.standardized)

    def keep(self) -> Kept:
        s = self.shape
        return Kept(Image(s.height, s.width, s.channels, s.kernel // 2, self.dtype))


class ConvStage(WeightStage):
    """A convolution onto leaky integrate-and-fire neurons."""

    def __init__(
        self,
        name: str,
        layer: SpikingConv,
        size: tuple[int, int, int],
        input_scale: float,
        products: Products,
    ) -> None:
        height, width, channels = size
        out, _, kernel, _ = layer.parameters["weight"].shape
        shape = Shape(height, width, channels, kernel, out)
        super().__init__(name, layer, input_scale, shape, EXACT if shape.outer else products)
        self.height, self.width, self.channels = height, width, out
        self.neuron = layer.neuron
        self.rectangular = layer.neuron.surrogate == "rectangular"
        # The sigmoid's derivative is slope · σ(1 - σ).
        self._factor = layer.scale * (1.0 if self.rectangular else layer.neuron.slope)

    def keep(self) -> Kept:
        kept = super().keep()
        kept.sigma = torch.zeros(self.shape.pixels, self.shape.out, dtype=self.dtype)
        kept.sigma_array = kept.sigma.numpy()
        return kept

    def forward(self, image: Image, out: Image, v: Array, kept: Kept | None, turn: Turn | None) -> None:
        assert turn is not None
        rows, n = self.rows, self.neuron
        if not self._scatter(image, turn):
            turn.make_current(image, rows)
        neuron_kernels.lif(turn.current, rows.k_in, rows.bias, v, out.array, out.pad, n.decay, n.threshold)
        if kept is not None and kept.sigma is not None:
            neuron_kernels.surrogate(turn.current, kept.sigma_array, n.threshold, n.slope, self.rectangular)
            if not self.rectangular:
                kept.sigma.sigmoid_()

    def _scatter(self, image: Image, turn: Turn) -> bool:
        """Make the current spike by spike, if so few are active that this is faster than the dense product."""
        n = spike_kernels.find_active(image.array, turn.found)
        s, transpose = self.shape, self.rows.transpose
        dense, sparse = turn.dense * s.pixels * s.channels, SCATTERING * n
        transpose.wanted = sparse + TRANSPOSING * s.channels <= dense
        if sparse > dense or not (transpose.wanted or transpose.holds(self.rows)):
            return False
        transpose.follow(self.rows)
        spike_kernels.scatter(image.array, turn.found, n, transpose.columns, s.kernel, turn.current)
        return True

    def to_membrane(self, delta: Tensor, kept: Kept, rows: Rows | None, turn: Turn | None) -> None:
        assert rows is not None and turn is not None
        neuron_kernels.membrane_error(
            delta.numpy().reshape(turn.error.shape),
            kept.sigma_array,
            rows.k,
            turn.error,
            turn.bias,
            self._factor,
            self.rectangular,
        )
        turn.take_error()

    def pass_down(self, delta: Tensor, rows: Rows | None, turn: Turn | None, below: Tensor) -> None:
        assert rows is not None and turn is not None
        turn.make_columns(rows)
        pixel_kernels.fold(turn.columns, self.shape.kernel, below.numpy())


class ReadOutStage(WeightStage):
    """The linear read-out; as a matrix product, a 1×1 convolution of one pixel that has all features."""

    def __init__(self, name: str, layer: ReadOut, height: int, width: int, channels: int, input_scale: float) -> None:
        out, features = layer.parameters["weight"].shape
        super().__init__(name, layer, input_scale, Shape(1, 1, features, 1, out), EXACT)
        self.height, self.width, self.channels = 1, 1, out
        self._image = height, width, channels
        self._pool = layer.pool
        self.features = Image(1, 1, features, 0, self.dtype)

    def gather(self, image: Image) -> Image:
        """The features of an image, in the order of the weights."""
        if self._pool:
            pixel_kernels.mean_pixels(image.array, self.features.array[0, 0])
        else:
            ordered = image.inside.permute(2, 0, 1)
            self.features.inside.view(ordered.shape).copy_(ordered)
        return self.features

    def forward(self, image: Image, out: Image, v: Array, kept: Kept | None, turn: Turn | None) -> None:
        p = self.rows.parameters
        torch.addmm(p["bias"], image.inside[0], self.rows.columns, alpha=self.rows.input_scale, out=out.inside[0])

    def to_membrane(self, delta: Tensor, kept: Kept, rows: Rows | None, turn: Turn | None) -> None:
        assert turn is not None
        turn.error[:] = delta.numpy().reshape(turn.error.shape)
        turn.bias[:] = turn.error[0]

    def pass_down(self, delta: Tensor, rows: Rows | None, turn: Turn | None, below: Tensor) -> None:
        assert rows is not None
        height, width, channels = self._image
        features = torch.mm(delta[0], rows.rows)[0]
        if self._pool:
            pixel_kernels.spread(features.numpy(), below.numpy())
        else:
            below.copy_(features.view(channels, height, width).permute(1, 2, 0))


def build_stages(network: Network, products: Products) -> list[Stage]:
    """The stages that stand for a network's layers, taking over its parameters."""
    channels, height, width = network.input_shape
    scale = 1.0
    stages: list[Stage] = []
    for name, layer in zip(network.names, network.layers, strict=True):
        stage: Stage
        if isinstance(layer, SpikingConv):
            stage = ConvStage(name, layer, (height, width, channels), scale, products)
            scale = layer.scale
        elif isinstance(layer, AvgPool):
            stage = PoolStage(layer, height, width, channels)
        elif isinstance(layer, ReadOut):
            stage = ReadOutStage(name, layer, height, width, channels, scale)
        else:
            raise ValueError(f"{type(layer).__name__} has no fast stage; use engine = plain")
        height, width, channels = stage.height, stage.width, stage.channels
        stages.append(stage)
    return stages
