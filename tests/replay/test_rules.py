"""Rules beside OTTT against their equations, each written out here on its own, and what each of them learns."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from replay.helpers import random_frames, small_config, small_network, write_collection
from torch import Tensor

from stream_ottt.cli import main
from stream_ottt.errors import UsageError
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.network.config import OptimizerConfig
from stream_ottt.network.optimizer import SGD, build_optimizer
from stream_ottt.replay.config import MethodConfig
from stream_ottt.replay.methods import METHODS, find_method
from stream_ottt.replay.methods.base import Method
from stream_ottt.replay.methods.memory import Reservoir, Sample
from stream_ottt.replay.runs import replay
from stream_ottt.testing import check_method

TARGETS = torch.tensor([2, 0])
ALPHA = 0.3


def made(name: str, network, config: LearnerConfig, *, optimizer=None, **options: object) -> Method:
    method: Method = METHODS.get(name)(
        network, optimizer or build_optimizer(config), config, MethodConfig(name=name, **options), batch_size=2
    )
    return method


class Recorder(SGD):
    """Keeps the gradients of each step, and changes nothing."""

    def __init__(self) -> None:
        super().__init__(OptimizerConfig())
        self.recorded: list[dict[str, Tensor]] = []

    def begin(self) -> None:
        super().begin()
        self.recorded.append({})

    def update(self, name, parameter, gradient) -> None:
        self.recorded[-1][name] = gradient.clone()


# --- traces ----------------------------------------------------------------------------------------------------------


def surrogate(u: Tensor) -> Tensor:
    e = torch.exp(-4 * (u - 1))
    return 4 * e / (1 + e) ** 2


def pooled(x: Tensor) -> Tensor:
    return x.reshape(2, 4, 4, 2, 4, 2).mean((3, 5))


def history(p: dict[str, Tensor], frames: Tensor) -> list[dict[str, Tensor]]:
    """conv1 - AP2 - conv2 - GAP - FC, step by step: inputs, potentials, spikes, and δ of both layers' spikes."""
    u1 = s1 = u2 = s2 = torch.zeros(1, dtype=torch.float64)
    steps = []
    for x in frames:
        u1 = 0.5 * (u1 - s1) + F.conv2d(x, p["conv1.weight"], p["conv1.bias"], padding=1)
        s1 = (u1 >= 1).double()
        u2 = 0.5 * (u2 - s2) + F.conv2d(pooled(s1), p["conv2.weight"], p["conv2.bias"], padding=1)
        s2 = (u2 >= 1).double()
        out = (s2.mean((2, 3)) @ p["readout.weight"].T + p["readout.bias"]).requires_grad_()
        onehot = torch.eye(3, dtype=torch.float64)[TARGETS]
        value = 0.7 * -(onehot * out.log_softmax(1)).sum(1).mean() + 0.3 * ((out - onehot) ** 2).mean()
        (error,) = torch.autograd.grad(value / len(frames), out)
        d2 = (error @ p["readout.weight"])[:, :, None, None].expand_as(s2) / s2[0, 0].numel()
        below = pooled(s1).requires_grad_()
        current = F.conv2d(below, p["conv2.weight"], padding=1)
        (at_pool,) = torch.autograd.grad(current, below, d2 * surrogate(u2))
        d1 = at_pool.repeat_interleave(2, 2).repeat_interleave(2, 3) / 4
        steps.append({"x": x, "u1": u1, "s1": s1, "u2": u2, "s2": s2, "d1": d1, "d2": d2})
    return steps


def of_convolution(pre: Tensor, error: Tensor, weight: Tensor) -> Tensor:
    """Σ over batch and places of pre_i e_j, as the weight of a convolution."""
    leaf = weight.detach().clone().requires_grad_()
    (found,) = torch.autograd.grad(F.conv2d(pre, leaf, padding=1), leaf, error)
    return found


def recorded(name: str, frames: Tensor, **options: object) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    network = small_network(weight_standardization=False)
    optimizer = Recorder()
    config = LearnerConfig(time_steps=len(frames), alpha=ALPHA)
    made(name, network, config, optimizer=optimizer, **options).learn(frames, TARGETS)
    return network.parameters, optimizer.recorded


def test_ndot_by_definition() -> None:
    frames = random_frames(6, 2, (2, 8, 8))
    p, found = recorded("ndot", frames)
    steps = history(p, frames)
    trace = steps[0]["s1"].clone()
    clamped = 0
    for t, (now, gradients) in enumerate(zip(steps, found, strict=True)):
        if t:
            before = steps[t - 1]
            for k in np.ndindex(*trace.shape):  # neuron by neuron
                rest, kept = float(before["u1"][k] - before["s1"][k]), float(now["u1"][k] - now["s1"][k])
                ratio = min(max(kept / rest, -0.5), 0.5) if rest else 0.5
                clamped += ratio in (-0.5, 0.5)
                trace[k] = ratio * trace[k] + now["s1"][k]
        e1, e2 = now["d1"] * surrogate(now["u1"]), now["d2"] * surrogate(now["u2"])
        expected = {
            "conv1.weight": of_convolution(now["x"], e1, p["conv1.weight"]),
            "conv1.bias": e1.sum((0, 2, 3)),
            "conv2.weight": of_convolution(pooled(trace), e2, p["conv2.weight"]),
            "conv2.bias": e2.sum((0, 2, 3)),
        }
        for key, value in expected.items():
            torch.testing.assert_close(gradients[key], value, rtol=0, atol=1e-13, msg=f"{t} {key}")
    assert 0 < clamped < 5 * trace.numel()


def test_ndot_traces_what_feedback_carried() -> None:
    """From the third step on the feedback's trace is NDOT's, not OTTT's; on the second both are the first spikes."""
    frames = random_frames(4, 2, (2, 8, 8))
    seen = []
    for name in ("ndot", "er"):  # with an empty memory er is OTTT_O
        optimizer = Recorder()
        method = made(name, small_network(topology="layers-f"), LearnerConfig(time_steps=4), optimizer=optimizer)
        method.learn(frames, TARGETS)
        seen.append([step["conv1.feedback.weight"] for step in optimizer.recorded])
    assert torch.equal(seen[0][1], seen[1][1]) and seen[0][1].abs().sum() > 0
    assert not torch.allclose(seen[0][2], seen[1][2])


def test_stllr_by_definition() -> None:
    frames = random_frames(6, 2, (2, 8, 8))
    p, found = recorded("stllr", frames, alpha_pre=-0.7, post_decay=0.3)
    steps = history(p, frames)
    for t, (now, gradients) in enumerate(zip(steps, found, strict=True)):
        for layer, inputs, pre in (
            ("conv1", [s["x"] for s in steps], now["x"]),  # the first layer's presynaptic factor is the input itself
            (
                "conv2",
                [pooled(s["s1"]) for s in steps],
                sum(0.5 ** (t - k) * pooled(steps[k]["s1"]) for k in range(t + 1)),
            ),
        ):
            u, d = f"u{layer[-1]}", f"d{layer[-1]}"
            error = now[d] * surrogate(now[u])
            weight = of_convolution(pre, error, p[f"{layer}.weight"])
            if t:
                post = sum(0.3 ** (t - 1 - k) * surrogate(steps[k][u]) for k in range(t))
                weight = weight - 0.7 * of_convolution(inputs[t], now[d] * post, p[f"{layer}.weight"])
            torch.testing.assert_close(gradients[f"{layer}.weight"], weight, rtol=0, atol=1e-13, msg=f"{t} {layer}")
            bias = error.sum((0, 2, 3))
            torch.testing.assert_close(gradients[f"{layer}.bias"], bias, rtol=0, atol=1e-13, msg=f"{t} {layer}")


@pytest.mark.parametrize(
    ("name", "topology"), [("ndot", "nf-resnet-18"), ("stllr", "nf-resnet-18"), ("stllr", "layers-f")]
)
def test_networks_that_a_rule_is_not_for_are_refused(name: str, topology: str, tmp_path: Path) -> None:
    network = {"topology": topology, "readout": "gap"}
    config = small_config(write_collection(tmp_path / "c.npz"), method={"name": name}, network=network)
    with pytest.raises(UsageError, match=r"network\.topology"):
        replay(config, tmp_path / "run", say=lambda line: None)


def test_an_error_delay_is_refused() -> None:
    with pytest.raises(UsageError, match="error_delay"):
        made("er", small_network(), LearnerConfig(error_delay=2))


def test_two_memories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="remembers by itself"):
        small_config(tmp_path / "c.npz", method={"name": "er"}, rehearsal={"mode": "ratio"})


# --- the optimizer ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lr", [1e-3, 10.0])
def test_obgd_by_definition(lr: float) -> None:
    """Three steps of T = 1, with a rate that never overshoots and one that always does."""
    config = LearnerConfig(time_steps=1, lr=lr, momentum=0.6)
    network, twin = small_network(), small_network()
    method = made("obgd", network, config, kappa=3.0)
    bptt = made("bptt", twin, config)  # on a single step its gradient is OTTT's
    z = {k: torch.zeros_like(v) for k, v in twin.parameters.items()}
    for k in range(3):
        frames = random_frames(1, 2, network.input_shape, seed=k)
        _, gradients = bptt.gradients(frames, TARGETS)
        z = {k: 0.6 * v + gradients[k] for k, v in z.items()}
        size = sum(v.abs().sum().item() for v in z.values())
        step = min(lr, lr / (lr * 3.0 * size))
        before = {k: v.clone() for k, v in twin.parameters.items()}
        for key, value in twin.parameters.items():
            value -= step * z[key]
        twin.weights_changed()
        method.learn(frames, TARGETS)
        for key, value in twin.parameters.items():
            torch.testing.assert_close(network.parameters[key], value, rtol=0, atol=1e-12, msg=key)
        moved = sum((v - before[k]).abs().sum().item() for k, v in network.parameters.items())
        assert moved == pytest.approx(1 / 3) if lr > 1 else moved < 1 / 3


@pytest.mark.parametrize("standardized", [True, False])
def test_continual_backprop_renews_the_channel_that_is_of_least_use(standardized: bool) -> None:
    network = small_network(weight_standardization=standardized, readout="flatten")
    config = LearnerConfig(time_steps=3, lr=0.01)
    method = made("cbp", network, config, renew=0.04, maturity=3)
    frames = random_frames(3, 2, network.input_shape)
    utility, start = torch.zeros(5).double(), network.parameters["conv2.bias"].clone()
    for _ in range(7):
        fired = torch.zeros(5).double()

        def note(u: Tensor, s: Tensor, fired: Tensor = fired) -> None:
            fired.add_(s.mean((0, 2, 3)) / 3)

        network.populations["conv2"].watch = note
        method.learn(frames, TARGETS)
        weight = network.parameters["readout.weight"]
        utility = 0.99 * utility + 0.01 * fired * weight.view(3, 5, 16).abs().sum((0, 2))
        torch.testing.assert_close(method.channels[1].utility.double(), utility, rtol=1e-4, atol=1e-7)
    # From the fourth sample on 0.2 of one channel is owed each time: the first is due at the eighth.
    network.populations["conv2"].watch = None
    assert (method.channels[1].age == 7).all()
    method.learn(frames, TARGETS)
    assert method.channels[1].age.tolist().count(0) == 1 and method.channels[0].age.tolist().count(0) == 0
    new = int(method.channels[1].age.argmin())
    assert new == int(utility.argmin())
    assert network.parameters["conv2.bias"][new] == 0 and start[new] != 0
    assert (network.parameters["readout.weight"].view(3, 5, 16)[:, new] == 0).all()
    buffers = method.optimizer.buffers["momentum"]
    assert (buffers["conv2.weight"][new] == 0).all() and (buffers["conv2.weight"] != 0).any()
    # Below, the renewed channel has no effect on the layer above, standardized or not.
    for _ in range(4):
        method.channels[0].age += 100
        for channel in method.channels[0].due(0.3, 100):
            method.channels[0].renew(channel, method.rng, method.optimizer)
            network.weights_changed()
            of_it = network.connections["conv2."].effective_weight[:, channel]
            assert of_it.abs().max() < 1e-12


# --- memories --------------------------------------------------------------------------------------------------------


def test_a_reservoir_keeps_each_sample_with_the_same_probability() -> None:
    rng = np.random.default_rng(0)
    kept = np.zeros(20)
    for _ in range(2000):
        memory = Reservoir(5)
        for k in range(20):
            memory.add(Sample(torch.zeros(1), k, torch.zeros(1)), rng)
        kept[[s.target for s in memory.kept]] += 1
        assert len({s.target for s in memory.draw(5, rng)}) == 5
    # 2000 draws at 1/4: a deviation of 19 in each count.
    assert np.abs(kept - 500).max() < 80


def test_er_learns_old_and_new_in_one_batch() -> None:
    config = LearnerConfig(time_steps=4, lr=0.1)
    frames = [random_frames(4, 2, (2, 8, 8), seed=k) for k in range(2)]
    one, two = small_network(), small_network()
    er, ottt = made("er", one, config), made("ottt_o", two, config)
    er.learn(frames[0], TARGETS)
    ottt.learn(frames[0], TARGETS)
    er.learn(frames[1], TARGETS.flip(0))
    remembered = [int(s.target) for s in er.memory.kept[:2]]
    assert remembered == TARGETS.tolist() and er.optimizer.steps == ottt.optimizer.steps + 4
    # The two remembered ones come in some order, which does not matter to the mean.
    ottt.learn(torch.cat([frames[1], frames[0]], dim=1), torch.cat([TARGETS.flip(0), TARGETS]))
    for key, value in two.parameters.items():
        torch.testing.assert_close(one.parameters[key], value, rtol=0, atol=1e-12, msg=key)


def test_derpp_by_definition() -> None:
    """On a single step the gradient is autograd's of the loss as the paper writes it."""
    config = LearnerConfig(time_steps=1, lr=0.1, momentum=0.0, alpha=0.0)
    network = small_network()
    method = made("derpp", network, config, der_alpha=0.4, der_beta=0.7)
    first, second = random_frames(1, 1, (2, 8, 8)), random_frames(1, 1, (2, 8, 8), seed=1)
    y, old = torch.tensor([1]), torch.tensor([2])
    then = method.learn(first, old)
    before = {k: v.clone() for k, v in network.parameters.items()}
    with network.differentiable(list(network.parameters)) as leaves:
        o, remembered = network.forward(torch.cat([second[0], first[0]]), learn=False)[0]
        value = F.cross_entropy(o[None], y) + 0.4 * ((remembered - then[0, 0]) ** 2).mean()
        value = value + 0.7 * F.cross_entropy(remembered[None], old)
        found = dict(zip(leaves, torch.autograd.grad(value, list(leaves.values())), strict=True))
    logits = method.learn(second, y)
    assert logits.shape == (1, 1, 3)
    for key, gradient in found.items():
        torch.testing.assert_close(network.parameters[key], before[key] - 0.1 * gradient, rtol=0, atol=1e-12, msg=key)


def test_gdumb_keeps_classes_in_balance_and_trains_from_the_start() -> None:
    config = LearnerConfig(time_steps=3, lr=0.1)
    network = small_network()
    start = {k: v.clone() for k, v in network.parameters.items()}
    gdumb = made("gdumb", network, config, memory=9)
    for label, n in ((0, 20), (1, 6), (2, 10)):
        for k in range(0, n, 2):
            gdumb.learn(random_frames(3, 2, (2, 8, 8), seed=k), torch.tensor([label, label]))
    assert sorted(s.target for s in gdumb.kept) == [0] * 3 + [1] * 3 + [2] * 3
    assert gdumb.optimizer.steps == 0 and all(torch.equal(v, start[k]) for k, v in network.parameters.items())
    twin = made("gdumb", small_network(), config, memory=9)
    twin.load_state_dict(gdumb.state_dict())
    for value in network.parameters.values():
        value.add_(0.5)  # what the weights are by then does not matter
    gdumb.before_test()
    twin.before_test()
    assert all(torch.equal(v, twin.network.parameters[k]) for k, v in network.parameters.items())
    # 36 samples were seen: four passes over nine, in batches of two.
    assert gdumb.optimizer.steps == 4 * 5 * 3
    fitted = {k: v.clone() for k, v in network.parameters.items()}
    gdumb.before_test()
    assert gdumb.optimizer.steps == 4 * 5 * 3 and all(torch.equal(v, fitted[k]) for k, v in network.parameters.items())
    gdumb.learn(random_frames(3, 2, (2, 8, 8)), torch.tensor([0, 0]))
    gdumb.before_test()
    assert gdumb.optimizer.steps == 4 * 5 * 3 + 3  # 38 samples: a last pass over two of them


# --- on frozen features ----------------------------------------------------------------------------------------------


def features_of(network, frames: Tensor) -> Tensor:
    """[batch, features]: the read-out's inputs, averaged over time."""
    seen = []
    network.connections["readout."].watch = lambda z, weight: seen.append(z)
    network.reset()
    for frame in frames:
        network.forward(frame, learn=False)
    network.connections["readout."].watch = None
    network.reset()
    return torch.stack(seen).mean(0)


@pytest.mark.parametrize("name", ["ncm", "slda"])
def test_classifiers_on_features_by_definition(name: str) -> None:
    network = small_network(layers=(6,), threshold=0.5)
    method = made(name, network, LearnerConfig(time_steps=3))
    below = {k: v.clone() for k, v in network.parameters.items() if not k.startswith("readout")}
    z, labels = [], []
    for k in range(30):
        frames, targets = random_frames(3, 2, (2, 8, 8), seed=k), torch.tensor([k % 2, 1])
        frames[:, targets == 1] *= 1.5
        z.append(features_of(network, frames))
        labels.append(targets)
        method.learn(frames, targets)
    features, known = torch.cat(z), torch.cat(labels)
    means, counts = torch.zeros(2, 6).double(), torch.zeros(2)
    sigma = torch.zeros(6, 6).double()
    for total, (one, label) in enumerate(zip(features, known.tolist(), strict=True)):
        off = (one - means[label])[:, None]
        sigma = (total * sigma + total * (off @ off.T) / (total + 1)) / (total + 1)
        means[label] = (counts[label] * means[label] + one) / (counts[label] + 1)
        counts[label] += 1
    torch.testing.assert_close(means, torch.stack([features[known == k].mean(0) for k in (0, 1)]))
    precision = torch.eye(6).double() if name == "ncm" else ((1 - 1e-4) * sigma + 1e-4 * torch.eye(6)).inverse()
    frames = random_frames(3, 40, (2, 8, 8), seed=99)
    frames[:, ::2] *= 1.5
    off = features_of(network, frames)[:, None] - means
    nearest = torch.einsum("bki,ij,bkj->bk", off, precision, off).argmin(1)
    said = method.predict(frames).mean(0)
    assert torch.equal(said[:, :2].argmax(1), nearest)
    assert (said[:, 2] < -1e8).all()  # the third class was never seen
    assert name == "ncm" or torch.allclose(method.covariance, sigma)
    assert 0 < nearest.sum() < 40
    assert all(torch.equal(network.parameters[k], v) for k, v in below.items())


# --- all of them -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_collection(tmp_path_factory.mktemp("data") / "two.npz", 60)


LEARNED_ELSEWHERE = ("ottt_o", "ottt_a", "bptt", "sltt", "frozen")


@pytest.mark.parametrize("name", sorted(set(METHODS.names()) - set(LEARNED_ELSEWHERE)))
def test_it_learns_something(name: str, collection: Path, tmp_path: Path) -> None:
    """40 samples of two classes, once; chance is a half. SLDA has 256 features, more than samples."""
    protocol = {"name": "prequential", "interval": 40}
    learner, data = {"lr": 1.0 if name == "obgd" else 0.01}, {"test": 20}
    config = small_config(collection, method={"name": name}, protocol=protocol, learner=learner, data=data)
    result = replay(config, tmp_path / name, say=lambda line: None)
    assert result["held_out_accuracy"] >= (0.75 if name == "slda" else 0.9)


class Killed(BaseException):
    """What ends a run in the middle."""


@pytest.mark.parametrize("name", ["derpp", "gdumb", "slda", "obgd"])
def test_a_killed_run_remembers_what_its_method_did(name: str, collection: Path, tmp_path: Path) -> None:
    protocol = {"name": "class-incremental", "block": 1}
    config = small_config(collection, method={"name": name, "memory": 6}, protocol=protocol)
    whole = replay(config, tmp_path / "whole", say=lambda line: None)

    def stop(line: str) -> None:
        raise Killed

    with pytest.raises(Killed):
        replay(config, tmp_path / "cut", say=stop)
    resumed = replay(config, tmp_path / "cut", say=lambda line: None)
    assert (resumed["matrix"], resumed["prequential"]) == (whole["matrix"], whole["prequential"])
    left = [p.name for p in (tmp_path / "cut").glob("method-*")]
    assert left == ["method-2.safetensors"]


RULE = """
from stream_ottt.network.optimizer import GradientSum
from stream_ottt.replay.methods.base import Method


class MyRule(Method):
    name = "sign"
    every_step = True

    def learn(self, frames, targets):
        import torch
        import torch.nn.functional as F

        self.network.reset()
        logits = []
        for frame in frames:
            out, saved = self.network.forward(frame, learn=True)
            sums = GradientSum()
            self.network.backward(out.softmax(1) - F.one_hot(targets, out.shape[1]), saved, sums)
            self.update({name: 0.01 * value.sign() for name, value in sums.sums.items()})
            logits.append(out)
        self.network.reset()
        return torch.stack(logits)
"""


def test_a_rule_of_one_s_own(
    collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rule.py").write_text(RULE)
    method = f"{tmp_path / 'rule.py'}:MyRule"
    check_method(find_method(method))
    words = ["replay", "--data", str(collection), "--method", method, "--out", str(tmp_path / "run")]
    words += ["--data.window", "10ms", "--data.time_steps", "4", "--data.test", "8", "--data.cache", "off"]
    words += ["--network.layers", "4", "--network.readout", "flatten", "--report.figures", "false"]
    words += ["--protocol", "prequential"]
    monkeypatch.setattr(sys, "argv", ["stream-ottt", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "MyRule" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "result.json").read_text())["held_out_accuracy"] >= 0.85
