"""The learner on a GPU that is not there: tensors without numbers, of which torch checks the shapes and the devices."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from stream_ottt.engine.config import EngineConfig
from stream_ottt.errors import UsageError
from stream_ottt.learning.build import build_learner
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.device import find_device
from stream_ottt.network.network import Network
from stream_ottt.network.optimizer import build_optimizer
from stream_ottt.network.topologies import build_network

SHAPE, CLASSES, BATCH = (2, 32, 32), 3, 2
LAYERS = (4, "AP2", 4)
NETWORKS: dict[str, dict[str, Any]] = {
    "layers": {"layers": LAYERS},
    "feedback": {"topology": "layers-f", "layers": LAYERS},
    "input trace": {"layers": LAYERS, "input_trace": True},
    "no standardization": {"layers": LAYERS, "weight_standardization": False, "surrogate": "rectangular"},
    "nf-resnet": {"topology": "nf-resnet-18"},
}
RULES: dict[str, dict[str, Any]] = {
    "ottt_o": {"weight_decay": 1e-3},
    "ottt_a": {"rule": "ottt_a"},
    "adam": {"optimizer": "adam"},
    "paper delay": {"error_delay": 2},
    "snapshot delay": {"error_delay": 2, "delay_mode": "snapshot"},
}


def on_gpu(network: Network) -> Network:
    """As :meth:`Network.to` does, but for the copy itself, which needs a driver."""
    for part in network.connections.values():
        part.set_parameters({k: torch.empty(v.shape, device="cuda") for k, v in part.parameters.items()})
    return network


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
@pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))
def test_learner_stays_on_its_device(network: dict[str, Any], rule: dict[str, Any]) -> None:
    config = LearnerConfig.load({"time_steps": 3, **rule})
    with FakeTensorMode():
        built = on_gpu(build_network(NetworkConfig.load(network), input_shape=SHAPE, classes=CLASSES))
        learner = OnlineLearner(built, build_optimizer(config), config)
        for t in range(4):
            logits = learner.forward(torch.ones(BATCH, *SHAPE, device="cuda"), t)
            assert logits.device.type == "cuda" and logits.shape == (BATCH, CLASSES)
            assert learner.learn(t, torch.zeros(BATCH, dtype=torch.int64, device="cuda"))
        learner.reset()
        assert {p.device.type for p in built.parameters.values()} == {"cuda"}
        assert {s.device.type for s in learner.optimizer.state().values() if s.dim()} == {"cuda"}
    assert learner.counts.updates


def test_devices_that_are_mixed_are_noticed() -> None:
    """So that the tests above can fail."""
    with FakeTensorMode():
        network = on_gpu(build_network(NetworkConfig(layers=LAYERS), input_shape=SHAPE, classes=CLASSES))
        with pytest.raises(Exception, match="same device"):
            OnlineLearner(network).forward(torch.ones(BATCH, *SHAPE), 0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there(name: str) -> None:
    with pytest.raises(UsageError, match=r"engine\.device: there is no CUDA device"):
        find_device(name, key="engine.device")
    network = build_network(NetworkConfig(layers=LAYERS), input_shape=SHAPE, classes=CLASSES)
    with pytest.raises(UsageError, match="use cpu"):
        build_learner(network, engine=EngineConfig(device=name))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
@pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))
def test_cpu_and_gpu_agree(network: dict[str, Any], rule: dict[str, Any]) -> None:
    """In float64, so that no spike can flip."""
    config = LearnerConfig.load({"time_steps": 3, "lr": 0.01, **rule})
    torch.manual_seed(0)
    frames = torch.poisson(torch.full((4, 1, *SHAPE), 0.5, dtype=torch.float64))
    logits, ends = [], []
    for device in ("cpu", "cuda"):
        built = build_network(NetworkConfig.load(network), input_shape=SHAPE, classes=CLASSES, dtype=torch.float64)
        learner = build_learner(built, config=config, engine=EngineConfig(engine="plain", device=device))
        said = []
        for t, frame in enumerate(frames):
            said.append(learner.forward(frame.to(device), t).cpu())
            learner.learn(t, torch.tensor([1], device=device))
        logits.append(torch.cat(said))
        ends.append({k: v.cpu() for k, v in learner.network.parameters.items()})
    torch.testing.assert_close(logits[1], logits[0], rtol=0, atol=1e-9)
    for key, value in ends[0].items():
        torch.testing.assert_close(ends[1][key], value, rtol=0, atol=1e-9, msg=key)
