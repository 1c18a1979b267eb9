"""The names that the paper authors' released code gives to the parameters of its VGGs, both ways.

``features`` is a sequence of a convolution, its neurons and a factor of 2.74, with an average pooling of 2×2 between
some of them; all convolutions but the first stand in a wrapper, as ``op``, where gradients are made from rates. In
the networks with feedback the first convolution is ``conv1``, before the sequence, and the feedback is ``fb_conv``.
(Xiao et al., NeurIPS 2022; github.com/pkuxmq/OTTT-SNN.)
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor

from stream_ottt.errors import OutputError, UsageError
from stream_ottt.network.layers import AvgPool, ReadOut, SpikingConv
from stream_ottt.network.network import Network
from stream_ottt.outputs import write_atomically

A_CONVOLUTION = 3
"""Places in the sequence that a convolution, its neurons and the factor take."""
READ_OUT, FEEDBACK, FIRST = "classifier.0", "fb_conv", "conv1"


def names(network: Network) -> Iterator[tuple[str, str]]:
    """(our prefix, theirs) of each connection, such as ``("conv2", "features.3.op")``.

    Raises:
        UsageError: a network that the released code has not.
    """
    convs = [layer for layer in network.layers if isinstance(layer, SpikingConv)]
    with_feedback = any(layer.feedback is not None for layer in convs)
    place = 0
    for name, layer in zip(network.names, network.layers, strict=True):
        if isinstance(layer, AvgPool):
            if layer.size != 2 or layer is network.layers[0]:
                raise UsageError(f"layer {name!r}: the released code pools by 2, after a convolution; export to onnx")
            place += 1
        elif isinstance(layer, SpikingConv):
            if "gain" not in layer.connection.parameters:
                raise UsageError("the released code's networks have weight_standardization = true; export to onnx")
            if layer.connection.padding != 1:
                raise UsageError(f"layer {name!r}: the released code's convolutions are 3×3; export to onnx")
            if layer is not convs[0]:
                yield name, f"features.{place}.op"
            else:
                yield name, FIRST if with_feedback else "features.0"
                place -= with_feedback  # the convolution stands before the sequence
            if layer.feedback is not None:
                yield f"{name}.feedback", f"{FEEDBACK}.op"
            place += A_CONVOLUTION
        elif isinstance(layer, ReadOut):
            if not layer.features.pool and network.input_shape[1] != network.input_shape[2]:
                raise UsageError(f"layer {name!r}: the released code flattens square images alone; export to onnx")
            yield name, f"{READ_OUT}.op"
        else:
            raise UsageError(f"layer {name!r}: only VGGs and stacks of layers have the released code's names")


def to_released(network: Network) -> dict[str, Tensor]:
    """The parameters under the released code's names, as its ``state_dict()`` gives them."""
    if network.input_mass or network.input_scale != 1:
        raise UsageError("network.input_mass and input_scale: the released code has neither; export to onnx")
    return {
        f"{theirs}.{key}": network.parameters[f"{ours}.{key}"].detach().clone()
        for ours, theirs in names(network)
        for key in ("weight", "bias", "gain")
        if f"{ours}.{key}" in network.parameters
    }


def write_released(path: Path, network: Network) -> None:
    """Write ``{"net": state_dict}``, as the released code's checkpoints have it.

    Raises:
        UsageError: a network that the released code has not.
        OutputError: the file cannot be written.
    """
    data = BytesIO()
    torch.save({"net": to_released(network)}, data)
    try:
        write_atomically(path, data.getvalue())
    except OSError as e:
        raise OutputError(f"{path}: cannot be written: {e.strerror}") from e
