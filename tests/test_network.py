"""The parts of a network: weight standardization, neurons, neuron dropout, named topologies."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.function import Function, FunctionCtx

from stream_ottt.errors import UsageError
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.connection import Connection
from stream_ottt.network.layers import AvgPool, ReadOut, SpikingConv
from stream_ottt.network.network import Network, Work
from stream_ottt.network.neurons import NeuronModel, Neurons
from stream_ottt.network.optimizer import GradientSum
from stream_ottt.network.saved import LayerState, Saved
from stream_ottt.network.topologies import build_network
from stream_ottt.network.weights import ScaledStandardization

pytestmark = pytest.mark.usefixtures("one_thread")

SCALE = 2.74

# --- Scaled weight standardization ------------------------------------------------------------------------------------


class Standardized(Function):
    """Our forward and backward as torch's, so that its own checks can be run on them."""

    @staticmethod
    def forward(ctx: FunctionCtx, weight: Tensor, gain: Tensor) -> Tensor:
        ctx.save_for_backward(weight, gain)
        return ScaledStandardization(weight, gain).weight

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        return ScaledStandardization(*ctx.saved_tensors).backward(grads[0])


@pytest.mark.parametrize("shape", [(3, 2, 3, 3), (4, 1, 5, 5), (2, 6, 1, 1), (1, 2, 1, 1)])
def test_sws_forward_and_backward(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(shape, generator=generator, dtype=torch.float64).mul_(0.2).add_(0.05).requires_grad_()
    gain = torch.rand((shape[0], 1, 1, 1), generator=generator, dtype=torch.float64).add_(0.5).requires_grad_()
    var, mean = torch.var_mean(weight, (1, 2, 3), keepdim=True)
    expected = gain * (weight - mean) / torch.sqrt(var * weight[0].numel() + 1e-4)
    torch.testing.assert_close(Standardized.apply(weight, gain), expected, rtol=0, atol=1e-12)
    out = torch.randn(shape, generator=generator, dtype=torch.float64)
    wanted = torch.autograd.grad(expected, (weight, gain), out)
    found = ScaledStandardization(weight.detach(), gain.detach()).backward(out)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
    # Ŵ does not see a constant added to W, so its gradient has no component along one.
    assert found[0].sum((1, 2, 3)).abs().max() < 1e-10
    assert torch.autograd.gradcheck(Standardized.apply, (weight, gain))


def test_sws_follows_its_weights_once_told() -> None:
    weight, gain = torch.randn(2, 2, 3, 3, dtype=torch.float64), torch.ones(2, 1, 1, 1, dtype=torch.float64)
    standard = ScaledStandardization(weight, gain)
    before = standard.weight.clone()
    weight[0, 0] += 1.0
    gain *= 2
    standard.changed()
    assert torch.equal(standard.weight, ScaledStandardization(weight, gain).weight)
    assert not torch.equal(standard.weight, before)


# --- Neurons ----------------------------------------------------------------------------------------------------------


def test_a_long_silence_ends_at_rest() -> None:
    network = build_network(NetworkConfig(layers=(4, "AP2", 4), input_trace=True), input_shape=(2, 4, 4), classes=3)
    for _ in range(5):
        network.forward(torch.full((1, 2, 4, 4), 3.0), learn=True)
    weighted = [i for i, layer in enumerate(network.layers) if layer.connections]
    assert all(network.state.saved[i].pre.any() for i in weighted)
    for _ in range(180):  # float32 passes through its denormals on the way
        logits, saved = network.forward(torch.zeros(1, 2, 4, 4), learn=True)
    assert not logits.any() and not any(saved[i].pre.any() for i in weighted)
    for layer in network.state.layers:
        assert not any(neurons.u.any() or neurons.s.any() for neurons in layer.neurons)
    found = GradientSum()
    network.backward(torch.ones(1, 3), saved, found)
    assert found.sums and all(value.isfinite().all() for value in found.sums.values())


def population(decay: float = 0.5) -> Neurons:
    return Neurons(NeuronModel(decay=decay), scale=1.0, generator=torch.Generator())


@pytest.mark.parametrize("decay", [0.0, 0.9, 0.99])
def test_a_long_silence_fades_at_any_decay(decay: float) -> None:
    """With a large λ, rounding may hold a value at a few hundred of the smallest denormals."""
    neurons, silence = population(decay), torch.zeros(4)
    connection = Connection(torch.zeros(1, 4), torch.zeros(1), decay=decay)
    state, before = neurons.rest(), Saved()
    before.pre = neurons.forward(torch.tensor([0.3, 5.0, -5.0, 1e30]), state, None)
    for _ in range(20_000):
        spikes, saved = neurons.forward(silence, state, None), Saved()
        saved.pre = connection.presynaptic(spikes, before, saved)
        before = saved
    assert state.u is not None and state.s is not None
    assert state.u.abs().max() < 1e-42 and not state.s.any() and before.pre.abs().max() < 1e-42


def test_a_step_leaves_older_tensors_as_they_were() -> None:
    neurons, kept = population(), []
    state = neurons.rest()
    for t in range(6):
        neurons.forward(torch.full((3,), 0.7 + t / 10), state, None)
        kept.append((state.u, state.s, state.u.clone(), state.s.clone()))
    assert all(torch.equal(u, u_then) and torch.equal(s, s_then) for u, s, u_then, s_then in kept)


def test_a_neuron_at_the_threshold_fires() -> None:
    neurons = population()
    assert neurons.forward(torch.tensor([1.0, 0.999]), neurons.rest(), None).tolist() == [1, 0]


def test_traces_start_over_after_steps_that_were_only_watched() -> None:
    """Of the input as of the neurons: a stale trace must not meet today's spikes."""
    frame = torch.rand(1, 2, 7, 6, dtype=torch.float64) * 2
    config = NetworkConfig(layers=(3, 3), input_trace=True)
    network = build_network(config, input_shape=(2, 7, 6), classes=3, dtype=torch.float64)
    network.forward(frame, learn=True)
    assert not network.forward(frame, learn=False)[1]
    _, saved = network.forward(frame, learn=True)
    assert torch.equal(saved[0].pre, frame)
    assert torch.equal(saved[1].pre, network.state.layers[0].neurons[0].s * SCALE)


# --- Neuron dropout ---------------------------------------------------------------------------------------------------


def dropout_layer(seed: int = 0, p: float = 0.4) -> SpikingConv:
    weight = torch.randn(6, 2, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    bias, gain = torch.full((6,), 0.5, dtype=torch.float64), torch.ones(6, 1, 1, 1, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    neurons = Neurons(NeuronModel(dropout=p), scale=SCALE, generator=generator)
    return SpikingConv(Connection(weight, bias, gain, decay=0.5), neurons)


def watch(
    layer: SpikingConv, steps: int, learn: bool = True, state: LayerState | None = None
) -> list[tuple[Tensor, Saved, Tensor]]:
    """(output, saved tensors, spikes) of each timestep."""
    generator = torch.Generator().manual_seed(2)
    state, out = state or layer.rest(), []
    for _ in range(steps):
        x = torch.rand((2, 2, 8, 8), generator=generator, dtype=torch.float64) * 2
        saved = Saved()
        output = layer.forward(x, state, saved if learn else None, Work())
        state.before = saved if learn else None
        out.append((output, saved, state.neurons[0].s))
    return out


def test_dropout_holds_one_mask_for_a_sample() -> None:
    layer = dropout_layer()
    state = layer.rest()
    seen = watch(layer, 6, state=state)
    dropped = seen[0][1].f == 0  # the sigmoid's derivative is never zero itself
    assert 0.3 < dropped.double().mean() < 0.5
    assert not torch.equal(dropped[0], dropped[1]), "each of a batch has its own mask"
    for output, saved, spikes in seen:
        assert torch.equal(saved.f == 0, dropped)
        expected = torch.where(dropped, 0.0, spikes * SCALE / 0.6)
        torch.testing.assert_close(output, expected, rtol=1e-15, atol=0)
        assert (output[dropped] == 0).all()
    assert any((output[~dropped] > 0).any() for output, _, _ in seen)
    again = dropout_layer()
    assert torch.equal(watch(again, 1)[0][1].f == 0, dropped), "the seed decides"
    assert not torch.equal(watch(dropout_layer(seed=5), 1)[0][1].f == 0, dropped)
    state.reset()
    assert not torch.equal(watch(layer, 1, state=state)[0][1].f == 0, dropped), "a new sample draws anew"


def test_dropped_neurons_learn_nothing_and_pass_nothing_down() -> None:
    layer = dropout_layer()
    _, saved, _ = watch(layer, 3)[-1]
    dropped, found = (saved.f == 0).double(), GradientSum()
    below = layer.backward(dropped, saved, Work(), down=True, sink=found)
    assert not below.any() and found.sums
    assert not any(value.any() for value in found.sums.values())
    assert layer.backward(1 - dropped, saved, Work(), down=True, sink=None).any()


def test_dropout_is_for_learning_only() -> None:
    for output, _, spikes in watch(dropout_layer(), 3, learn=False):
        assert torch.equal(output, spikes * SCALE)
    plain, dropping = (watch(dropout_layer(p=p), 3, learn=False) for p in (0.0, 0.4))
    for a, b in zip(plain, dropping, strict=True):
        assert torch.equal(a[0], b[0])


def test_a_network_shows_its_layers_shapes_and_parameters() -> None:
    network = build_network(NetworkConfig(layers=(4, "AP2", "5C5")), input_shape=(2, 8, 8), classes=3)
    assert repr(network) == (
        "Network(input 2×8×8, 608 parameters)\n"
        "  conv1: SpikingConv (weight 4×2×3×3, bias 4, gain 4×1×1×1)\n"
        "  pool1: AvgPool 2\n"
        "  conv2: SpikingConv (weight 5×4×5×5, bias 5, gain 5×1×1×1)\n"
        "  readout: ReadOut (weight 3×5, bias 3)"
    )


# --- Topologies -------------------------------------------------------------------------------------------------------


def vgg(topology: str, classes: int = 10) -> Network:
    return build_network(NetworkConfig(topology=topology), input_shape=(3, 8, 8), classes=classes, seed=7)


def test_vgg_sizes_and_vgg_f_starts_as_vgg() -> None:
    """The paper gives 9.2 M parameters for 10 classes and 9.3 M for 100."""
    plain, fed = vgg("vgg"), vgg("vgg-f")
    widths = [3, 64, 128, 256, 256, 512, 512, 512, 512]
    convs = sum(9 * a * b + 2 * b for a, b in pairwise(widths))  # weights, bias and gain
    assert plain.size == convs + 512 * 10 + 10 == 9_228_362
    assert vgg("vgg", 100).size == convs + 512 * 100 + 100 == 9_274_532
    assert fed.size == plain.size + 64 * 512 * 9 + 64 == 9_523_338

    for name in plain.parameters:
        if name.endswith("bias"):  # lively enough that spikes reach the top of so small an image
            plain.parameters[name].fill_(0.5)
            fed.parameters[name].fill_(0.5)
    frame = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 3
    for t in range(5):
        if t == 4:
            fed.parameters["conv1.feedback.weight"].normal_(generator=torch.Generator().manual_seed(0))
            fed.weights_changed()
        a, b = (network.forward(frame, learn=False)[0] for network in (plain, fed))
        assert torch.equal(a, b) == (t < 4)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"topology": "vggf"}, "did you mean 'vgg-f'?"),
        ({"topology": "layer"}, "did you mean 'layers'?"),
        ({"topology": "transformer"}, "known: layers, layers-f,"),
        ({"layers": (16, "MP2")}, "'MP2' is no layer"),
        ({"layers": ("8C4",)}, "'8C4' is no layer"),
        ({"layers": (0,)}, "0 is no layer"),
        ({"layers": ("AP2",)}, "at least one convolution"),
        ({"layers": (4, "AP16")}, "AP16 meets an image of 8×8"),
        ({"layers": (1, "4C1")}, "cannot be standardized"),
    ],
)
def test_a_network_that_cannot_be_built_says_why(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=r"^network\.") as e:
        build_network(NetworkConfig(**values), input_shape=(1, 8, 8), classes=2)
    assert said in str(e.value) and "\n" not in str(e.value)


def test_more_layers_than_any_network_has_are_refused_before_they_are_built() -> None:
    with pytest.raises(UsageError, match=r"^key 'layers': .*at most 1000 items"):
        NetworkConfig.load({"layers": [2] * 100_000})


@pytest.mark.parametrize("text", ["16-AP2-32C5", "16, AP2, 32C5", "[16, 'AP2', \"32C5\"]"])
def test_layers_as_people_write_them(text: str) -> None:
    network = build_network(
        NetworkConfig.load({"layers": text, "readout": "flatten"}), input_shape=(2, 9, 8), classes=3
    )
    conv1, pool1, conv2, readout = network.layers
    assert isinstance(conv1, SpikingConv) and conv1.parameters["weight"].shape == (16, 2, 3, 3)
    assert isinstance(pool1, AvgPool) and pool1.size == 2
    assert isinstance(conv2, SpikingConv) and conv2.parameters["weight"].shape == (32, 16, 5, 5)
    assert isinstance(readout, ReadOut) and readout.parameters["weight"].shape == (3, 32 * 4 * 4)
