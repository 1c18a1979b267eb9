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
from stream_ottt.network.layers import AvgPool, Layer, ReadOut
from stream_ottt.network.network import Network
from stream_ottt.network.nf_resnet import nf_resnet
from stream_ottt.network.spiking_conv import SpikingConv
from stream_ottt.registry import near_miss

VGG = (64, 128, "AP2", 256, 256, "AP2", 512, 512, "AP2", 512, 512)


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

    def conv(self, out: int, kernel: int) -> None:
        c = self.config
        sws = c.weight_standardization
        if sws and self.channels * kernel * kernel == 1:
            raise UsageError(
                "network.layers: a 1×1 convolution of one channel has a single weight, which cannot be standardized; "
                "use a larger kernel or weight_standardization = false"
            )
        # Kaiming: over the fan-out as the released code does; without sWS over the fan-in, which keeps currents at
        # the scale of V_th.
        fan = (out if sws else self.channels) * kernel * kernel
        weight = self.normal(out, self.channels, kernel, kernel, std=math.sqrt(2 / fan))
        bias = torch.zeros(out, dtype=self.dtype)
        gain = torch.ones(out, 1, 1, 1, dtype=self.dtype) if sws else None
        self._claim(STATES * out * self.height * self.width)
        layer = SpikingConv(weight, bias, c.neuron, gain=gain, generator=self.generator)
        self.layers.append((f"conv{sum(isinstance(x, SpikingConv) for _, x in self.layers) + 1}", layer))
        self.channels = out

    def pool(self, size: int) -> None:
        if min(self.height, self.width) < size:
            raise UsageError(
                f"network.layers: AP{size} meets an image of {self.width}×{self.height}; "
                f"use fewer poolings or a larger binning.width × binning.height"
            )
        self.layers.append((f"pool{sum(isinstance(x, AvgPool) for _, x in self.layers) + 1}", AvgPool(size)))
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

    def finish(self, classes: int) -> Network:
        pool = self.config.readout == "gap"
        features = self.channels if pool else self.channels * self.height * self.width
        weight = self.normal(classes, features, std=0.01)
        bias = torch.zeros(classes, dtype=self.dtype)
        self.layers.append(("readout", ReadOut(weight, bias, pool=pool)))
        return self.network()

    def network(self) -> Network:
        return Network(
            self.layers,
            input_shape=self.input_shape,
            input_trace=self.config.input_trace,
            decay=self.config.decay,
            input_scale=self.config.input_scale,
        )


def _free(builder: Builder, classes: int) -> Network:
    builder.stack(builder.config.layers)
    return builder.finish(classes)


def _vgg(builder: Builder, classes: int) -> Network:
    builder.stack(VGG)
    return builder.finish(classes)


def _with_feedback(plain: Callable[[Builder, int], Network]) -> Callable[[Builder, int], Network]:
    def build(builder: Builder, classes: int) -> Network:
        network = plain(builder, classes)
        first = next(layer for layer in network.layers if isinstance(layer, SpikingConv))
        out = first.parameters["weight"].shape[0]
        # Zero at the start: the network begins as the one without feedback.
        network.connect_feedback(
            torch.zeros(out, builder.channels, 3, 3, dtype=builder.dtype),
            torch.zeros(out, dtype=builder.dtype),
        )
        return network

    return build


TOPOLOGIES: dict[str, Callable[[Builder, int], Network]] = {
    "layers": _free,
    "layers-f": _with_feedback(_free),
    "vgg": _vgg,
    "vgg-f": _with_feedback(_vgg),
    "nf-resnet-18": nf_resnet(18),
    "nf-resnet-34": nf_resnet(34),
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
