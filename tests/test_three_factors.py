"""Eq. 2 and 4 of the network against oracles of their own: explicit sums and loops in numpy, and autograd."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import Function

from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.layers import AvgPool, SpikingConv
from stream_ottt.network.network import Network
from stream_ottt.network.optimizer import GradientSum
from stream_ottt.network.saved import Saved
from stream_ottt.network.topologies import build_network

Array = NDArray[np.float64]
pytestmark = pytest.mark.usefixtures("one_thread")

DECAY, THRESHOLD, SLOPE, SCALE = 0.6, 0.9, 3.0, 2.74


def network_of(seed: int, **config: Any) -> Network:
    """A float64 network whose every parameter (biases, gains, feedback) is random, alive enough to spike."""
    config = {"decay": DECAY, "threshold": THRESHOLD, "surrogate_slope": SLOPE, **config}
    shape = config.pop("input_shape", (2, 7, 6))
    network = build_network(NetworkConfig(**config), input_shape=shape, classes=3, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    for name, p in network.parameters.items():
        noise = torch.randn(p.shape, generator=generator, dtype=p.dtype)
        if name.endswith("gain"):
            p.copy_(1 + 0.3 * noise)
        elif name.endswith("bias"):
            p.copy_(0.3 * noise)
        else:
            p.copy_(noise / p[0].numel() ** 0.5 * 1.5)
    network.weights_changed()
    return network


def gradients(network: Network, error: Tensor, saved: Sequence[Saved]) -> dict[str, Tensor]:
    found = GradientSum()
    network.backward(error, saved, found)
    return found.sums


# --- Eq. 2 and 4 in numpy: sums over time written out, loops over the kernel ------------------------------------------


def discounted(values: list[Array], decay: float) -> Array:
    """Σ_τ λ^(t-τ) x[τ]."""
    t = len(values) - 1
    return sum((decay ** (t - tau) * x for tau, x in enumerate(values)), np.zeros_like(values[0]))


def correlate(x: Array, w: Array) -> Array:
    b, _, h, width = x.shape
    k = w.shape[-1]
    padded = np.pad(x, ((0, 0), (0, 0), (k // 2,) * 2, (k // 2,) * 2))
    out = np.zeros((b, w.shape[0], h, width))
    for row in range(h):
        for column in range(width):
            patch = padded[:, :, row : row + k, column : column + k]
            out[:, :, row, column] = np.einsum("bcij,ocij->bo", patch, w)
    return out


def correlate_gradients(error: Array, pre: Array, w: Array) -> tuple[Array, Array]:
    """∂/∂x and ∂/∂w of Σ error · correlate(x, w), with ``pre`` in the place of x."""
    k, pad = w.shape[-1], w.shape[-1] // 2
    padded = np.pad(pre, ((0, 0), (0, 0), (pad,) * 2, (pad,) * 2))
    into, weight = np.zeros_like(padded), np.zeros_like(w)
    for row in range(error.shape[2]):
        for column in range(error.shape[3]):
            e, place = error[:, :, row, column], np.s_[:, :, row : row + k, column : column + k]
            weight += np.einsum("bo,bcij->ocij", e, padded[place])
            into[place] += np.einsum("bo,ocij->bcij", e, w)
    return into[:, :, pad : pad + pre.shape[2], pad : pad + pre.shape[3]], weight


def pool(x: Array, k: int) -> Array:
    h, w = x.shape[2] // k, x.shape[3] // k
    return np.stack(
        [
            np.stack([x[:, :, i * k : i * k + k, j * k : j * k + k].mean((2, 3)) for j in range(w)], -1)
            for i in range(h)
        ],
        2,
    )


def unpool(e: Array, k: int, shape: tuple[int, ...]) -> Array:
    out = np.zeros(shape)
    for i in range(e.shape[2]):
        for j in range(e.shape[3]):
            out[:, :, i * k : i * k + k, j * k : j * k + k] = e[:, :, i, j, None, None] / k**2
    return out


def derivative(u: Array, surrogate: str) -> Array:
    if surrogate == "rectangular":
        return ((u > 0) & (u < 2 * THRESHOLD)).astype(float)
    sigma = 1 / (1 + np.exp(-SLOPE * (u - THRESHOLD)))
    return SLOPE * sigma * (1 - sigma)


def standardized(w: Array, gain: Array) -> Array:
    n = w[0].size
    return np.stack(
        [g * (r - r.mean()) / np.sqrt(r.var(ddof=1) * n + 1e-4) for r, g in zip(w, gain.ravel(), strict=True)]
    )


def standardized_jacobian(w: Array, gain: float) -> Array:
    """∂Ŵ/∂W of one output channel, [N, N], written out."""
    c, n = w.ravel() - w.mean(), w.size
    norm = np.sqrt(w.var(ddof=1) * n + 1e-4)
    return gain * ((np.eye(n) - 1 / n) / norm - np.outer(c, c) * n / (n - 1) / norm**3)


def oracle(
    frames: Array, network: Network, errors: Array, config: NetworkConfig
) -> list[tuple[Array, dict[str, Array]]]:
    """(logits, gradients) of every timestep, by the definitions."""
    p = {k: v.numpy() for k, v in network.parameters.items()}
    sws, scale = config.weight_standardization, SCALE if config.weight_standardization else 1.0
    convs = [n for n, layer in zip(network.names, network.layers, strict=True) if isinstance(layer, SpikingConv)]
    effective = {n: standardized(p[f"{n}.weight"], p[f"{n}.gain"]) if sws else p[f"{n}.weight"] for n in convs}
    current: dict[str, list[Array]] = {n: [] for n in convs}
    fired: dict[str, list[Array]] = {n: [] for n in convs}
    out = []
    for t in range(len(frames)):
        x, trace = frames[t], discounted(list(frames[: t + 1]), DECAY) if config.input_trace else frames[t]
        pre, f, shapes = {}, {}, {}
        for name, layer in zip(network.names, network.layers, strict=True):
            pre[name], shapes[name] = trace, x.shape
            if name in convs:
                current[name].append(correlate(x, effective[name]) + p[f"{name}.bias"][:, None, None])
                u = discounted(current[name], DECAY)
                if t:
                    u = u - DECAY * THRESHOLD * discounted(fired[name], DECAY)
                fired[name].append((u >= THRESHOLD).astype(float))
                f[name] = derivative(u, config.surrogate)
                x, trace = scale * fired[name][-1], scale * discounted(fired[name], DECAY)
            elif isinstance(layer, AvgPool):
                x, trace = pool(x, layer.size), pool(trace, layer.size)
        gap = config.readout == "gap"
        features, traced = (a.mean((2, 3)) if gap else a.reshape(len(a), -1) for a in (x, trace))
        logits = features @ p["readout.weight"].T + p["readout.bias"]
        error = errors[t]
        g = {"readout.weight": error.T @ traced, "readout.bias": error.sum(0)}
        delta = error @ p["readout.weight"]
        if gap:
            delta = np.broadcast_to(delta[:, :, None, None] / (x.shape[2] * x.shape[3]), x.shape)
        delta = delta.reshape(x.shape)
        for name, layer in list(zip(network.names, network.layers, strict=True))[-2::-1]:
            if isinstance(layer, AvgPool):
                delta = unpool(delta, layer.size, shapes[name])
                continue
            e = delta * scale * f[name]
            delta, weight = correlate_gradients(e, pre[name], effective[name])
            g[f"{name}.bias"] = e.sum((0, 2, 3))
            if sws:
                w, gain = p[f"{name}.weight"], p[f"{name}.gain"]
                g[f"{name}.gain"] = ((effective[name] / gain) * weight).sum((1, 2, 3), keepdims=True)
                weight = np.stack(
                    [
                        (standardized_jacobian(r, float(s)).T @ d.ravel()).reshape(r.shape)
                        for r, s, d in zip(w, gain.ravel(), weight, strict=True)
                    ]
                )
            g[f"{name}.weight"] = weight
        out.append((logits, g))
    return out


@pytest.mark.parametrize("surrogate", ["sigmoid", "rectangular"])
@pytest.mark.parametrize("readout", ["gap", "flatten"])
@pytest.mark.parametrize("input_trace", [False, True])
@pytest.mark.parametrize("sws", [False, True])
def test_agrees_with_equations_2_and_4_written_out(sws: bool, input_trace: bool, readout: str, surrogate: str) -> None:
    settings_ = {
        "layers": (3, "AP2", "4C5", 3),
        "weight_standardization": sws,
        "input_trace": input_trace,
        "readout": readout,
        "surrogate": surrogate,
    }
    network = network_of(1, **settings_)
    rng = np.random.default_rng(2)
    frames, errors = rng.poisson(0.8, (5, 2, 2, 7, 6)).astype(float), rng.normal(size=(5, 2, 3))
    expected = oracle(frames, network, errors, NetworkConfig(**settings_))  # type: ignore[arg-type]
    for t in range(5):
        logits, saved = network.forward(torch.from_numpy(frames[t]), learn=True)
        np.testing.assert_allclose(logits.numpy(), expected[t][0], rtol=0, atol=1e-11)
        found = gradients(network, torch.from_numpy(errors[t]), saved)
        assert found.keys() == expected[t][1].keys() == network.parameters.keys()
        for name, value in expected[t][1].items():
            assert t == 0 or np.abs(value).max() > 1e-6, f"{name}: a silent network proves nothing"
            np.testing.assert_allclose(found[name].numpy(), value, rtol=0, atol=1e-10, err_msg=f"{name}, t={t}")


# --- The three factors as one backward pass of autograd ---------------------------------------------------------------


class Spike(Function):
    """Heaviside forward, surrogate derivative backward."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, surrogate: str) -> Tensor:
        ctx.save_for_backward(u)
        ctx.surrogate = surrogate
        return (u >= THRESHOLD).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        return grads[0] * torch.from_numpy(derivative(u.numpy(), ctx.surrogate)), None


def substituted(op: Any, x: Tensor, trace: Tensor, weight: Tensor) -> Tensor:
    """op(x, W) in value and towards x; towards W as if x were the trace."""
    traced = op(trace.detach(), weight)
    return op(x, weight.detach()) + (traced - traced.detach())


class AutogradNetwork:
    """The same network with its history detached, for torch to differentiate."""

    def __init__(self, network: Network, config: NetworkConfig) -> None:
        self.config = config
        self.names, self.layers = network.names, network.layers
        self.p = {k: v.clone().requires_grad_() for k, v in network.parameters.items()}
        self.memory: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
        self.input_trace: Tensor | float = 0.0

    def forward(self, frame: Tensor) -> Tensor:
        scale = SCALE if self.config.weight_standardization else 1.0
        self.input_trace = self.input_trace * DECAY + frame
        x, trace = frame, self.input_trace if self.config.input_trace else frame
        top = [n for n in self.names if n.startswith("conv")][-1]
        last = self.memory.get(top)
        for name, layer in zip(self.names, self.layers, strict=True):
            if isinstance(layer, AvgPool):
                x, trace = F.avg_pool2d(x, layer.size), F.avg_pool2d(trace, layer.size)
                continue
            weight, bias = self.p[f"{name}.weight"], self.p[f"{name}.bias"]
            if name == "readout":
                x, trace = (a.mean((2, 3)) if self.config.readout == "gap" else a.flatten(1) for a in (x, trace))
                return substituted(F.linear, x, trace, weight) + bias
            if self.config.weight_standardization:
                var, mean = torch.var_mean(weight, (1, 2, 3), keepdim=True)
                weight = self.p[f"{name}.gain"] * (weight - mean) / torch.sqrt(var * weight[0].numel() + 1e-4)
            pad = weight.shape[-1] // 2
            current = substituted(lambda a, w, pad=pad: F.conv2d(a, w, padding=pad), x, trace, weight)
            current = current + bias[:, None, None]
            if f"{name}.feedback.weight" in self.p and last is not None:
                s, a = (F.interpolate(scale * z, size=current.shape[2:]) for z in last[1:])
                fed = substituted(lambda a, w: F.conv2d(a, w, padding=1), s, a, self.p[f"{name}.feedback.weight"])
                current = current + fed + self.p[f"{name}.feedback.bias"][:, None, None]
            u0, s0, a0 = self.memory.get(name, (torch.zeros_like(current),) * 3)
            u = DECAY * (u0 - THRESHOLD * s0).detach() + current
            s = Spike.apply(u, self.config.surrogate)
            self.memory[name] = u.detach(), s.detach(), DECAY * a0.detach() + s.detach()
            x, trace = scale * s, scale * self.memory[name][2]
        raise AssertionError("no read-out")


LAYERS = st.lists(st.sampled_from([2, 3, "2C5", "3C1", "AP2", "AP3"]), min_size=1, max_size=4).filter(
    lambda spec: any(not str(part).startswith("AP") for part in spec)
)


@settings(max_examples=20, deadline=None)
@given(
    layers=LAYERS,
    size=st.tuples(st.integers(9, 11), st.integers(9, 11)),
    batch=st.integers(1, 3),
    sws=st.booleans(),
    input_trace=st.booleans(),
    feedback=st.booleans(),
    readout=st.sampled_from(["gap", "flatten"]),
    surrogate=st.sampled_from(["sigmoid", "rectangular"]),
    seed=st.integers(0, 2**31),
)
def test_agrees_with_autograd(
    layers: list[int | str],
    size: tuple[int, int],
    batch: int,
    sws: bool,
    input_trace: bool,
    feedback: bool,
    readout: str,
    surrogate: str,
    seed: int,
) -> None:
    pooled = [part for part in layers if str(part).startswith("AP")]
    layers = [part for part in layers if part not in pooled[2:]]
    config = {
        "topology": "layers-f" if feedback else "layers",
        "layers": tuple(layers),
        "weight_standardization": sws,
        "input_trace": input_trace,
        "readout": readout,
        "surrogate": surrogate,
    }
    network = network_of(seed, input_shape=(2, *size), **config)
    twin = AutogradNetwork(network, NetworkConfig(decay=DECAY, threshold=THRESHOLD, **config))  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)
    for _ in range(3):
        frame = torch.rand((batch, 2, *size), generator=generator, dtype=torch.float64) * 2
        error = torch.randn((batch, 3), generator=generator, dtype=torch.float64)
        logits, saved = network.forward(frame, learn=True)
        expected = twin.forward(frame)
        torch.testing.assert_close(logits, expected.detach(), rtol=0, atol=1e-12)
        grads = torch.autograd.grad((expected * error).sum(), list(twin.p.values()), allow_unused=True)
        found = gradients(network, error, saved)
        assert found.keys() == twin.p.keys()
        for name, grad in zip(twin.p, grads, strict=True):
            grad = torch.zeros_like(twin.p[name]) if grad is None else grad
            torch.testing.assert_close(found[name], grad, rtol=1e-12, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


def test_forming_errors_and_learning_from_them_are_the_two_halves_of_learning() -> None:
    network = network_of(0, topology="layers-f", layers=(3, "AP2", 4))
    frame = torch.rand(2, 2, 7, 6, dtype=torch.float64) * 2
    network.forward(frame, learn=True)
    logits, saved = network.forward(frame, learn=True)
    halves = GradientSum()
    network.backward(logits, saved)
    network.learn(saved, saved, halves)
    for name, value in gradients(network, logits, saved).items():
        assert torch.equal(halves.sums[name], value)
