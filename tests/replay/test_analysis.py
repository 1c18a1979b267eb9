"""Activity counted by hand, and memory in fresh processes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from replay.helpers import small_network, small_residual

from stream_ottt.replay.analysis.activity import measure_activity
from stream_ottt.replay.analysis.memory import MemoryConfig, measure_memory


def test_spikes_and_operations_by_hand() -> None:
    """Without weights a neuron fires where its bias is 2, at every timestep; pooling keeps the full image."""
    network = small_network(layers=(4, "AP2", 3), weight_standardization=False)
    for name, value in network.parameters.items():
        value.zero_()
        if name == "conv1.bias":
            value[0] = 2.0
    frames = torch.zeros(5, 2, 2, 8, 8, dtype=torch.float64)
    frames[:, :, 1, 0, 0] = 1  # one pixel in a corner, in each timestep
    found = measure_activity(network, [frames, frames[:, :1]])
    assert found["samples"] == 3
    assert found["layers"]["conv1"] == {"neurons": 256, "firing_rate": 0.25, "spikes_per_neuron": 5 * 0.25}
    assert found["layers"]["conv2"]["firing_rate"] == 0
    # The corner pixel reaches 2×2 neurons of 4 channels.
    assert found["operations"]["conv1"] == found["input_operations"] == 5 * 4 * 4
    # A full 4×4 plane reaches 3 channels, by 3×3 kernels that the border cuts.
    reached = 4 * 9 + 8 * 6 + 4 * 4
    assert found["synaptic_operations"] == 5 * 3 * reached + found["operations"].get("readout", 0)
    assert found["spikes_per_neuron"] == pytest.approx(5 * 64 / (256 + 48))


def test_residual_networks_are_counted_too() -> None:
    network = small_residual()
    found = measure_activity(network, [torch.randn(3, 2, 2, 9, 9, dtype=torch.float64)])
    assert set(found["layers"]) == {"block1.first", "block1.second", "block2.first", "block2.second"}
    assert "block2.shortcut" in found["operations"] and found["firing_rate"] > 0


def test_memory_of_ottt_does_not_grow_with_t() -> None:
    """Fresh processes; the states of the network's timestep are large beside what a process takes anyway."""
    network = {"layers": (8, 8)}
    wanted = [("ottt_o", 2), ("ottt_o", 100), ("bptt", 24)]
    configs = [MemoryConfig(method=m, time_steps=t, network=network, shape=(2, 256, 256)) for m, t in wanted]
    with ThreadPoolExecutor(2) as two:
        # Twice each, the least of which counts: what an allocator keeps beside it differs from process to process.
        measured = [found["training_bytes"] for found in two.map(measure_memory, configs * 2)]
    found = {one: min(measured[i :: len(wanted)]) for i, one in enumerate(wanted)}
    assert found["ottt_o", 100] <= 1.05 * found["ottt_o", 2]
    assert found["bptt", 24] > 1.5 * found["ottt_o", 100]
