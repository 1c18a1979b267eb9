"""A learner's state as a value: swapped without copies, saved and loaded to the bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stream_ottt.engine.config import EngineConfig
from stream_ottt.learning.build import build_learner
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.topologies import build_network

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (2, 9, 8)
RULES: dict[str, dict[str, Any]] = {
    "sgd": {},
    "adam": {"optimizer": "adam", "lr": 0.01, "weight_decay": 0.01},
    "no momentum": {"momentum": 0.0},
    "cosine": {"schedule": "cosine", "schedule_steps": 30},
    "ottt_a": {"rule": "ottt_a", "time_steps": 5},
    "paper delay": {"error_delay": 2},
    "snapshot delay": {"error_delay": 3, "delay_mode": "snapshot", "weight_decay": 0.01},
}
NETWORKS: dict[str, dict[str, Any]] = {
    "layers": {"layers": (12, "AP2", 20)},
    "feedback, dropout, input trace": {
        "topology": "layers-f",
        "layers": (8, "AP2", 9),
        "dropout": 0.3,
        "input_trace": True,
    },
    "plain weights": {"layers": (8, "5C1"), "weight_standardization": False, "readout": "flatten"},
}


def learner_of(network: dict[str, Any], rule: dict[str, Any], engine: str, history: int = 0) -> OnlineLearner:
    net = build_network(NetworkConfig(**network), input_shape=SHAPE, classes=3, seed=1)
    for name, value in net.parameters.items():
        if name.endswith("bias"):
            value.fill_(0.2)
    config = LearnerConfig.load({"lr": 0.1, "time_steps": 4, **rule})
    how = EngineConfig(overlap=True) if engine == "overlap" else EngineConfig.load({"engine": engine})
    return build_learner(net, config=config, history=history, engine=how, threads=None)


def run(learner: OnlineLearner, steps: range, late: int = 0) -> list[Tensor]:
    said = []
    for t in steps:
        if t % 11 == 10:
            learner.reset()
        frame = torch.poisson(torch.full((1, *SHAPE), 0.6), generator=torch.Generator().manual_seed(t))
        said.append(learner.forward(frame, t, learn=t % 9 != 8))
        if t >= late and t % 5 != 4:
            learner.learn(t - late, torch.tensor([t % 3]))
    return said


def assert_same(one: OnlineLearner, two: OnlineLearner) -> None:
    a, b = one.state_dict(), two.state_dict()
    assert a.keys() == b.keys()
    for key, value in a.items():
        assert torch.equal(value, b[key]) if isinstance(value, Tensor) else value == b[key], key


ENGINES = [("plain", name) for name in RULES] + [("fast", name) for name in RULES]
ENGINES += [("overlap", "paper delay"), ("overlap", "snapshot delay")]


@pytest.mark.parametrize("network", NETWORKS.values(), ids=list(NETWORKS))
@pytest.mark.parametrize(("engine", "rule"), ENGINES)
def test_a_learner_that_was_saved_goes_on_to_the_bit(
    engine: str, rule: str, network: dict[str, Any], tmp_path: Path
) -> None:
    """In the middle of a sample, with labels late and errors on their way; through tensors and plain JSON alone."""
    whole, first, second = (learner_of(network, RULES[rule], engine, history=2) for _ in range(3))
    run(second, range(7), late=1)  # what it was before must leave no trace
    expected = run(whole, range(40), late=1)
    found = run(first, range(17), late=1)
    state = first.state_dict()
    tensors = {k: v for k, v in state.items() if isinstance(v, Tensor)}
    plain = json.loads(json.dumps({k: v for k, v in state.items() if not isinstance(v, Tensor)}))
    torch.save(tensors, tmp_path / "state")
    second.load_state_dict(torch.load(tmp_path / "state") | plain)
    found += run(second, range(17, 40), late=1)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert_same(second, whole)
    assert whole.counts.updates > 3


def test_which_way_each_product_takes_is_put_back() -> None:
    network = learner_of(NETWORKS["layers"], {}, "fast").network
    for wanted, holds in ((True, False), (False, False), (False, True), (True, True)):
        layout = {name: [wanted, holds] for name in network.layout()}
        network.set_layout(layout)
        assert layout and network.layout() == layout


def test_residual_networks_and_their_dropout_go_on_too() -> None:
    network = {"topology": "nf-resnet-18", "dropout": 0.2}
    whole, first, second = (learner_of(network, {}, "fast") for _ in range(3))
    expected = run(whole, range(4))
    found = run(first, range(2))
    second.load_state_dict(first.state_dict())
    found += run(second, range(2, 4))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert_same(second, whole)


@pytest.mark.parametrize("engine", ["plain", "fast"])
@settings(max_examples=10)
@given(order=st.lists(st.integers(0, 2), min_size=6, max_size=20))
def test_states_do_not_notice_each_other(engine: str, order: list[int]) -> None:
    """Three streams in turns on one network that does not change say what each says alone."""
    network, rule = NETWORKS["feedback, dropout, input trace"] | {"dropout": 0.0}, {"lr": 0.0, "error_delay": 1}
    shared = learner_of(network, rule, engine)
    alone = [learner_of(network, rule, engine) for _ in range(3)]
    states = [shared.rest() for _ in range(3)]
    steps = [0, 0, 0]
    for which in order:
        t = 100 * which + steps[which]
        steps[which] += 1
        before = shared.swap(states[which])
        found = run(shared, range(t, t + 1))
        states[which] = shared.swap(before)
        assert states[which].step == t
        assert torch.equal(found[0], run(alone[which], range(t, t + 1))[0])


def test_a_state_is_packed_on_its_own() -> None:
    learner = learner_of(NETWORKS["layers"], {"lr": 0.0, "error_delay": 1}, "fast")
    run(learner, range(5))
    packed = learner.swap(learner.rest()).pack(learner.network)
    run(learner, range(3))
    learner.swap(type(learner.rest()).unpack(learner.network, packed))
    other = learner_of(NETWORKS["layers"], {"lr": 0.0, "error_delay": 1}, "fast")
    run(other, range(5))
    assert torch.equal(run(learner, range(5, 6))[0], run(other, range(5, 6))[0])


def test_another_network_is_refused() -> None:
    state = learner_of(NETWORKS["layers"], {}, "fast").state_dict()
    other = learner_of(NETWORKS["feedback, dropout, input trace"], {}, "fast")
    before = other.state_dict()
    with pytest.raises(ValueError, match=r"'conv1.bias': expected \(8,\), found \(12,\)"):
        other.load_state_dict(state)
    assert all(torch.equal(v, before[k]) for k, v in other.state_dict().items() if isinstance(v, Tensor))
