"""ONNX: one timestep, with what the neurons remember as inputs and outputs.

| input | output | |
|---|---|---|
| ``frame`` | ``logits`` | float32 [1, planes, height, width], [1, classes] |
| ``v.NAME`` | ``v.NAME.next`` | what is left on the membranes of a population; zeros at the beginning of a sample |
| ``fed`` | ``fed.next`` | with feedback: the last layer's spikes |
| ``fed.on`` | ``fed.on.next`` | with feedback: 1 after the first timestep of a sample |
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stream_ottt.errors import OutputError
from stream_ottt.export.model import plain
from stream_ottt.network.connection import Connection
from stream_ottt.network.layer import Layer
from stream_ottt.network.layers import AvgPool, ReadOut, SpikingConv, StemConv
from stream_ottt.network.network import Network
from stream_ottt.network.neurons import Neurons
from stream_ottt.network.residual import NFBlock
from stream_ottt.outputs import write_atomically

if TYPE_CHECKING:
    import onnx

OPSET = 18
IR_VERSION = 9
FLOAT = 1
"""ONNX's number for float32."""
MOST_BYTES = 2**31 - 2**20
"""Of a file of ONNX, whose format ends at 2 GiB."""


def write_onnx(path: Path, network: Network, about: dict[str, Any]) -> None:
    """Write a network as a file of ONNX.

    Args:
        path: the file; one that is there is replaced.
        network: with plain connections, as :func:`load_network` gives it.
        about: facts for whoever feeds it; they become metadata.

    Raises:
        OutputError: the file cannot be written, or would be too large.
    """
    if 4 * network.size > MOST_BYTES:
        raise OutputError(f"{path}: {network.size:,} parameters are more than a file of ONNX holds")
    model = to_onnx(network)
    entry = model.metadata_props.add()
    entry.key, entry.value = "stream_ottt", json.dumps(about)
    try:
        write_atomically(path, model.SerializeToString())
    except OSError as e:
        raise OutputError(f"{path}: cannot be written: {e.strerror}") from e


def to_onnx(network: Network) -> onnx.ModelProto:
    """The network's timestep, for one stream."""
    return _Timestep(network).model()


class _Timestep:
    """The graph so far."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._shape = network.input_shape
        self._scale = 1.0  # factor on the spikes that the next weights are given
        spiking = [i for i, layer in enumerate(network.layers) if isinstance(layer, SpikingConv)]
        fed = any(layer.feedback is not None for layer in network.layers if isinstance(layer, SpikingConv))
        self._top = spiking[-1] if fed else None

    def model(self) -> onnx.ModelProto:
        import onnx
        from onnx import helper

        x = self._scaled(self._input("frame", (1, *self._network.input_shape)))
        logits = self._op("Identity", self._layers(x), output="logits")
        outputs = [self._value(logits, (1, self._shape[0])), *self._outputs]
        graph = helper.make_graph(self._nodes, "timestep", self._inputs, outputs, self._constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="stream-ottt"
        )
        onnx.checker.check_model(model, full_check=True)
        return model

    # --- the parts of a graph --------------------------------------------------------------------------------------

    def _value(self, name: str, shape: tuple[int, ...]) -> Any:
        from onnx import TensorProto, helper

        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    def _input(self, name: str, shape: tuple[int, ...]) -> str:
        self._inputs.append(self._value(name, shape))
        return name

    def _constant(self, value: npt.ArrayLike, dtype: type[np.generic] = np.float32) -> str:
        from onnx import numpy_helper

        name = f"constant{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def _op(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        from onnx import helper

        output = output or f"{kind.lower()}{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    # --- the network -----------------------------------------------------------------------------------------------

    def _scaled(self, frame: str) -> str:
        network = self._network
        if network.input_mass:
            total = self._op("ReduceSum", frame, self._constant([1, 2, 3], np.int64), keepdims=1)
            some = self._op("Max", total, self._constant(1.0))
            frame = self._op("Mul", frame, self._op("Div", self._constant(network.input_mass), some))
        return frame if network.input_scale == 1 else self._op("Mul", frame, self._constant(network.input_scale))

    def _layers(self, x: str) -> str:
        for i, (name, layer) in enumerate(zip(self._network.names, self._network.layers, strict=True)):
            x = self._layer(name, layer, x)
            if i == self._top:
                self._op("Identity", x, output="fed.next")
                self._outputs.append(self._value("fed.next", (1, *self._shape)))
        return x

    def _layer(self, name: str, layer: Layer, x: str) -> str:
        if isinstance(layer, SpikingConv):
            current = self._product(layer.connection, x)
            if layer.feedback is not None:
                current = self._op("Add", current, self._fed(layer))
            return self._lif(name, layer.neurons, current)
        if isinstance(layer, AvgPool):
            return self._pool(layer, x)
        if isinstance(layer, StemConv):
            return self._product(layer.connection, x)
        if isinstance(layer, NFBlock):
            return self._block(name, layer, x)
        assert isinstance(layer, ReadOut)
        return self._read_out(layer, x)

    def _product(self, connection: Connection, x: str) -> str:
        """The current of a convolution of what is there, whose scale goes into the weights."""
        weight, bias = plain(connection, self._scale)
        stride, padding = connection.stride, connection.padding
        edge = weight.shape[2]
        height, width = ((n + 2 * padding - edge) // stride + 1 for n in self._shape[1:])
        self._shape = (weight.shape[0], height, width)
        self._scale = 1.0
        given = self._constant(weight), self._constant(bias)
        return self._op("Conv", x, *given, strides=[stride] * 2, pads=[padding] * 4, kernel_shape=[edge] * 2)

    def _lif(self, name: str, neurons: Neurons, current: str) -> str:
        """Spikes of 0 and 1; what is left on the membranes is the state."""
        model, shape = neurons.model, (1, *self._shape)
        if neurons.input_scale != 1:
            current = self._op("Mul", current, self._constant(neurons.input_scale))
        before = self._input(f"v.{name}", shape)
        u = self._op("Add", current, self._op("Mul", before, self._constant(model.decay)))
        threshold = self._constant(model.threshold)
        spikes = self._op("Cast", self._op("GreaterOrEqual", u, threshold), to=FLOAT)
        left = self._op("Sub", u, self._op("Mul", spikes, threshold), output=f"v.{name}.next")
        self._outputs.append(self._value(left, shape))
        self._scale = neurons.scale
        return spikes

    def _pool(self, layer: AvgPool, x: str) -> str:
        pooling = layer.pooling
        self._shape = (self._shape[0], *pooling.output_size(*self._shape[1:]))
        size, stride, pads = [pooling.size] * 2, [pooling.stride] * 2, [pooling.padding] * 4
        return self._op("AveragePool", x, kernel_shape=size, strides=stride, pads=pads, count_include_pad=1)

    def _fed(self, layer: SpikingConv) -> str:
        """The current of the feedback connection; nothing, not even its bias, at the first timestep of a sample."""
        assert layer.feedback is not None and self._top is not None
        top = self._network.layers[self._top]
        assert isinstance(top, SpikingConv)
        weight, bias = plain(layer.feedback, top.neurons.scale)
        padding, (height, width) = layer.feedback.padding, layer.feedback.size
        shape = (weight.shape[1], *self._top_size())
        fed, on = self._input("fed", (1, *shape)), self._input("fed.on", (1,))
        sizes = self._constant([1, shape[0], height, width], np.int64)
        large = self._op(
            "Resize", fed, "", "", sizes, mode="nearest", coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )  # fmt: skip
        given = self._constant(weight), self._constant(bias)
        current = self._op("Conv", large, *given, pads=[padding] * 4, kernel_shape=list(weight.shape[2:]))
        self._op("Identity", self._constant([1.0]), output="fed.on.next")
        self._outputs.append(self._value("fed.on.next", (1,)))
        return self._op("Mul", current, on)

    def _top_size(self) -> tuple[int, int]:
        """(height, width) of the layer whose spikes are fed back."""
        assert self._top is not None
        height, width = self._network.input_shape[1:]
        for layer in self._network.layers[: self._top]:
            if isinstance(layer, AvgPool):
                height, width = layer.pooling.output_size(height, width)
        return height, width

    def _block(self, name: str, layer: NFBlock, x: str) -> str:
        spikes = self._lif(f"{name}.first", layer.first_neurons, x)
        shape, scale = self._shape, self._scale
        shortcut = x
        if layer.shortcut is not None:
            shortcut = self._product(layer.shortcut, spikes)
            self._shape, self._scale = shape, scale
        spikes = self._lif(f"{name}.second", layer.second_neurons, self._product(layer.first, spikes))
        residual = self._product(layer.second, spikes)
        gain = layer.skip.parameters["gain"].detach().cpu().numpy() * np.float32(layer.skip.factor)
        return self._op("Add", shortcut, self._op("Mul", residual, self._constant(gain)))

    def _read_out(self, layer: ReadOut, x: str) -> str:
        weight, bias = plain(layer.connection, self._scale)
        if layer.features.pool:
            x = self._op("ReduceMean", x, self._constant([2, 3], np.int64), keepdims=0)
        else:
            x = self._op("Flatten", x)
        self._shape = (len(weight), 1, 1)
        return self._op("Gemm", x, self._constant(weight), self._constant(bias), transB=1)
