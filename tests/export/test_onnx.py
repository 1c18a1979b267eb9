"""ONNX: onnxruntime computes the same timestep after timestep, with the state outside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export.networks import SIZE, network_of, run, save, scene
from torch import Tensor

from stream_ottt.cli.export import export
from stream_ottt.export.onnx import to_onnx
from stream_ottt.network.network import Network

NETWORKS: dict[str, dict[str, Any]] = {
    "pooled": {"layers": (6, "AP2", 8, "AP2", 8)},
    "flat": {"layers": (4, "AP3", "6C5"), "readout": "flatten", "decay": 0.75, "threshold": 0.8, "input_mass": 60},
    "plain": {"layers": (4, 6), "weight_standardization": False, "input_scale": 0.5},
    "feedback": {"topology": "layers-f", "layers": (4, "AP2", 6, "AP2", 6)},
    "residual": {"topology": "nf-resnet-18"},
}


def play(model: bytes, frames: list[Tensor]) -> list[np.ndarray]:
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(model, options)
    state = {i.name: np.zeros(i.shape, np.float32) for i in session.get_inputs() if i.name != "frame"}
    names = [o.name for o in session.get_outputs()]
    assert sorted(names) == sorted(["logits", *(f"{name}.next" for name in state)])
    found = []
    for frame in frames:
        out = dict(zip(names, session.run(names, {"frame": frame.numpy(), **state}), strict=True))
        state = {name: out[f"{name}.next"] for name in state}
        found.append(out["logits"])
    return found


def assert_agrees(network: Network, model: bytes, frames: list[Tensor]) -> None:
    spikes, logits = run(network, frames)
    assert all(any(step[i].any() for step in spikes) for i in range(len(spikes[0])))
    found = play(model, frames)
    for ours, theirs in zip(logits, found, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-5)
    assert np.ptp(np.array(logits)) > 1e-3  # it says something


@pytest.mark.parametrize("name", NETWORKS)
def test_onnxruntime_agrees_over_twenty_timesteps(name: str) -> None:
    size = 32 if name == "residual" else SIZE
    network = network_of(size, **NETWORKS[name])
    assert_agrees(network, to_onnx(network).SerializeToString(), scene(20, size))


def test_the_file_agrees_and_says_what_it_is_of(tmp_path: Path) -> None:
    import onnx

    network = save(tmp_path / "m.safetensors", layers=(4, "AP2", 6))
    assert export(tmp_path / "m.safetensors", "onnx", None, pooling="average", force=False) == 0
    data = (tmp_path / "m.onnx").read_bytes()
    assert_agrees(network, data, scene(20))
    (entry,) = onnx.load_from_string(data).metadata_props
    assert entry.key == "stream_ottt" and json.loads(entry.value)["classes"] == [0, 1, 2]
