"""The methods against their definitions, each written out here on its own with autograd."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from replay.helpers import random_frames, small_network, small_residual
from torch import Tensor

from stream_ottt.learning.config import LearnerConfig
from stream_ottt.network.config import NetworkConfig, OptimizerConfig
from stream_ottt.network.connection import Connection
from stream_ottt.network.network import Network
from stream_ottt.network.optimizer import SGD, GradientSum, build_optimizer
from stream_ottt.network.topologies import build_network
from stream_ottt.network.weights import ScaledStandardization
from stream_ottt.replay.analysis.alignment import bptt_gradient, cosine, measure_alignment, ottt_gradient
from stream_ottt.replay.config import MethodConfig
from stream_ottt.replay.methods import METHODS
from stream_ottt.replay.methods.base import Method

NETWORKS: dict[str, Callable[[], Network]] = {
    "layers": small_network,
    "without standardization": lambda: small_network(weight_standardization=False),
    "flat read-out, rectangular": lambda: small_network(readout="flatten", surrogate="rectangular"),
    "feedback": lambda: small_network(topology="layers-f"),
    "residual": small_residual,
}
TARGETS = torch.tensor([2, 0])


def method_of(name: str, network: Network, config: LearnerConfig, **options: object) -> Method:
    method: Method = METHODS.get(name)(
        network, build_optimizer(config), config, MethodConfig(name=name, **options), batch_size=2
    )
    return method


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_on_a_single_step_bptt_is_ottt(make: Callable[[], Network]) -> None:
    config = LearnerConfig(time_steps=1, lr=0.1, momentum=0.9, alpha=0.3)
    after = {}
    for name in ("ottt_o", "ottt_a", "bptt", "sltt"):
        network = make()
        frames = random_frames(1, 2, network.input_shape)
        before = {k: v.clone() for k, v in network.parameters.items()}
        logits = method_of(name, network, config).learn(frames, TARGETS)
        assert logits.shape == (1, 2, 3)
        after[name] = network.parameters
        # On the first step the feedback connection has carried nothing yet.
        assert all((before[k] != v).any() for k, v in after[name].items() if "feedback" not in k)
    for name, parameters in after.items():
        for key, value in parameters.items():
            torch.testing.assert_close(value, after["ottt_o"][key], rtol=0, atol=1e-13, msg=f"{name} {key}")


class Heaviside(torch.autograd.Function):
    """A spike with k σ (1 - σ), k = 4, V_th = 1."""

    @staticmethod
    def forward(ctx, u):
        ctx.save_for_backward(u)
        return (u >= 1).to(u.dtype)

    @staticmethod
    def backward(ctx, grad):
        (u,) = ctx.saved_tensors
        e = torch.exp(-4 * (u - 1))
        return grad * 4 * e / (1 + e) ** 2


def bptt_by_definition(p: dict[str, Tensor], frames: Tensor, cut: int | None) -> Tensor:
    """Mean loss over T of the network conv1 - AP2 - conv2 - GAP - FC without standardization, α = 0.3; the graph is cut
    after every ``cut`` steps."""
    u1 = s1 = u2 = s2 = torch.zeros(1, dtype=torch.float64)
    total = torch.zeros(1, dtype=torch.float64)
    for t, x in enumerate(frames):
        if cut and t % cut == 0:
            u1, s1, u2, s2 = u1.detach(), s1.detach(), u2.detach(), s2.detach()
        u1 = 0.5 * (u1 - s1.detach()) + F.conv2d(x, p["conv1.weight"], p["conv1.bias"], padding=1)
        s1 = Heaviside.apply(u1)
        below = s1.reshape(2, 4, 4, 2, 4, 2).mean((3, 5))
        u2 = 0.5 * (u2 - s2.detach()) + F.conv2d(below, p["conv2.weight"], p["conv2.bias"], padding=1)
        s2 = Heaviside.apply(u2)
        out = s2.mean((2, 3)) @ p["readout.weight"].T + p["readout.bias"]
        onehot = torch.eye(3, dtype=torch.float64)[TARGETS]
        entropy = -(onehot * (out - out.logsumexp(1, keepdim=True))).sum(1).mean()
        total = total + 0.7 * entropy + 0.3 * ((out - onehot) ** 2).mean()
    return total / len(frames)


@pytest.mark.parametrize(("name", "truncation", "cut"), [("bptt", None, None), ("bptt", 2, 2), ("sltt", None, 1)])
def test_gradients_by_definition(name: str, truncation: int | None, cut: int | None) -> None:
    network = small_network(weight_standardization=False)
    frames = random_frames(5, 2, network.input_shape)
    leaves = {k: v.clone().requires_grad_() for k, v in network.parameters.items()}
    bptt_by_definition(leaves, frames, cut).backward()
    method = method_of(name, network, LearnerConfig(time_steps=5, alpha=0.3), truncation=truncation)
    before = {k: v.clone() for k, v in network.parameters.items()}
    _, gradients = method.gradients(frames, TARGETS)
    assert set(gradients) == set(leaves)
    for key, leaf in leaves.items():
        torch.testing.assert_close(gradients[key], leaf.grad, rtol=0, atol=1e-14, msg=key)
    # One optimizer step for the whole batch.
    method.learn(frames, TARGETS)
    for key, leaf in leaves.items():
        expected = before[key] - method.config.lr * leaf.grad
        torch.testing.assert_close(network.parameters[key], expected, rtol=0, atol=1e-14, msg=key)


def three_factors(network: Network, frames: Tensor) -> dict[str, Tensor]:
    """OTTT by autograd: values from spikes, weight gradients from traces, credit by this step's surrogate alone."""
    traces: dict[str, Tensor] = {}

    def detach_history(name, neurons):
        forward = neurons.forward

        def fire(current, state, saved):
            state.u = None if state.u is None else state.u.detach()
            s = forward(current, state, saved)
            traces[name] = s.detach() + 0.5 * traces.get(name, torch.zeros_like(s))
            s.carrier = traces[name] + (s - s.detach())
            return s

        neurons.forward = fire

    def split(connection):
        forward = connection.forward

        def conv(x, work, add=None):
            spikes = forward(x.detach(), work)
            if not hasattr(x, "carrier"):
                return forward(x, work)
            traced = forward(x.carrier, work)
            return traced + (spikes - traced).detach()

        connection.forward = connection.current = conv

    for name, neurons in network.populations.items():
        detach_history(name, neurons)
    for connection in network.connections.values():
        if isinstance(connection, Connection):
            split(connection)
    found = GradientSum()
    with network.differentiable(list(network.parameters)) as leaves:
        for x in frames:
            value = F.cross_entropy(network.forward(x, learn=False)[0], TARGETS) / len(frames)
            for name, gradient in zip(leaves, torch.autograd.grad(value, list(leaves.values())), strict=True):
                found.update(name, leaves[name], gradient)
            network.detach()
    return found.sums


def test_residual_blocks_follow_the_three_factor_rule_over_time() -> None:
    network = small_residual()
    frames = random_frames(4, 2, network.input_shape)
    config = LearnerConfig(time_steps=4, alpha=0.0)
    ours = ottt_gradient(network, frames, TARGETS, config)
    expected = three_factors(small_residual(), frames)
    assert set(ours) == set(expected)
    for key, value in expected.items():
        torch.testing.assert_close(ours[key], value, rtol=0, atol=1e-13, msg=key)
    assert (
        cosine(ours["block1.first_weight"], bptt_gradient(network, frames, TARGETS, config)["block1.first_weight"]) < 1
    )


def test_delayed_errors_reach_into_residual_blocks() -> None:
    """With a delay of one step in ``snapshot`` mode, the gradients are those without delay, one step late."""
    frames = random_frames(3, 2, (2, 9, 9))
    seen = []
    for delay in (0, 1):
        network = small_residual()
        config = LearnerConfig(time_steps=3, lr=0.0, error_delay=delay, delay_mode="snapshot")
        recorded: list[dict[str, Tensor]] = []

        class Recorder(SGD):
            def begin(self, recorded=recorded) -> None:
                recorded.append({})

            def update(self, name, parameter, gradient, recorded=recorded) -> None:
                recorded[-1][name] = gradient.clone()

        method = METHODS.get("ottt_o")(network, Recorder(OptimizerConfig()), config, MethodConfig(), batch_size=2)
        method.learn(frames, TARGETS)
        seen.append(recorded)
    assert len(seen[0]) == 3 and len(seen[1]) == 2
    for prompt, late in zip(seen[0], seen[1], strict=False):
        for key, value in prompt.items():
            torch.testing.assert_close(late[key], value, rtol=0, atol=1e-14, msg=key)


def test_gradients_leave_the_network_as_it_was() -> None:
    for make in NETWORKS.values():
        network, other = make(), make()
        frames = random_frames(4, 2, network.input_shape)
        before = {k: v.clone() for k, v in network.parameters.items()}
        logits, _ = method_of("bptt", network, LearnerConfig(time_steps=4)).gradients(frames, TARGETS)
        expected = method_of("bptt", other, LearnerConfig(time_steps=4)).predict(frames)
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-12)
        assert all((before[k] == v).all() and not v.requires_grad for k, v in network.parameters.items())
        torch.testing.assert_close(network.forward(frames[0], learn=False)[0], expected[0], rtol=0, atol=1e-12)


def test_one_dropout_mask_for_all_timesteps_and_methods() -> None:
    config = LearnerConfig(time_steps=1, lr=0.1)
    after = []
    for name in ("ottt_o", "bptt"):
        network = small_residual(dropout=0.5)
        method_of(name, network, config).learn(random_frames(1, 2, network.input_shape), TARGETS)
        after.append(network.parameters)
    for key, value in after[0].items():
        torch.testing.assert_close(value, after[1][key], rtol=0, atol=1e-13, msg=key)


def test_frozen_features_stay_and_the_read_out_learns() -> None:
    network = small_network()
    before = {k: v.clone() for k, v in network.parameters.items()}
    method = method_of("frozen", network, LearnerConfig(time_steps=3, lr=0.1))
    method.learn(random_frames(3, 2, network.input_shape), TARGETS)
    changed = {k for k, v in network.parameters.items() if (before[k] != v).any()}
    assert changed == {"readout.weight", "readout.bias"}
    assert method.optimizer.steps == 3


def test_ottt_credits_the_layer_below_the_read_out_as_bptt_does() -> None:
    """Above it nothing remembers, so there the trace is exact; further down it is not, yet points the same way."""
    network = small_network(layers=(4, 4, 4))
    frames = random_frames(6, 2, network.input_shape)
    found = measure_alignment(network, frames, TARGETS, LearnerConfig(time_steps=6))
    assert found["bptt"]["conv3.weight"] == pytest.approx(1, abs=1e-9)
    for key in ("conv1.weight", "conv2.weight"):
        assert 0.2 < found["bptt"][key] < 0.999
    assert set(found["representation"]) == set(found["bptt"])


def test_representation_gradient_of_neurons_that_fire_evenly() -> None:
    """With inputs so even that every neuron keeps to its rate, the read-out's gradient is that of the rates."""
    network = small_network(layers=(4,), weight_standardization=False)
    for name, value in network.parameters.items():
        if name == "conv1.weight":
            value.zero_()
        elif name == "conv1.bias":
            value.copy_(torch.tensor([2.0, -1.0, 2.0, -1.0]))  # always, never, always, never
    network.weights_changed()
    frames = torch.zeros(4, 2, 2, 8, 8, dtype=torch.float64)
    found = measure_alignment(network, frames, TARGETS, LearnerConfig(time_steps=4))
    assert found["representation"]["readout.weight"] == pytest.approx(1, abs=1e-9)
    assert found["representation"]["conv1.weight"] is None  # no input, no gradient


def test_standardization_is_differentiable_as_it_says() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 2, 3, 3, generator=generator, dtype=torch.float64)
    gain = torch.rand(3, 1, 1, 1, generator=generator, dtype=torch.float64)
    leaves = weight.clone().requires_grad_(), gain.clone().requires_grad_()
    effective = ScaledStandardization(*leaves).weight
    stored = ScaledStandardization(weight, gain)
    torch.testing.assert_close(effective.detach(), stored.weight, rtol=0, atol=1e-14)
    error = torch.randn(effective.shape, generator=generator, dtype=torch.float64)
    effective.backward(error)
    for ours, leaf in zip(stored.backward(error), leaves, strict=True):
        torch.testing.assert_close(ours, leaf.grad, rtol=0, atol=1e-13)


def test_parameter_counts_are_the_paper_s() -> None:
    for topology, classes, count in (("vgg", 10, 9.2e6), ("vgg", 100, 9.3e6), ("vgg-f", 10, 9.6e6)):
        config = NetworkConfig(topology=topology)
        network = build_network(config, input_shape=(3, 32, 32), classes=classes, dtype=torch.float16)
        assert abs(network.size - count) < 0.01 * count, (topology, network.size)


def test_nf_resnet_34_as_the_paper_describes_it() -> None:
    config = NetworkConfig(topology="nf-resnet-34")
    network = build_network(config, input_shape=(3, 32, 32), classes=1000, dtype=torch.float16)
    assert abs(network.size - 22e6) < 0.02 * 22e6
    blocks = {n: layer for n, layer in zip(network.names, network.layers, strict=True) if n.startswith("block")}
    assert len(blocks) == 16
    assert [n for n, b in blocks.items() if b.shortcut is not None] == ["block2_1", "block3_1", "block4_1"]
    # The expected variance grows by 0.2² a block and begins anew after each that downsamples.
    squares = {name: round(block.first_neurons.input_scale**-2, 6) for name, block in blocks.items()}
    assert squares["block1_1"] == 1 and squares["block1_2"] == 1.04
    assert squares["block2_1"] == 1.12 and squares["block2_2"] == 1.04
    assert all((block.parameters["skip_gain"] == 0).all() for block in blocks.values())
