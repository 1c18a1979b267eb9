"""Networks that fire, and frames to run them on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stream_ottt.engine.config import EngineConfig
from stream_ottt.events.binning import Binner
from stream_ottt.events.config import BinningConfig
from stream_ottt.events.packet import Ledger
from stream_ottt.learning.build import build_learner
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.network import Network
from stream_ottt.network.topologies import build_network
from stream_ottt.run.models import save_model
from stream_ottt.sources.opening import open_source

SIZE = 16


def network_of(size: int = SIZE, **settings: Any) -> Network:
    """With biases and gains that make every layer fire."""
    made = build_network(NetworkConfig(**settings), input_shape=(2, size, size), classes=3, seed=1)
    generator = torch.Generator().manual_seed(0)
    for name, value in made.parameters.items():
        if name.endswith(("bias", "gain")) or "feedback" in name:
            value.add_(0.3 * torch.randn(value.shape, generator=generator))
    made.weights_changed()
    return made


def save(path: Path, **settings: Any) -> Network:
    """Save such a network as a model file, and give it."""
    made = network_of(**settings)
    learner = build_learner(made, engine=EngineConfig(engine="plain"), threads=None)
    save_model(path, learner, network=NetworkConfig(**settings), class_names={0: "a", 1: "b", 2: "c"})
    return learner.network


def scene(n: int, size: int = SIZE) -> list[Tensor]:
    """The first ``n`` frames [1, 2, size, size] of the built-in scene."""
    source = open_source("synthetic:?presentations=3&classes=3&duration=300ms&seed=1")
    binner = Binner(BinningConfig(window=10_000, width=size, height=size), 128, 128, Ledger())
    found: list[Tensor] = []
    for packet in source.packets():
        found += [torch.from_numpy(step.frame[None].copy()) for step in binner.feed(packet.events)]
        if len(found) >= n:
            break
    return found[:n]


def run(network: Network, frames: list[Tensor]) -> tuple[list[list[np.ndarray]], list[np.ndarray]]:
    """Spikes of each population and logits, a timestep each, from rest."""
    network.reset()
    spikes, logits = [], []
    for frame in frames:
        found, _ = network.forward(frame, learn=False)
        logits.append(found.numpy())
        spikes.append([neurons.s.numpy().copy() for layer in network.state.layers for neurons in layer.neurons])
    return spikes, logits
