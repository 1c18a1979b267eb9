"""The parts of a network: weight standardization, neurons, neuron dropout, named topologies."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.function import Function, FunctionCtx

from stream_ottt.errors import UsageError
from stream_ottt.network.layers import AvgPool, Memo, ReadOut, Signal
from stream_ottt.network.network import Network
from stream_ottt.network.neurons import NeuronModel, lif_step
from stream_ottt.network.spiking_conv import SpikingConv
from stream_ottt.network.topologies import NetworkConfig, build_network
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
    spiking = [layer for layer in network.layers if isinstance(layer, SpikingConv)]
    assert all(layer.state()[0].trace.any() for layer in spiking)
    for _ in range(180):  # float32 passes through its denormals on the way
        logits, memos = network.forward(torch.zeros(1, 2, 4, 4), learn=True)
    assert not logits.any() and not memos[0].pre.any()
    for layer in spiking:
        state = layer.state()[0]
        assert not state.u.any() and not state.s.any() and not state.trace.any()
    for gradient in network.sweep(torch.ones(1, 3), memos):
        assert all(value.isfinite().all() for _, _, value in gradient.items)


@pytest.mark.parametrize("decay", [0.0, 0.9, 0.99])
def test_a_long_silence_fades_at_any_decay(decay: float) -> None:
    """With a large λ, rounding may hold a value at a few hundred of the smallest denormals."""
    silence = torch.zeros(4)
    state = lif_step(torch.tensor([0.3, 5.0, -5.0, 1e30]), None, decay=decay, threshold=1.0, track=True)
    for _ in range(20_000):
        state = lif_step(silence, state, decay=decay, threshold=1.0, track=True)
    assert state.trace is not None
    assert state.u.abs().max() < 1e-42 and not state.s.any() and state.trace.abs().max() < 1e-42


def test_a_step_leaves_older_tensors_as_they_were() -> None:
    state, kept = None, []
    for t in range(6):
        current = torch.full((3,), 0.7 + t / 10)
        state = lif_step(current, state, decay=0.5, threshold=1.0, track=True)
        kept.append((state, state.u.clone(), state.s.clone(), state.trace.clone() if state.trace is not None else None))
    for old, u, s, trace in kept:
        assert torch.equal(old.u, u) and torch.equal(old.s, s)
        assert old.trace is not None and trace is not None and torch.equal(old.trace, trace)


def test_a_neuron_at_the_threshold_fires() -> None:
    state = lif_step(torch.tensor([1.0, 0.999]), None, decay=0.5, threshold=1.0, track=False)
    assert state.s.tolist() == [1, 0] and state.trace is None


def test_traces_start_over_after_steps_that_were_only_watched() -> None:
    """Of the input as of the neurons: a stale trace must not meet today's spikes."""
    frame = torch.rand(1, 2, 7, 6, dtype=torch.float64) * 2
    config = NetworkConfig(layers=(3, 3), input_trace=True)
    network = build_network(config, input_shape=(2, 7, 6), classes=3, dtype=torch.float64)
    network.forward(frame, learn=True)
    assert network.forward(frame, learn=False)[1] == []
    _, memos = network.forward(frame, learn=True)
    assert torch.equal(memos[0].pre, frame)
    spikes = network.layers[0].state()[0].s * SCALE
    assert torch.equal(memos[1].pre, spikes)


# --- Neuron dropout ---------------------------------------------------------------------------------------------------


def dropout_layer(seed: int = 0, p: float = 0.4) -> SpikingConv:
    return SpikingConv(
        torch.randn(6, 2, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64),
        torch.full((6,), 0.5, dtype=torch.float64),
        NeuronModel(dropout=p),
        gain=torch.ones(6, 1, 1, 1, dtype=torch.float64),
        generator=torch.Generator().manual_seed(seed),
    )


def watch(layer: SpikingConv, steps: int, learn: bool = True) -> list[tuple[Signal, Memo, Tensor]]:
    generator = torch.Generator().manual_seed(2)
    out = []
    for _ in range(steps):
        x = torch.rand((2, 2, 8, 8), generator=generator, dtype=torch.float64) * 2
        memo = Memo()
        signal = layer.forward(Signal(x, x), memo if learn else None)
        out.append((signal, memo, layer.state()[0].s))
    return out


def test_dropout_holds_one_mask_for_a_sample() -> None:
    layer = dropout_layer()
    seen = watch(layer, 6)
    dropped = seen[0][1].f == 0  # the sigmoid's derivative is never zero itself
    assert 0.3 < dropped.double().mean() < 0.5
    assert not torch.equal(dropped[0], dropped[1]), "each of a batch has its own mask"
    for signal, memo, spikes in seen:
        assert torch.equal(memo.f == 0, dropped)
        expected = torch.where(dropped, 0.0, spikes * SCALE / 0.6)
        torch.testing.assert_close(signal.spikes, expected, rtol=1e-15, atol=0)
        assert (signal.trace[dropped] == 0).all() and (signal.trace[~dropped] > 0).any()
    again = dropout_layer()
    assert torch.equal(watch(again, 1)[0][1].f == 0, dropped), "the seed decides"
    assert not torch.equal(watch(dropout_layer(seed=5), 1)[0][1].f == 0, dropped)
    layer.reset()
    assert not torch.equal(watch(layer, 1)[0][1].f == 0, dropped), "a new sample draws anew"


def test_dropped_neurons_learn_nothing_and_pass_nothing_down() -> None:
    layer = dropout_layer()
    _, memo, _ = watch(layer, 3)[-1]
    dropped = (memo.f == 0).double()
    own, below = layer.credit(dropped, memo, down=True)
    assert below is not None and not below.any()
    assert not any(value.any() for value in layer.gradient(own, memo).values())
    _, below = layer.credit(1 - dropped, memo, down=True)
    assert below is not None and below.any()


def test_dropout_is_for_learning_only() -> None:
    for signal, _, spikes in watch(dropout_layer(), 3, learn=False):
        assert torch.equal(signal.spikes, spikes * SCALE)
    plain, dropping = (watch(dropout_layer(p=p), 3, learn=False) for p in (0.0, 0.4))
    for a, b in zip(plain, dropping, strict=True):
        assert torch.equal(a[0].spikes, b[0].spikes)


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
