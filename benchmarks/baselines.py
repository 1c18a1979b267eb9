"""What the fast engine is measured against: OTTT steps written for autograd, the way they are usually written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Step = Callable[[Tensor, Tensor], None]


@dataclass(frozen=True, slots=True)
class Work:
    """What one step computes.

    Attributes:
        layers: channels of 3×3 convolutions and ``"AP2"``; none for NF-ResNet-18.
        shape: (channels, height, width) of a frame.
        dropout: share of neurons silenced, one mask for all timesteps.
        adam: Adam in the place of SGD with momentum.
        feedback: from the last spiking layer to the first, upsampled.
    """

    layers: tuple[int | str, ...]
    shape: tuple[int, int, int]
    dropout: float = 0.0
    adam: bool = False
    feedback: bool = False


LR, ADAM_LR, MOMENTUM, TIME_STEPS, ALPHA = 0.1, 0.001, 0.9, 6, 0.05
SCALE = 2.74


def optimizer_of(network: nn.Module, work: Work) -> torch.optim.Optimizer:
    """The optimizer, of torch."""
    if work.adam:
        return torch.optim.Adam(network.parameters(), lr=ADAM_LR)
    return torch.optim.SGD(network.parameters(), lr=LR, momentum=MOMENTUM)


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

    def __init__(self, channels: int, out: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(channels, out, kernel, stride=stride, padding=kernel // 2)
        self.gain = nn.Parameter(torch.ones(out, 1, 1, 1))
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(self.weight, (1, 2, 3), keepdim=True)
        n = self.weight[0].numel()
        weight = (self.weight - mean) / torch.sqrt(variance * n + 1e-4) * self.gain
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class AutogradNetwork(nn.Module):
    """A stack of convolutions and average poolings, and a read-out over pooled features."""

    def __init__(self, work: Work, classes: int) -> None:
        super().__init__()
        stack: list[nn.Module] = []
        channels, self.dropout = work.shape[0], work.dropout
        for part in work.layers:
            if isinstance(part, int):
                stack.append(StandardizedConv(channels, part))
                channels = part
            else:
                stack.append(nn.AvgPool2d(int(part.removeprefix("AP"))))
        self.stack = nn.ModuleList(stack)
        first = next(layer for layer in stack if isinstance(layer, StandardizedConv))
        self.feedback = nn.Conv2d(channels, first.out_channels, 3, padding=1) if work.feedback else None
        self.top: tuple[Tensor, Tensor] | None = None
        self.masks: dict[int, Tensor] = {}
        self.readout = nn.Linear(channels, classes)
        self.state: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def forward(self, x: Tensor) -> Tensor:
        spikes, trace = x, x
        for i, layer in enumerate(self.stack):
            if isinstance(layer, nn.AvgPool2d):
                spikes, trace = layer(spikes), layer(trace)
                continue
            current = _through(layer, spikes, trace) if i else layer(x)
            if i == 0 and self.feedback is not None and self.top is not None:
                below, above = (F.interpolate(v, size=current.shape[2:], mode="nearest") for v in self.top)
                current = current + _through(self.feedback, below, above)
            if i in self.state:
                u, s, a = self.state[i]
                u = 0.5 * (u - s) + current
            else:
                u, a = current, torch.zeros_like(current)
            s = _Spike.apply(u)
            a = 0.5 * a + s.detach()
            self.state[i] = u.detach(), s.detach(), a
            spikes, trace = s * SCALE, a * SCALE
            if self.dropout:
                if i not in self.masks:
                    self.masks[i] = (torch.rand_like(s) > self.dropout) / (1 - self.dropout)
                spikes, trace = spikes * self.masks[i], trace * self.masks[i]
        self.top = spikes.detach(), trace
        return _through(lambda z: self.readout(z.mean((2, 3))), spikes, trace)


def _through(layer: Callable[[Tensor], Tensor], spikes: Tensor, trace: Tensor) -> Tensor:
    """Forward by the spikes, weights' gradient by the trace, at the price of doing it twice."""
    with torch.no_grad():
        value = layer(spikes)
    return _ValueOf.apply(layer(_ValueOf.apply(spikes, trace)), value)


class Population(nn.Module):
    """Neurons that give spikes and traces, both scaled."""

    def __init__(self) -> None:
        super().__init__()
        self.state: tuple[Tensor, Tensor, Tensor] | None = None

    def forward(self, current: Tensor) -> tuple[Tensor, Tensor]:
        u, a = current, torch.zeros_like(current)
        if self.state is not None:
            before, s, a = self.state
            u = 0.5 * (before - s) + current
        s = _Spike.apply(u)
        a = 0.5 * a + s.detach()
        self.state = u.detach(), s.detach(), a
        return s * SCALE, a * SCALE


class Block(nn.Module):
    """A block of a spiking pre-activation NF-ResNet."""

    def __init__(self, channels: int, out: int, stride: int, beta: float) -> None:
        super().__init__()
        self.beta = beta
        self.first, self.second = StandardizedConv(channels, out, stride=stride), StandardizedConv(out, out)
        self.shortcut = None if out == channels else StandardizedConv(channels, out, 1, stride)
        self.neurons = nn.ModuleList([Population(), Population()])
        self.gain = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        spikes, trace = self.neurons[0](x / self.beta)
        shortcut = x if self.shortcut is None else _through(self.shortcut, spikes, trace)
        spikes, trace = self.neurons[1](_through(self.first, spikes, trace))
        return shortcut + 0.2 * self.gain * _through(self.second, spikes, trace)


class NFResNet18(nn.Module):
    """NF-ResNet-18 with spiking neurons."""

    def __init__(self, work: Work, classes: int) -> None:
        super().__init__()
        self.stem = StandardizedConv(work.shape[0], 64, 7, 2)
        blocks, channels, variance = [], 64, 1.0
        for stage, out in enumerate((64, 128, 256, 512)):
            for i in range(2):
                blocks.append(Block(channels, out, 2 if stage and not i else 1, variance**0.5))
                variance, channels = (variance if out == channels else 1.0) + 0.04, out
        self.blocks = nn.Sequential(*blocks)
        self.readout = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(self.stem(x), 3, 2, 1)
        return self.readout(self.blocks(x).mean((2, 3)))


def released(work: Work, classes: int, device: str = "cpu") -> Step:
    """A step as the released code computes it."""
    network = (AutogradNetwork(work, classes) if work.layers else NFResNet18(work, classes)).to(device)
    optimizer = optimizer_of(network, work)

    def step(frame: Tensor, target: Tensor) -> None:
        optimizer.zero_grad()
        loss(network(frame), target).backward()
        optimizer.step()

    return step


# --- SpikingJelly -----------------------------------------------------------------------------------------------------


def spikingjelly(work: Work, classes: int, device: str = "cpu", *, cupy: bool = False) -> Step | None:
    """A step of SpikingJelly's own OTTT modules; None where it is not installed, or has no such network or, with
    ``cupy``, no such neurons."""
    if work.feedback or not work.layers:
        return None
    try:
        from spikingjelly.activation_based import functional, layer, neuron, surrogate
    except ImportError:
        return None

    class Scale(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * SCALE

    stack: list[nn.Module] = []
    channels = work.shape[0]
    for part in work.layers:
        if isinstance(part, int):
            conv = layer.WSConv2d(channels, part, kernel_size=3, padding=1)
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(conv.bias)
            node = neuron.OTTTLIFNode(surrogate_function=surrogate.Sigmoid(alpha=4.0))
            stack += [conv, node, Scale()]
            if work.dropout:
                stack.append(layer.Dropout(work.dropout))
            channels = part
        else:
            stack.append(layer.AvgPool2d(int(part.removeprefix("AP"))))
    stack += [layer.AdaptiveAvgPool2d((1, 1)), layer.Flatten(1), layer.Linear(channels, classes)]
    network = layer.OTTTSequential(*stack).train().to(device)
    if cupy:
        nodes = [module for module in network.modules() if isinstance(module, neuron.OTTTLIFNode)]
        if find_spec("cupy") is None or any("cupy" not in node.supported_backends for node in nodes):
            return None
        for node in nodes:
            node.backend = "cupy"
    optimizer = optimizer_of(network, work)

    def step(frame: Tensor, target: Tensor) -> None:
        optimizer.zero_grad()
        loss(network(frame), target).backward()
        optimizer.step()
        functional.detach_net(network)

    return step


# --- the convolutions alone -------------------------------------------------------------------------------------------


def three_convolutions(of: Work) -> Step:
    """Forward, both gradients: what no implementation by convolutions can do without (no gradient to the input)."""
    channels, height, width = of.shape
    work: list[tuple[Tensor, Tensor, Tensor, bool]] = []
    for part in of.layers:
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
