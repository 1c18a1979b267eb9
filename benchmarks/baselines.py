"""What the fast engine is measured against: OTTT steps written for autograd, the way they are usually written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Step = Callable[[Tensor, Tensor], None]

LR, MOMENTUM, TIME_STEPS, ALPHA = 0.1, 0.9, 6, 0.05
SCALE = 2.74


def loss(logits: Tensor, target: Tensor) -> Tensor:
    """The paper's loss of one timestep."""
    onehot = F.one_hot(target, logits.shape[1]).to(logits.dtype)
    return ((1 - ALPHA) * F.cross_entropy(logits, target) + ALPHA * F.mse_loss(logits, onehot)) / TIME_STEPS


# --- as the paper's released code computes it: each weight standardized twice, each convolution done twice ------------


class _ValueOf(torch.autograd.Function):
    """The value of the second argument; the gradient goes to both."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        return second

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return grad, grad


class _Spike(torch.autograd.Function):
    """Heaviside with the sigmoid's derivative, slope 4."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return (u >= 1).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        s = torch.sigmoid(4 * (ctx.saved_tensors[0] - 1))
        return grad * 4 * s * (1 - s)


class StandardizedConv(nn.Conv2d):
    """A convolution whose weights are standardized at each call, variance by torch."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(channels, out, 3, padding=1)
        self.gain = nn.Parameter(torch.ones(out, 1, 1, 1))
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(self.weight, (1, 2, 3), keepdim=True)
        n = self.weight[0].numel()
        weight = (self.weight - mean) / torch.sqrt(variance * n + 1e-4) * self.gain
        return F.conv2d(x, weight, self.bias, padding=1)


class AutogradNetwork(nn.Module):
    """A stack of convolutions and average poolings, and a read-out over pooled features."""

    def __init__(self, layers: Sequence[int | str], channels: int, classes: int) -> None:
        super().__init__()
        stack: list[nn.Module] = []
        for part in layers:
            if isinstance(part, int):
                stack.append(StandardizedConv(channels, part))
                channels = part
            else:
                stack.append(nn.AvgPool2d(int(part.removeprefix("AP"))))
        self.stack = nn.ModuleList(stack)
        self.readout = nn.Linear(channels, classes)
        self.state: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def forward(self, x: Tensor) -> Tensor:
        spikes, trace = x, x
        for i, layer in enumerate(self.stack):
            if isinstance(layer, nn.AvgPool2d):
                spikes, trace = layer(spikes), layer(trace)
                continue
            current = _through(layer, spikes, trace) if i else layer(x)
            if i in self.state:
                u, s, a = self.state[i]
                u = 0.5 * (u - s) + current
            else:
                u, a = current, torch.zeros_like(current)
            s = _Spike.apply(u)
            a = 0.5 * a + s.detach()
            self.state[i] = u.detach(), s.detach(), a
            spikes, trace = s * SCALE, a * SCALE
        return _through(lambda z: self.readout(z.mean((2, 3))), spikes, trace)


def _through(layer: Callable[[Tensor], Tensor], spikes: Tensor, trace: Tensor) -> Tensor:
    """Forward by the spikes, weights' gradient by the trace, at the price of doing it twice."""
    with torch.no_grad():
        value = layer(spikes)
    return _ValueOf.apply(layer(_ValueOf.apply(spikes, trace)), value)


def released(layers: Sequence[int | str], channels: int, classes: int) -> Step:
    """A step as the released code computes it."""
    network = AutogradNetwork(layers, channels, classes)
    optimizer = torch.optim.SGD(network.parameters(), lr=LR, momentum=MOMENTUM)

    def step(frame: Tensor, target: Tensor) -> None:
        optimizer.zero_grad()
        loss(network(frame), target).backward()
        optimizer.step()

    return step


# --- SpikingJelly -----------------------------------------------------------------------------------------------------


def spikingjelly(layers: Sequence[int | str], channels: int, classes: int) -> Step | None:
    """A step of SpikingJelly's own OTTT modules; None where it is not installed."""
    try:
        from spikingjelly.activation_based import functional, layer, neuron, surrogate
    except ImportError:
        return None

    class Scale(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * SCALE

    stack: list[nn.Module] = []
    for part in layers:
        if isinstance(part, int):
            conv = layer.WSConv2d(channels, part, kernel_size=3, padding=1)
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(conv.bias)
            node = neuron.OTTTLIFNode(surrogate_function=surrogate.Sigmoid(alpha=4.0))
            stack += [conv, node, Scale()]
            channels = part
        else:
            stack.append(layer.AvgPool2d(int(part.removeprefix("AP"))))
    stack += [layer.AdaptiveAvgPool2d((1, 1)), layer.Flatten(1), layer.Linear(channels, classes)]
    network = layer.OTTTSequential(*stack).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=LR, momentum=MOMENTUM)

    def step(frame: Tensor, target: Tensor) -> None:
        optimizer.zero_grad()
        loss(network(frame), target).backward()
        optimizer.step()
        functional.detach_net(network)

    return step


# --- the convolutions alone -------------------------------------------------------------------------------------------


def three_convolutions(layers: Sequence[int | str], shape: tuple[int, int, int]) -> Step:
    """Forward, both gradients: what no implementation by convolutions can do without (no gradient to the input)."""
    channels, height, width = shape
    work: list[tuple[Tensor, Tensor, Tensor, bool]] = []
    for part in layers:
        if isinstance(part, int):
            work.append(
                (
                    torch.rand(1, channels, height, width),
                    torch.randn(part, channels, 3, 3),
                    torch.randn(1, part, height, width),
                    bool(work),
                )
            )
            channels = part
        else:
            size = int(part.removeprefix("AP"))
            height, width = height // size, width // size
    backward = torch.ops.aten.convolution_backward

    @torch.no_grad()
    def step(frame: Tensor, target: Tensor) -> None:
        for x, w, e, down in work:
            F.conv2d(x, w, padding=1)
            for wanted in ((True, False, False), (False, True, False)):
                if down or wanted[1]:
                    backward(e, x, w, [w.shape[0]], [1, 1], [1, 1], [1, 1], False, [0, 0], 1, wanted)

    return step
