"""Firing rates, spikes per neuron and synaptic operations of a network on some samples."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stream_ottt.network.connection import Connection
from stream_ottt.network.network import Network


class ActivityProbe:
    """Counts spikes and what they set off.

    A synaptic operation is one accumulation: a nonzero input of a connection that reaches one neuron (borders counted
    exactly). The first connection sees frames, not spikes; its operations are counted apart, as multiply-accumulates.
    """

    def __init__(self) -> None:
        self.spikes: dict[str, float] = {}
        self.neuron_steps: dict[str, int] = {}
        self.neurons_of: dict[str, int] = {}
        self.operations: dict[str, float] = {}

    def attach(self, network: Network) -> None:
        """Watch every population and connection."""
        for name, neurons in network.populations.items():
            neurons.watch = partial(self.neurons, name)
        for name, connection in network.connections.items():
            if isinstance(connection, Connection):
                connection.watch = partial(self.synapses, name.rstrip("._"), connection.stride)

    def neurons(self, name: str, u: Tensor, s: Tensor) -> None:
        """Spikes of one population at one timestep."""
        self.spikes[name] = self.spikes.get(name, 0.0) + float(s.sum())
        self.neuron_steps[name] = self.neuron_steps.get(name, 0) + s.numel()
        self.neurons_of[name] = s[0].numel()

    def synapses(self, name: str, stride: int, x: Tensor, weight: Tensor) -> None:
        """Input of one connection at one timestep; that of the read-out is not counted."""
        if weight.dim() == 2:
            return
        active = (x != 0).to(x.dtype).sum(1, keepdim=True)
        kernel = torch.ones(1, 1, *weight.shape[2:], dtype=x.dtype)
        reached = F.conv2d(active, kernel, stride=stride, padding=weight.shape[-1] // 2)
        self.operations[name] = self.operations.get(name, 0.0) + float(reached.sum()) * weight.shape[0]


def measure_activity(network: Network, batches: Iterable[Tensor]) -> dict[str, Any]:
    """Run samples through a network, learning nothing.

    Args:
        network: of the plain kind, for nothing else from then on.
        batches: frames [T, batch, channels, height, width] each.

    Returns:
        ``samples``; per population ``neurons``, ``firing_rate`` (spikes per neuron and timestep) and
        ``spikes_per_neuron``
        (per sample); ``synaptic_operations`` and ``input_operations`` per sample, and each connection's own.
    """
    probe = ActivityProbe()
    probe.attach(network)
    samples = 0
    with torch.no_grad():
        for frames in batches:
            samples += frames.shape[1]
            network.reset()
            for frame in frames:
                network.forward(frame, learn=False)
    each = {name: count / samples for name, count in probe.operations.items()}
    first = next(iter(each))
    return {
        "samples": samples,
        "layers": {
            name: {
                "neurons": probe.neurons_of[name],
                "firing_rate": probe.spikes[name] / probe.neuron_steps[name],
                "spikes_per_neuron": probe.spikes[name] / samples / probe.neurons_of[name],
            }
            for name in probe.spikes
        },
        "firing_rate": sum(probe.spikes.values()) / max(sum(probe.neuron_steps.values()), 1),
        "spikes_per_neuron": sum(probe.spikes.values()) / samples / max(sum(probe.neurons_of.values()), 1),
        "input_operations": each[first],
        "synaptic_operations": sum(v for k, v in each.items() if k != first),
        "operations": each,
    }
