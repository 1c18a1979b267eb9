"""NIR, the Neuromorphic Intermediate Representation (Pedersen et al., Nature Communications 2024).

NIR's neuron is continuous in time, τ v̇ = (v_leak - v) + R I. Stepped by Euler's rule with dt it is this package's
u[t] = λ v[t-1] + I[t] for

    τ = dt / (1 - λ),    R = τ / dt

and a spike subtracts V_th. Weights are plain ones: the standardization and the factor of 2.74 behind it are in them.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stream_ottt.errors import OutputError, UsageError
from stream_ottt.export.model import Floats, plain
from stream_ottt.network.layer import Layer
from stream_ottt.network.layers import AvgPool, ReadOut, SpikingConv
from stream_ottt.network.network import Network
from stream_ottt.network.neurons import NeuronModel

if TYPE_CHECKING:
    import nir

DT = 1e-4
"""Of one timestep in NIR's time, s; importers assume it."""

PoolingKind = Literal["average", "sum", "fold"]


def write_nir(path: Path, network: Network, about: dict[str, Any], *, pooling: PoolingKind = "average") -> None:
    """Write a network as an HDF5 file of NIR.

    Args:
        path: the file; one that is there is replaced.
        network: with plain connections, as :func:`load_network` gives it.
        about: facts for whoever feeds it; they become metadata.
        pooling: see :func:`to_nir`.

    Raises:
        UsageError: a network that NIR has no nodes for.
        OutputError: the file cannot be written.
    """
    import nir

    graph = to_nir(network, pooling=pooling)
    graph.metadata = {"dt": DT, "stream_ottt": json.dumps(about)}
    try:
        nir.write(path, graph)
    except OSError as e:
        raise OutputError(f"{path}: cannot be written: {e}") from e


def to_nir(network: Network, *, pooling: PoolingKind = "average") -> nir.NIRGraph:
    """The network as a chain of NIR's nodes: ``Conv2d``, ``LIF``, pooling, ``Flatten``, ``Affine``.

    Args:
        network: with plain connections.
        pooling: ``average`` keeps average pooling; ``sum`` sums, and divides the weights above; ``fold`` has no pooling
            node: the convolution above takes its stride, and each of its weights covers the square.

    Raises:
        UsageError: feedback, residual blocks, or frames brought to a fixed sum.
    """
    import nir

    chain = _Chain(network, pooling)
    for name, layer in zip(network.names, network.layers, strict=True):
        chain.add(name, layer)
    names = ["input", *chain.nodes, "output"]
    nodes = {
        "input": nir.Input(np.array(network.input_shape)),
        **chain.nodes,
        "output": nir.Output(np.array([chain.outputs])),
    }
    return nir.NIRGraph(nodes=nodes, edges=list(pairwise(names)))


class _Chain:
    """The nodes so far, and what is still to go into the next weights."""

    def __init__(self, network: Network, pooling: PoolingKind) -> None:
        if network.input_mass:
            raise UsageError(
                "network.input_mass: NIR has no node that brings a frame to a fixed sum; export to onnx, which has it"
            )
        self.nodes: dict[str, Any] = {}
        self.outputs = 0
        self._shape = network.input_shape
        self._scale = network.input_scale  # of the input of the next weights
        self._pooling = pooling
        self._square = 1  # edge of a pooling that is to be folded

    def add(self, name: str, layer: Layer) -> None:
        if isinstance(layer, SpikingConv) and layer.feedback is None:
            self._conv(name, layer)
        elif isinstance(layer, AvgPool):
            self._pool(name, layer)
        elif isinstance(layer, ReadOut):
            self._read_out(name, layer)
        else:
            what = "feedback" if isinstance(layer, SpikingConv) else f"a {type(layer).__name__}"
            raise UsageError(f"layer {name!r} has no form in NIR ({what}); export to onnx, which has all topologies")

    def _conv(self, name: str, layer: SpikingConv) -> None:
        import nir

        weight, bias = plain(layer.connection, self._scale)
        square, self._square = self._square, 1
        padding = layer.connection.padding * square
        if square > 1:
            weight = np.repeat(np.repeat(weight, square, 2), square, 3) / np.float32(square * square)
        stride = layer.connection.stride * square
        height, width = self._shape[1:]
        self.nodes[name] = nir.Conv2d(
            input_shape=(height, width),
            weight=weight,
            stride=(stride, stride),
            padding=(padding, padding),
            dilation=(1, 1),
            groups=1,
            bias=bias,
        )
        edge = weight.shape[2]
        height, width = ((n + 2 * padding - edge) // stride + 1 for n in (height, width))
        self._shape = (weight.shape[0], height, width)
        self.nodes[f"{name}_neurons"] = lif(layer.neurons.model, self._shape)
        self._scale = layer.neurons.scale

    def _pool(self, name: str, layer: AvgPool) -> None:
        import nir

        pooling, (channels, height, width) = layer.pooling, self._shape
        if self._pooling == "fold":
            height, width = height // self._square, width // self._square
            whole = height % pooling.size == width % pooling.size == 0
            if not whole or pooling.stride != pooling.size or pooling.padding:
                raise UsageError(
                    f"layer {name!r} pools {width}×{height} pixels by {pooling.size}, which leaves a rest: "
                    "it cannot be folded; use --pooling average or sum"
                )
            # The image stays as large for the convolution that the pooling goes into.
            self._square *= pooling.size
            return
        kind = nir.AvgPool2d if self._pooling == "average" else nir.SumPool2d
        if kind is nir.SumPool2d:
            self._scale /= pooling.size**2
        pair = [np.array([n, n]) for n in (pooling.size, pooling.stride, pooling.padding)]
        self.nodes[name] = kind(kernel_size=pair[0], stride=pair[1], padding=pair[2])
        self._shape = (channels, *pooling.output_size(height, width))

    def _read_out(self, name: str, layer: ReadOut) -> None:
        import nir

        weight, bias = plain(layer.connection, self._scale)
        channels, height, width = self._shape
        square, shape = self._square, (len(weight), channels, height // self._square, width // self._square)
        if layer.features.pool:  # the mean over the image goes into the weights
            spread = np.broadcast_to(weight[:, :, None, None], shape) / np.float32(shape[2] * shape[3])
        else:
            spread = weight.reshape(shape)
        spread = np.repeat(np.repeat(spread, square, 2), square, 3) / np.float32(square * square)
        self.nodes["flatten"] = nir.Flatten(input_type={"input": np.array(self._shape)}, start_dim=0, end_dim=-1)
        flat: Floats = np.ascontiguousarray(spread.reshape(len(weight), -1), np.float32)
        self.nodes[name] = nir.Affine(weight=flat, bias=bias)
        self.outputs = len(weight)


def lif(model: NeuronModel, shape: tuple[int, int, int]) -> nir.LIF:
    """A population of NIR's leaky integrate-and-fire neurons."""
    import nir

    tau = DT / (1 - model.decay)

    def full(value: float) -> Floats:
        return np.full(shape, value, np.float32)

    return nir.LIF(tau=full(tau), r=full(tau / DT), v_leak=full(0), v_threshold=full(model.threshold), v_reset=full(0))
