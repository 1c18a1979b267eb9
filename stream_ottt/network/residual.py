"""The residual block of a pre-activation NF-ResNet, with two populations of neurons."""

from __future__ import annotations

from typing import Any

from stream_ottt.network.connection import Connection, SkipGain
from stream_ottt.network.layer import Layer, Plane
from stream_ottt.network.neurons import Neurons
from stream_ottt.network.optimizer import GradientSink
from stream_ottt.network.saved import LayerState, Saved


class NFBlock(Layer):
    """A residual block of a pre-activation NF-ResNet, with two populations of neurons.

        spikes₁ = 2.74 · LIF(x / β)        x: the current from below, β = sqrt(its expected variance)
        spikes₂ = 2.74 · LIF(conv₁ spikes₁)
        out     = shortcut + α · g · conv₂ spikes₂        g learnable

    The shortcut is x itself, or in a block that downsamples a 1×1 convolution of spikes₁. Its output is a current,
    which carries no trace: what learns from one takes the current itself as its presynaptic factor. (Brock et al.,
    ICLR 2021; Xiao et al., NeurIPS 2022.)

    Args:
        first, second: the two convolutions; the first may downsample.
        shortcut: the convolution of the shortcut, or None.
        skip: the gain g.
        neurons: the two populations; the first takes x / β.
    """

    connections = (("first", "first_"), ("second", "second_"), ("shortcut", "shortcut_"), ("skip", "skip_"))
    populations = (("first_neurons", "first"), ("second_neurons", "second"))

    def __init__(
        self,
        first: Connection,
        second: Connection,
        shortcut: Connection | None,
        skip: SkipGain,
        neurons: tuple[Neurons, Neurons],
    ) -> None:
        self.first, self.second, self.shortcut, self.skip = first, second, shortcut, skip
        self.first_neurons, self.second_neurons = neurons

    def place(self, make: Any, plane: Plane, border: int) -> Plane:
        self.first_neurons, plane = make.neurons(self.first_neurons, plane, self.first.padding)
        if self.shortcut is not None:
            self.shortcut, _ = make.connection(self.shortcut, plane)
        self.first, plane = make.connection(self.first, plane)
        self.second_neurons, plane = make.neurons(self.second_neurons, plane, self.second.padding)
        self.second, plane = make.connection(self.second, plane)
        self.skip = make.skip(self.skip, plane, border)
        return plane

    def new_saved(self) -> Saved:
        first, second, shortcut = Saved(), Saved(), Saved()
        for part, saved in (
            (self.first_neurons, first),
            (self.first, first),
            (self.second_neurons, second),
            (self.second, second),
            (self.shortcut, shortcut),
        ):
            if part is not None:
                part.new_saved(saved)
        shortcut.pre = first.pre
        saved = Saved((first, second, shortcut))
        self.skip.new_saved(saved)
        return saved

    def forward(self, x: Any, state: LayerState, saved: Saved | None, work: Any) -> Any:
        first, second, _ = saved.inner if saved is not None else (None, None, None)
        spikes = self.first_neurons.forward(x, state.neurons[0], first)
        before = (None, None) if state.before is None else state.before.inner
        if first is not None:
            first.pre = self.first.presynaptic(spikes, before[0], first)
        shortcut = x if self.shortcut is None else self.shortcut.current(spikes, work)
        spikes = self.second_neurons.forward(self.first.forward(spikes, work), state.neurons[1], second)
        if second is not None:
            second.pre = self.second.presynaptic(spikes, before[1], second)
        residual = self.second.current(spikes, work)
        if saved is not None:
            saved.residual = self.skip.keep(residual, saved)
        return self.skip.forward(shortcut, residual, work)

    def backward(self, delta: Any, saved: Saved, work: Any, *, down: bool, sink: GradientSink | None) -> Any:
        first, second, shortcut = saved.inner
        saved.delta = delta
        error = self.second.error(delta, None, work, self.skip.value(work))
        second.delta = self.second.backward(error, second, work)
        if sink is not None:
            self.second.learn(error, second.pre, sink, work)
            self.skip.learn(delta, saved.residual, sink, work)
        if not down and sink is None:
            return None
        error = self.first.error(second.delta, second, work)
        below = self.first.backward(error, first, work) if down else None
        if sink is not None:
            self.first.learn(error, first.pre, sink, work)
        if self.shortcut is None:
            return self.skip.add(self.first_neurons.backward(below, first), delta) if down else None
        error = self.shortcut.error(delta, None, work)
        if below is not None:
            shortcut.pre = first.pre
            below = self.skip.add(below, self.shortcut.backward(error, shortcut, work))
        if sink is not None:
            self.shortcut.learn(error, first.pre, sink, work)
        return self.first_neurons.backward(below, first) if down else None

    def learn(self, signal: Saved, saved: Saved, sink: GradientSink, work: Any) -> None:
        first, second, _ = saved.inner
        error = self.second.error(signal.delta, None, work, self.skip.value(work))
        self.second.learn(error, second.pre, sink, work)
        self.skip.learn(signal.delta, saved.residual, sink, work)
        self.first.learn(self.first.error(signal.inner[1].delta, second, work), first.pre, sink, work)
        if self.shortcut is not None:
            self.shortcut.learn(self.shortcut.error(signal.delta, None, work), first.pre, sink, work)
