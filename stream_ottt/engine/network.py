"""The network for one stream on a CPU: the same layers over compiled parts and reused buffers."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any, cast

from torch import Tensor

from stream_ottt.engine.connection import CompiledDense, CompiledWork
from stream_ottt.engine.images import Delta, Image, Lease, Pool
from stream_ottt.engine.parts import CompiledParts, place_layers
from stream_ottt.engine.precision import EXACT, Rounding, flush_denormals
from stream_ottt.engine.rows import FusedStep, Rows
from stream_ottt.network.growth import with_new_row, with_zero_columns
from stream_ottt.network.network import Network
from stream_ottt.network.optimizer import SGD, Adam, GradientSink
from stream_ottt.network.saved import Saved


class SavedTimestep(list[Saved]):
    """A timestep's saved tensors, in leased buffers."""

    def __init__(self, lease: Lease[list[Saved]]) -> None:
        super().__init__(lease.held)
        self.lease = lease


class CompiledNetwork(Network):
    """A network at batch size 1 on a CPU, over reused buffers.

    Args:
        network: whose layers are taken over, with their parameters laid out anew.
        keep_means, rounding: as in :class:`CompiledParts`.
    """

    def __init__(self, network: Network, *, keep_means: bool = False, rounding: Rounding = EXACT) -> None:
        dtype = next(iter(network.parameters.values())).dtype
        self.rounding = rounding
        self.centred = not keep_means
        self.parts = CompiledParts(keep_means=keep_means, rounding=rounding, dtype=dtype)
        place_layers(network, self.parts)
        super().__init__(
            list(zip(network.names, network.layers, strict=True)),
            input_shape=network.input_shape,
            decay=network.decay,
            input_scale=network.input_scale,
            input_mass=network.input_mass,
        )
        self.rows = self.parts.rows
        self.work = CompiledWork(self.parts.products(), self.rows)
        channels, height, width = network.input_shape
        self._input = Image(height, width, channels, self.layers[0].border, dtype)
        self._make_buffers()
        self._stale = True
        self._thread: int | None = None

    def _make_buffers(self) -> None:
        layers = self.layers
        self._buffers = Pool(lambda: [layer.new_saved() for layer in layers])

    def forward(self, frame: Tensor, *, learn: bool) -> tuple[Tensor, Sequence[Saved]]:
        if frame.shape[0] != 1:
            raise ValueError(f"the compiled network takes one stream, not a batch of {frame.shape[0]}; use 'plain'")
        if self._thread != threading.get_ident():
            flush_denormals()
            self._thread = threading.get_ident()
        self.refresh()
        saved: Sequence[Saved] = self.new_saved() if learn else []
        self._input.inside.copy_(self.scaled(frame)[0].permute(1, 2, 0))
        logits: Image = self.pass_up(self._input, saved)
        return logits.inside[0].clone(), saved

    def new_saved(self) -> Sequence[Saved]:
        return SavedTimestep(self._buffers.take())

    def layout(self) -> dict[str, list[bool]]:
        self.refresh()
        held = [(part.name, rows) for part, rows in zip(self.parts.made, self.rows, strict=True)]
        return {
            name: [rows.transpose.wanted, rows.transpose.holds(rows)] for name, rows in held if isinstance(rows, Rows)
        }

    def set_layout(self, layout: dict[str, list[bool]]) -> None:
        self.refresh()
        for part, rows in zip(self.parts.made, self.rows, strict=True):
            if part.name in layout:
                wanted, holds = layout[part.name]
                rows.transpose.wanted = wanted
                if holds:
                    rows.transpose.follow(rows)

    def add_output(self) -> None:
        """As in the base; also buffers and products become wider."""
        self.settle()
        self.refresh()
        old = cast(Any, self.readout.connection)
        rows = self.rows[old.index].like(with_new_row(old.parameters))
        part = CompiledDense(old, old.index, old.size, rows, 0)
        self.readout.connection = self.parts.made[old.index] = cast(Any, part)
        self.parts.rows[old.index] = self.rows[old.index] = rows
        self.name_parts()
        self._stale = True
        self.work = CompiledWork(self.parts.products(), self.rows)
        self._make_buffers()

    def widen(self, saved: Sequence[Saved]) -> None:
        self.settle()
        saved[-1].delta = Delta(with_zero_columns(saved[-1].delta.tensor, self.outputs))

    def take_up(self, saved: Saved) -> None:
        if isinstance(saved.delta, Tensor):
            saved.delta = Delta(saved.delta)
        if isinstance(saved.fed, Tensor):
            saved.room.tensor.copy_(saved.fed)
            saved.fed = saved.room
        for inner in saved.inner:
            self.take_up(inner)

    def backward(self, error: Tensor, saved: Sequence[Saved], sink: GradientSink | None = None) -> None:
        self.refresh()
        super().backward(error, saved, fused(sink))

    def pass_down(self, delta: Any, saved: Sequence[Saved], work: Any, sink: GradientSink | None) -> Iterator[None]:
        return super().pass_down(Delta(delta.view(1, 1, -1)), saved, work, sink)

    def learn(self, signals: Sequence[Saved], saved: Sequence[Saved], sink: GradientSink) -> None:
        self.refresh()
        step = fused(sink)
        assert step is not None
        super().learn(signals, saved, step)

    def squared_norm(self, turn: int) -> tuple[str, int, float] | None:
        return self.norm_of(turn % len(self.rows), self.rows)

    def norm_of(self, i: int, held: Sequence[Any]) -> tuple[str, int, float] | None:
        """Name, size and squared norm of the weights of the ``i``-th part in a set of rows, where they are rows."""
        rows = held[i]
        if not isinstance(rows, Rows):
            return None
        return f"{self.parts.made[i].name}weight", rows.array.size, float(rows.squares.sum())

    def weights_changed(self, *, centred: bool = False) -> None:
        super().weights_changed(centred=centred)
        self._stale = True

    def refresh(self) -> None:
        """Take up weights that were changed from outside."""
        if self._stale:
            for part, rows in zip(self.parts.made, self.rows, strict=True):
                if part.stale:
                    rows.refresh(centred=part.known_centred)
                    part.stale = False
            self._stale = False


def fused(sink: GradientSink | None) -> GradientSink | None:
    """The fused step where the sink is an optimizer that the kernels have, just as it stands."""
    return FusedStep(sink) if type(sink) in (SGD, Adam) else sink  # type: ignore[arg-type]
