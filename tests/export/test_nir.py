"""NIR: other simulators fire the same spikes on the same frames."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from export.networks import network_of, run, save, scene
from replay.helpers import small_residual
from torch import Tensor

from stream_ottt.cli.export import export
from stream_ottt.errors import UsageError
from stream_ottt.export.nir import to_nir

ROOT = Path(__file__).resolve().parents[2]
T = 30
NETWORKS: dict[str, dict[str, Any]] = {
    "pooled": {"layers": (6, "AP2", 8, "AP2", 8)},
    "flat": {"layers": (4, "AP4", "6C5"), "readout": "flatten", "decay": 0.75, "threshold": 0.8, "input_scale": 0.5},
    "plain": {"layers": (4, 6), "weight_standardization": False},
}


@pytest.fixture(scope="module")
def frames() -> list[Tensor]:
    return scene(T)


def block(name: str) -> str:
    """The lines that the documents give for an importer."""
    section = (ROOT / "docs" / "export.md").read_text(encoding="utf-8").partition(f"### {name}\n")[2]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0]


def imported(simulator: str, path: Path) -> Any:
    """The network that the documents' lines make of ``model.nir``."""
    names: dict[str, Any] = {}
    exec(compile(block(simulator).replace('"model.nir"', repr(str(path))), simulator, "exec", dont_inherit=True), names)
    return names["net"]


def spikes_of(net: Any, frames: list[Tensor], is_neuron: Callable[[Any], bool]) -> tuple[list[list[Any]], list[Any]]:
    """Spikes of each population, first layer first, and outputs, a timestep each."""
    seen: dict[str, list[np.ndarray]] = {}

    def watch(name: str) -> Callable[..., None]:
        return lambda _, __, out: seen.setdefault(name, []).append(
            (out[0] if isinstance(out, tuple) else out).numpy().copy()
        )

    for name, module in net.named_modules():
        if is_neuron(module):
            module.register_forward_hook(watch(name))
    state, outputs = None, []
    with torch.no_grad():
        for frame in frames:
            out, state = net(frame) if state is None else net(frame, state)
            outputs.append(out.numpy())
    return list(zip(*seen.values(), strict=True)), outputs


def assert_the_same(ours: tuple[Any, Any], theirs: tuple[Any, Any]) -> None:
    assert len(theirs[0]) == len(ours[0]) == T
    for mine, other in zip(ours[0], theirs[0], strict=True):
        assert len(mine) == len(other)
        for a, b in zip(mine, other, strict=True):
            np.testing.assert_array_equal(a, b.reshape(a.shape))
    for a, b in zip(ours[1], theirs[1], strict=True):
        np.testing.assert_allclose(b.reshape(a.shape), a, rtol=0, atol=1e-5)
    for i in range(len(ours[0][0])):  # every population fires, and is silent, somewhere
        share = np.mean([step[i].mean() for step in ours[0]])
        assert 0.001 < share < 0.9, (i, share)


@pytest.mark.parametrize(
    ("name", "pooling"),
    [
        ("pooled", "average"),
        ("pooled", "sum"),
        ("pooled", "fold"),
        ("flat", "sum"),
        ("flat", "fold"),
        ("plain", "fold"),
    ],
)
def test_sinabs_fires_the_same_spikes(name: str, pooling: str, frames: list[Tensor], tmp_path: Path) -> None:
    layers = pytest.importorskip("sinabs.layers")
    network = save(tmp_path / "m.safetensors", **NETWORKS[name])
    assert export(tmp_path / "m.safetensors", "nir", None, pooling=pooling, force=False) == 0
    net = imported("sinabs", tmp_path / "m.nir")
    assert_the_same(run(network, frames), spikes_of(net, frames, lambda m: isinstance(m, layers.LIF)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NETWORKS)
def test_spikingjelly_fires_the_same_spikes(name: str, frames: list[Tensor], tmp_path: Path) -> None:
    pytest.importorskip("spikingjelly.activation_based.nir_exchange")
    network = save(tmp_path / "m.safetensors", **NETWORKS[name])
    export(tmp_path / "m.safetensors", "nir", None, pooling="average", force=False)
    net = imported("SpikingJelly", tmp_path / "m.nir")

    def is_neuron(module: Any) -> bool:
        return type(module).__name__ == "_NIRStatefulModule"

    assert_the_same(run(network, frames), spikes_of(net, frames, is_neuron))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "pooling"), [("pooled", "sum"), ("flat", "fold"), ("plain", "fold")])
def test_norse_fires_the_same_spikes(name: str, pooling: str, frames: list[Tensor], tmp_path: Path) -> None:
    norse = pytest.importorskip("norse.torch.module.lif_box")
    network = save(tmp_path / "m.safetensors", **NETWORKS[name])
    export(tmp_path / "m.safetensors", "nir", None, pooling=pooling, force=False)
    net = imported("norse", tmp_path / "m.nir")
    assert_the_same(run(network, frames), spikes_of(net, frames, lambda m: isinstance(m, norse.LIFBoxCell)))


def test_the_file_says_what_whoever_feeds_it_must_know(tmp_path: Path) -> None:
    import nir

    save(tmp_path / "m.safetensors", layers=(4, "AP2", 6), decay=0.75, threshold=0.9)
    export(tmp_path / "m.safetensors", "nir", tmp_path / "out.nir", pooling="average", force=False)
    graph = nir.read(tmp_path / "out.nir")
    about = json.loads(graph.metadata["stream_ottt"])
    assert about["reset"] == "subtract" and about["decay"] == 0.75 and about["input_shape"] == [2, 16, 16]
    assert about["class_names"] == {"0": "a", "1": "b", "2": "c"} and about["binning"]["width"] == 16
    neurons = graph.nodes["conv1_neurons"]
    dt = float(graph.metadata["dt"])
    np.testing.assert_allclose(1 - dt / neurons.tau, 0.75, rtol=1e-6)
    np.testing.assert_allclose(neurons.r, neurons.tau / dt, rtol=1e-6)
    np.testing.assert_allclose(neurons.v_threshold, 0.9, rtol=1e-6)
    assert neurons.tau.shape == (4, 16, 16)


@pytest.mark.parametrize(
    ("settings", "pooling", "said"),
    [
        ({"topology": "layers-f", "layers": (4, 4)}, "average", "feedback"),
        ({"layers": (4,), "input_mass": 100}, "average", "input_mass"),
        ({"layers": (4, "AP3", 4)}, "fold", "leaves a rest"),
        ({"layers": (4, "AP2", "AP8", "AP2")}, "fold", "AP2 meets|leaves a rest"),
    ],
)
def test_what_nir_cannot_say_is_refused(settings: dict[str, Any], pooling: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        to_nir(network_of(**settings), pooling=pooling)


def test_residual_blocks_are_refused() -> None:
    with pytest.raises(UsageError, match=r"StemConv\); export to onnx"):
        to_nir(small_residual())
