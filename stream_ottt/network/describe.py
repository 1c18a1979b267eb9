"""What a network is made of, for a reader: a line or a row of a table for each layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_ottt.network.layer import Layer
from stream_ottt.network.layers import AvgPool

if TYPE_CHECKING:
    from stream_ottt.network.network import Network


def as_text(network: Network) -> str:
    """One line a layer: its name, its kind and the shapes of its parameters."""
    size = "×".join(map(str, network.input_shape))
    lines = [f"{type(network).__name__}(input {size}, {network.size:,} parameters)"]
    for name, layer in zip(network.names, network.layers, strict=True):
        shapes = _shapes(layer)
        lines.append(f"  {name}: {_kind(layer)}" + (f" ({shapes})" if shapes else ""))
    return "\n".join(lines)


def as_html(network: Network) -> str:
    """The same as a table; names and numbers are the network's own, so that nothing is to be escaped."""
    rows = "".join(
        f"<tr><td>{name}</td><td>{_kind(layer)}</td><td>{_shapes(layer)}</td>"
        f"<td>{sum(value.numel() for value in layer.parameters.values()):,}</td></tr>"
        for name, layer in zip(network.names, network.layers, strict=True)
    )
    planes, height, width = network.input_shape
    caption = f"{planes} planes of {width} × {height} pixels, {network.size:,} parameters"
    head = "<tr><th>layer</th><th>kind</th><th>shapes</th><th>parameters</th></tr>"
    return f"<table><caption>{caption}</caption><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _kind(layer: Layer) -> str:
    return f"AvgPool {layer.size}" if isinstance(layer, AvgPool) else type(layer).__name__


def _shapes(layer: Layer) -> str:
    return ", ".join(f"{key} {'×'.join(map(str, value.shape))}" for key, value in layer.parameters.items())
