"""Network shapes by name. To add one: write a function, add its line to ``TOPOLOGIES``.

``layers`` are written as people write them: ``[64, 128, "AP2", "256C5"]`` is a 3×3 convolution to 64 channels, one to
128, average pooling over 2×2, a 5×5 convolution to 256; a read-out over the globally pooled features follows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from stream_ottt.errors import UsageError
from stream_ottt.memory import check_room
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.connection import Connection, FeedbackConnection, SkipGain
from stream_ottt.network.growth import READOUT_STD
from stream_ottt.network.layer import Layer
from stream_ottt.network.layers import SWS_SCALE, AvgPool, ReadOut, SpikingConv, StemConv
from stream_ottt.network.network import Network
from stream_ottt.network.neurons import Neurons
from stream_ottt.network.residual import NFBlock
from stream_ottt.registry import near_miss

VGG = (64, 128, "AP2", 256, 256, "AP2", 512, 512, "AP2", 512, 512)
NF_RESNET = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
"""Blocks per stage of the two depths."""
NF_WIDTHS = (64, 128, 256, 512)
NF_SHARE = 0.2
"""α, the share of a block's residual branch in its output."""


COPIES = 2
"""Of each weight, at least: itself and its momentum."""
STATES = 4
"""Numbers of each neuron, at least: membrane potential, spike, trace, surrogate derivative."""


class Builder:
    """Draws the weights and stacks the layers, keeping count of channels and size."""

    def __init__(self, config: NetworkConfig, input_shape: tuple[int, int, int], seed: int, dtype: torch.dtype) -> None:
        self.config = config
        self.channels, self.height, self.width = input_shape
        self.input_shape = input_shape
        self.dtype = dtype
        self.generator = torch.Generator().manual_seed(seed)
        self.layers: list[tuple[str, Layer]] = []
        self._numbers = 0
        self._claim(STATES * math.prod(input_shape))

    def _claim(self, numbers: int) -> None:
        """Count what will be needed, before it is allocated. Raises UsageError when it does not fit into memory."""
        self._numbers += numbers
        check_room(
            self._numbers * self.dtype.itemsize,
            what="the network",
            fix="use fewer or smaller network.layers, or a smaller binning.width × binning.height",
        )

    def normal(self, *shape: int, std: float) -> Tensor:
        self._claim(COPIES * math.prod(shape))
        weights = torch.empty(shape, dtype=self.dtype)
        for piece in torch.split(weights.view(-1), 2**16):  # drawn in float64 for any dtype, without a copy of it all
            piece.copy_(torch.randn(piece.shape, generator=self.generator, dtype=torch.float64).mul_(std))
        return weights

    def connection(
        self, out: int, channels: int, kernel: int, *, sws: bool, decay: float | None, stride: int = 1
    ) -> Connection:
        """A convolution whose weights are drawn as by Kaiming: over the fan-out as the released code does; without sWS
        over the fan-in, which keeps currents at the scale of V_th."""
        fan = (out if sws else channels) * kernel * kernel
        weight = self.normal(out, channels, kernel, kernel, std=math.sqrt(2 / fan))
        gain = torch.ones(out, 1, 1, 1, dtype=self.dtype) if sws else None
        return Connection(weight, torch.zeros(out, dtype=self.dtype), gain, stride=stride, decay=decay)

    def neurons(self, *, sws: bool, beta: float = 1.0) -> Neurons:
        scale = SWS_SCALE if sws else 1.0
        return Neurons(self.config.neuron, scale=scale, generator=self.generator, input_scale=1 / beta)

    def conv(self, out: int, kernel: int) -> None:
        c = self.config
        sws = c.weight_standardization
        if sws and self.channels * kernel * kernel == 1:
            raise UsageError(
                "network.layers: a 1×1 convolution of one channel has a single weight, which cannot be standardized; "
                "use a larger kernel or weight_standardization = false"
            )
        first = not any(isinstance(layer, SpikingConv) for _, layer in self.layers)
        decay = c.decay if c.input_trace or not first else None
        connection = self.connection(out, self.channels, kernel, sws=sws, decay=decay)
        self._claim(STATES * out * self.height * self.width)
        self.add("conv", SpikingConv(connection, self.neurons(sws=sws)))
        self.channels = out

    def add(self, kind: str, layer: Layer) -> None:
        """Put a layer on top, named by its kind and its number among those."""
        count = sum(type(other) is type(layer) for _, other in self.layers)
        self.layers.append((f"{kind}{count + 1}", layer))

    def pool(self, size: int) -> None:
        if min(self.height, self.width) < size:
            raise UsageError(
                f"network.layers: AP{size} meets an image of {self.width}×{self.height}; "
                f"use fewer poolings or a larger binning.width × binning.height"
            )
        self.add("pool", AvgPool(size))
        self.height, self.width = self.height // size, self.width // size

    def stack(self, spec: Sequence[int | str]) -> None:
        for part in spec:
            conv = re.fullmatch(r"(\d+)(?:C(\d+))?", str(part))
            pool = re.fullmatch(r"AP(\d+)", str(part))
            if conv and int(conv[1]) > 0 and int(conv[2] or 3) % 2 == 1:
                self.conv(int(conv[1]), int(conv[2] or 3))
            elif pool and int(pool[1]) > 0:
                self.pool(int(pool[1]))
            else:
                raise UsageError(
                    f"network.layers: {part!r} is no layer; write channels (64), 'nCk' with odd k ('64C5') "
                    "or 'APk' ('AP2')"
                )
        if not any(isinstance(layer, SpikingConv) for _, layer in self.layers):
            raise UsageError("network.layers: at least one convolution is needed, such as 16")

    def finish(self, classes: int, *, pool: bool, decay: float | None) -> Network:
        """The network, with a read-out on top."""
        features = self.channels if pool else self.channels * self.height * self.width
        weight = self.normal(classes, features, std=READOUT_STD)
        connection = Connection(weight, torch.zeros(classes, dtype=self.dtype), decay=decay)
        self.layers.append(("readout", ReadOut(connection, pool=pool)))
        return Network(
            self.layers,
            input_shape=self.input_shape,
            decay=self.config.decay,
            input_scale=self.config.input_scale,
            input_mass=self.config.input_mass,
        )


def _layers(builder: Builder, classes: int) -> Network:
    builder.stack(builder.config.layers)
    return builder.finish(classes, pool=builder.config.readout == "gap", decay=builder.config.decay)


def _vgg(builder: Builder, classes: int) -> Network:
    builder.stack(VGG)
    return builder.finish(classes, pool=builder.config.readout == "gap", decay=builder.config.decay)


def _with_feedback(plain: Callable[[Builder, int], Network]) -> Callable[[Builder, int], Network]:
    def build(builder: Builder, classes: int) -> Network:
        network = plain(builder, classes)
        height, width = builder.input_shape[1:]
        for layer in network.layers:
            if isinstance(layer, SpikingConv):
                break
            if isinstance(layer, AvgPool):
                height, width = layer.pooling.output_size(height, width)
        assert isinstance(layer, SpikingConv)
        out = layer.parameters["weight"].shape[0]
        # Zero at the start: the network begins as the one without feedback.
        weight = torch.zeros(out, builder.channels, 3, 3, dtype=builder.dtype)
        bias = torch.zeros(out, dtype=builder.dtype)
        layer.feedback = FeedbackConnection(weight, bias, (height, width), decay=builder.config.decay)
        network.name_parts()
        network.state = network.rest()
        return network

    return build


def _nf_resnet(depth: int) -> Callable[[Builder, int], Network]:
    """NF-ResNet-18 or -34: a 7×7/2 stem, a 3×3/2 average pooling, four stages of blocks.

    The expected variance of a block's input, β², grows by α² a block and begins anew at 1 + α² after each that
    downsamples.
    """

    def build(builder: Builder, classes: int) -> Network:
        decay = builder.config.decay
        input_decay = decay if builder.config.input_trace else None
        stem = builder.connection(64, builder.channels, 7, sws=True, decay=input_decay, stride=2)
        builder.layers += [("stem", StemConv(stem)), ("pool", AvgPool(3, 2, 1))]
        builder.channels, variance = 64, 1.0
        for stage, blocks in enumerate(NF_RESNET[depth]):
            for i in range(blocks):
                channels, out, stride = builder.channels, NF_WIDTHS[stage], 2 if stage and not i else 1
                first = builder.connection(out, channels, 3, sws=True, decay=decay, stride=stride)
                second = builder.connection(out, out, 3, sws=True, decay=decay)
                shortcut = None
                if out != channels:
                    shortcut = builder.connection(out, channels, 1, sws=True, decay=decay, stride=stride)
                skip = SkipGain(torch.zeros(1, dtype=builder.dtype), NF_SHARE)
                neurons = builder.neurons(sws=True, beta=math.sqrt(variance)), builder.neurons(sws=True)
                builder.layers.append((f"block{stage + 1}_{i + 1}", NFBlock(first, second, shortcut, skip, neurons)))
                variance = (variance if shortcut is None else 1.0) + NF_SHARE**2
                builder.channels = out
        return builder.finish(classes, pool=True, decay=None)  # its features are currents, which carry no trace

    return build


TOPOLOGIES: dict[str, Callable[[Builder, int], Network]] = {
    "layers": _layers,
    "layers-f": _with_feedback(_layers),
    "vgg": _vgg,
    "vgg-f": _with_feedback(_vgg),
    "nf-resnet-18": _nf_resnet(18),
    "nf-resnet-34": _nf_resnet(34),
}


def build_network(
    config: NetworkConfig | None = None,
    *,
    input_shape: tuple[int, int, int],
    classes: int,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Network:
    """Build a network with freshly drawn weights.

    Args:
        config: the network's settings; None for the defaults.
        input_shape: (polarities, height, width) of a timestep's frame.
        classes: number of classes.
        seed: of the weights and the dropout masks.
        dtype: of weights and states.

    Raises:
        UsageError: an unknown topology, or layers that do not fit the input.
    """
    config = config or NetworkConfig()
    if config.topology not in TOPOLOGIES:
        raise UsageError(f"network.topology: unknown {config.topology!r}{near_miss(config.topology, TOPOLOGIES)}")
    return TOPOLOGIES[config.topology](Builder(config, input_shape, seed, dtype), classes)
