"""Small data and settings that the replay's tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.connection import Connection, SkipGain
from stream_ottt.network.layers import SWS_SCALE, AvgPool, ReadOut, StemConv
from stream_ottt.network.network import Network
from stream_ottt.network.neurons import NeuronModel, Neurons
from stream_ottt.network.residual import NFBlock
from stream_ottt.network.topologies import build_network
from stream_ottt.replay.config import ReplayConfig
from stream_ottt.run.config import merge

SIZE = 8


def write_collection(path: Path, samples: int = 24, *, classes: int = 2, seed: int = 0) -> Path:
    """An NPZ collection on 8×8 pixels whose classes are told apart by the columns that they light up."""
    rng = np.random.default_rng(seed)
    labels = np.arange(samples) % classes
    t, x, y, p, offsets = [], [], [], [], [0]
    for label in labels:
        n = 60 + int(rng.integers(20))
        t.append(np.sort(rng.integers(0, 40_000, n)))
        x.append(rng.integers(0, SIZE // classes, n) + label * (SIZE // classes))
        y.append(rng.integers(0, SIZE, n))
        p.append(rng.integers(0, 2, n))
        offsets.append(offsets[-1] + n)
    columns = {k: np.concatenate(v) for k, v in {"t": t, "x": x, "y": y, "p": p}.items()}
    np.savez(path, **columns, offsets=offsets, labels=labels, width=SIZE, height=SIZE)
    return path


def small_config(path: Path, **tables: Any) -> ReplayConfig:
    """A replay that takes a second at most."""
    base = {
        "data": {"path": str(path), "window": "10ms", "time_steps": 4, "test": 8, "cache": "off"},
        "network": {"layers": [4], "readout": "flatten"},
        "learner": {"lr": 0.1},
        "report": {"figures": False, "activity": 0},
    }
    return ReplayConfig.load(merge(base, tables))


def small_network(**config: Any) -> Network:
    """Two spiking layers in float64 on 2×8×8."""
    settings = NetworkConfig(**{"layers": (4, "AP2", 5), **config})
    network = build_network(settings, input_shape=(2, SIZE, SIZE), classes=3, dtype=torch.float64)
    return stir(network)


def small_residual(dropout: float = 0.0) -> Network:
    """A stem, a block with the plain shortcut and one that downsamples, in float64 on 2×9×9; its neurons fire."""
    generator = torch.Generator().manual_seed(1)
    model = NeuronModel(dropout=dropout)

    def conv(out: int, channels: int, kernel: int, *, stride: int = 1, decay: float | None = 0.5) -> Connection:
        weight = torch.randn(out, channels, kernel, kernel, generator=generator, dtype=torch.float64)
        bias = torch.randn(out, generator=generator, dtype=torch.float64) * 0.1
        return Connection(weight, bias, torch.ones(out, 1, 1, 1, dtype=torch.float64), stride=stride, decay=decay)

    def neurons(beta: float = 1.0) -> Neurons:
        return Neurons(model, scale=SWS_SCALE, generator=generator, input_scale=1 / beta)

    def skip(gain: float) -> SkipGain:
        return SkipGain(torch.full((1,), gain, dtype=torch.float64), 0.2)

    plain = conv(4, 4, 3), conv(4, 4, 3), None, skip(0.7), (neurons(0.3), neurons())
    wider = conv(6, 4, 3, stride=2), conv(6, 6, 3), conv(6, 4, 1, stride=2), skip(-0.4), (neurons(0.4), neurons())
    stem = conv(4, 2, 7, stride=2, decay=None)
    weight = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    layers = [
        ("stem", StemConv(stem)),
        ("pool", AvgPool(3, 2, 1)),
        ("block1", NFBlock(*plain)),
        ("block2", NFBlock(*wider)),
        ("readout", ReadOut(Connection(weight, torch.zeros(3).double(), decay=None), pool=True)),
    ]
    return Network(layers, input_shape=(2, 9, 9), decay=0.5)


def stir(network: Network) -> Network:
    """Give what is zero or one at the start values that tell mistakes apart."""
    generator = torch.Generator().manual_seed(7)
    for name, value in network.parameters.items():
        if not name.endswith("weight") or "feedback" in name or "readout" in name:
            value += 0.3 * torch.randn(value.shape, generator=generator, dtype=value.dtype)
    network.weights_changed()
    return network


def random_frames(steps: int, batch: int, shape: tuple[int, int, int], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(steps, batch, *shape, generator=generator, dtype=torch.float64)
