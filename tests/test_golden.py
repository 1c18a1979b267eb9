"""The learning rule against recorded truth: logits, each step's gradients, weights after the last step, to 1e-10.

``ottt_released_code.npz`` was recorded from the paper authors' released code, ``ottt_delay.npz`` from an independent
evaluation of the delayed rule, both in float64.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from watching import RecordingSGD

from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.network.config import NetworkConfig, OptimizerConfig
from stream_ottt.network.network import Network
from stream_ottt.network.topologies import build_network

RELEASED = "ottt_released_code.npz"
DELAY = "ottt_delay.npz"
CASES = {
    "vgg_ottt_a": (RELEASED, {"rule": "ottt_a"}, 0.05),
    "vgg_ottt_o": (RELEASED, {}, 0.05),
    "vggf_ottt_o": (RELEASED, {}, 0.0),
    "vgg_ottt_o_delay1": (DELAY, {"error_delay": 1}, 0.05),
    "vgg_ottt_o_delay3": (DELAY, {"error_delay": 3}, 0.05),
    "vgg_ottt_o_delay2_snapshot": (DELAY, {"error_delay": 2, "delay_mode": "snapshot"}, 0.05),
    "vgg_ottt_o_input_trace": (DELAY, {}, 0.05),
}
NAMES = {
    "features.0": "conv1",
    "features.3.op": "conv2",
    "features.7.op": "conv3",
    "conv1": "conv1",
    "features.2.op": "conv2",
    "features.6.op": "conv3",
    "fb_conv.op": "conv1.feedback",
    "classifier.0.op": "readout",
}


def our_name(recorded: str) -> str:
    layer, _, parameter = recorded.rpartition(".")
    return f"{NAMES[layer]}.{parameter}"


def golden_network(case: dict[str, np.ndarray], config: NetworkConfig) -> Network:
    network = build_network(config, input_shape=(2, 8, 8), classes=4, dtype=torch.float64)
    parameters = network.parameters
    for key, value in case.items():
        if key.startswith("init/"):
            parameters[our_name(key.removeprefix("init/"))].copy_(torch.from_numpy(value))
    network.weights_changed()
    return network


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_recorded_truth(name: str, golden_dir: Path) -> None:
    file, rule, alpha = CASES[name]
    with np.load(golden_dir / file) as z:
        case = {k.removeprefix(f"{name}/"): z[k] for k in z.files if k.startswith(f"{name}/")}
    feedback = name.startswith("vggf")
    network = golden_network(
        case,
        NetworkConfig(
            topology="layers-f" if feedback else "layers",
            layers=(6, 8, "AP2", 8),
            input_trace=name.endswith("input_trace"),
        ),
    )
    optimizer = RecordingSGD(OptimizerConfig(lr=0.1, momentum=0.9))
    steps = len(case["x"])
    learner = OnlineLearner(network, optimizer, LearnerConfig(time_steps=steps, alpha=alpha, **rule))
    target = torch.from_numpy(case["y"])
    logits = []
    for t in range(steps):
        frame = torch.from_numpy(case["x"][t])
        logits.append(learner.forward(frame[None] if frame.dim() == 3 else frame, t)[0].clone())
        assert learner.learn(t, target)
    np.testing.assert_allclose(torch.stack(logits).numpy(), case["logits"], rtol=0, atol=1e-10)

    recorded = {our_name(k.removeprefix("grad/")): v for k, v in case.items() if k.startswith("grad/")}
    delay = rule.get("error_delay", 0)
    for value in recorded.values():
        assert np.abs(value[:delay]).max(initial=0) == 0
    if rule.get("rule") == "ottt_a":
        assert len(optimizer.seen) == 1
        for key, value in recorded.items():
            np.testing.assert_allclose(optimizer.seen[0][key].numpy(), value.sum(0), rtol=0, atol=1e-10)
    else:
        assert len(optimizer.seen) == steps - delay
        for key, value in recorded.items():
            for t, seen in enumerate(optimizer.seen, start=delay):
                np.testing.assert_allclose(seen[key].numpy(), value[t], rtol=0, atol=1e-10, err_msg=f"{key}, t={t}")
    assert set(recorded) == set(network.parameters)
    for key, value in case.items():
        if key.startswith("after/"):
            after = network.parameters[our_name(key.removeprefix("after/"))].numpy()
            np.testing.assert_allclose(after, value, rtol=0, atol=1e-10, err_msg=key)
