"""The fast network: a plain one's weights and mathematics, at batch size 1, over reused buffers.

It stands where a :class:`Network` stands: the learner that drives it is the same.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stream_ottt.compiled import Array
from stream_ottt.engine import neuron_kernels
from stream_ottt.engine.images import Image, Lease, Pool
from stream_ottt.engine.precision import EXACT, Products
from stream_ottt.engine.stages import ConvStage, Kept, ReadOutStage, Stage, WeightStage, build_stages
from stream_ottt.engine.turn import Turn
from stream_ottt.engine.weights import Rows
from stream_ottt.engine.workspace import Workspace
from stream_ottt.network.layers import Memo
from stream_ottt.network.network import Gradient, Network
from stream_ottt.network.optimizer import SGD, Optimizer

_ELSEWHERE = Memo()


class Memos(list[Memo]):
    """A timestep's memos as the learner holds them; what they hold lies in leased buffers."""

    def __init__(self, lease: Lease[list[Kept]]) -> None:
        super().__init__([_ELSEWHERE] * len(lease.held))
        self.lease = lease


class Deltas(list[Tensor]):
    """∂L/∂(output) of each stage as the learner holds them, [height, width, channels] in leased buffers."""

    def __init__(self, lease: Lease[list[Tensor]]) -> None:
        super().__init__(lease.held)
        self.lease = lease


@dataclass(slots=True)
class _State:
    """What is remembered between timesteps.

    Attributes:
        v: the membranes after reset, per stage.
        last: memos of the timestep before, which hold its traces.
        shared: it was given out, so its membranes must be copied before they change.
    """

    v: Lease[list[Array]]
    last: Memos | None = None
    shared: bool = False


class FusedGradient(Gradient):
    """A layer's gradient that is made block by block as the fused update uses it, which must be at once."""

    def __init__(self, stage: WeightStage, turn: Turn) -> None:
        super().__init__(stage.layer, [])
        self._stage = stage
        self._turn = turn

    def apply(self, optimizer: Optimizer) -> None:
        assert isinstance(optimizer, SGD)
        stage = self._stage
        stage.momentum.adopt(optimizer)
        stage.rows.descend(self._turn, stage.momentum, optimizer.config, optimizer.lr, stage.rows)


class OpenGradient(Gradient):
    """A layer's gradient as tensors, for optimizers that step in their own way."""

    def __init__(self, network: FastNetwork, stage: WeightStage, turn: Turn) -> None:
        parameters = stage.rows.parameters
        found = stage.rows.gradients(turn)
        super().__init__(stage.layer, [(f"{stage.name}.{k}", parameters[k], g) for k, g in found.items()])
        self._network = network

    def apply(self, optimizer: Optimizer) -> None:
        super().apply(optimizer)
        self._network.weights_changed()


class FastNetwork(Network):
    """A network without feedback and dropout, at batch size 1, on a CPU.

    Args:
        network: whose weights are taken over: laid out anew and, with scaled weight standardization, the means of their
            rows taken out, which changes nothing that the network does.
        fused: whether all updates are SGD's at single timesteps, by the fused kernel; else gradients are given out.
        products: how the operands of its matrix products are rounded.
    """

    def __init__(self, network: Network, *, fused: bool = True, products: Products = EXACT) -> None:
        super().__init__(
            list(zip(network.names, network.layers, strict=True)),
            input_shape=network.input_shape,
            input_trace=network.input_trace,
            decay=network.decay,
            input_scale=network.input_scale,
        )
        self.fused = fused
        self.stages = build_stages(network, products)
        self._weighted = [i for i, s in enumerate(self.stages) if isinstance(s, WeightStage)]
        self._dtype = next(iter(self.parameters.values())).dtype
        self._products = products
        self._images = self._new_images()
        self._workspace = self.new_workspace()
        stages, dtype = self.stages, self._dtype
        self._kept = Pool(lambda: [s.keep() for s in stages])
        self._deltas = Pool(lambda: new_deltas(stages, dtype))
        self._membranes = Pool(lambda: new_membranes(stages, dtype))
        self._state = _State(self._membranes.take())
        self._stale = True
        self._thread: int | None = None

    # --- forward -------------------------------------------------------------------------------------------------

    def forward(self, frame: Tensor, *, learn: bool) -> tuple[Tensor, list[Memo]]:
        if frame.shape[0] != 1:
            raise ValueError(f"the fast engine takes one stream, not a batch of {frame.shape[0]}; use engine = plain")
        if self._thread != threading.get_ident():
            flush_denormals()
            self._thread = threading.get_ident()
        self.refresh()
        state = self._own_state()
        memos = Memos(self._kept.take()) if learn else None
        if self.input_scale != 1:
            frame = frame * self.input_scale
        self._images[0].inside.copy_(frame[0].permute(1, 2, 0))
        for i, stage in enumerate(self.stages):
            image = self._images[i]
            if isinstance(stage, ReadOutStage):
                image = stage.gather(image)
            kept = None
            if memos is not None:
                kept = memos.lease.held[i]
                self._track(i, image, kept.trace, state.last)
            self.before_use(i)
            stage.forward(image, self._images[i + 1], state.v.held[i], kept, self._workspace.turns[i])
        state.last = memos
        return self._images[-1].inside[0].clone(), [] if memos is None else memos

    def before_use(self, i: int) -> None:
        """Called before stage ``i``'s weights are used in the forward pass."""

    def _track(self, i: int, image: Image, trace: Image | None, last: Memos | None) -> None:
        """Advance the trace of a stage's input; of frames there is one only with ``input_trace``."""
        if trace is None:
            return
        old = None if last is None else last.lease.held[i].trace
        if old is None or (i == self._weighted[0] and not self.input_trace):
            trace.array[:] = image.array
        else:
            neuron_kernels.track(image.array, old.array, trace.array, self.decay)

    # --- learning ------------------------------------------------------------------------------------------------

    def credits(self, error: Tensor, memos: list[Memo]) -> list[Tensor]:
        self.refresh()
        deltas = self.new_deltas(error)
        for _ in self.pass_down(deltas, memos, [s.rows for s in self.stages], self._workspace):
            pass
        return deltas

    def new_deltas(self, error: Tensor) -> Deltas:
        """Buffers for the errors of one timestep, of which only the top one, ∂L/∂logits, is filled in."""
        deltas = Deltas(self._deltas.take())
        deltas[-1].copy_(error)
        return deltas

    def pass_down(
        self, deltas: list[Tensor], memos: list[Memo], rows: Sequence[Rows | None], workspace: Workspace
    ) -> Iterator[None]:
        """Fill in the errors below the top one through the weights ``rows``, one stage a step."""
        for i in reversed(range(self._weighted[0] + 1, len(self.stages))):
            self._to_membrane(i, deltas, memos, rows[i], workspace)
            self.stages[i].pass_down(deltas[i], rows[i], workspace.turns[i], deltas[i - 1])
            yield

    def sweep(self, error: Tensor, memos: list[Memo]) -> Iterator[Gradient]:
        self.refresh()
        deltas, work = self.new_deltas(error), self._workspace
        for i in reversed(range(self._weighted[0], len(self.stages))):
            stage = self.stages[i]
            self._to_membrane(i, deltas, memos, stage.rows, work)
            if i > self._weighted[0]:
                stage.pass_down(deltas[i], stage.rows, work.turns[i], deltas[i - 1])
            if isinstance(stage, WeightStage):
                yield self._gradient_of(stage, self._meet_trace(i, memos, work))

    def meet(self, deltas: list[Tensor], memos: list[Memo]) -> Iterator[Gradient]:
        self.refresh()
        for i in reversed(self._weighted):
            stage = self.stages[i]
            assert isinstance(stage, WeightStage)
            yield self._gradient_of(stage, self.lay_out(i, deltas, memos, stage.rows, self._workspace))

    def lay_out(self, i: int, deltas: list[Tensor], memos: list[Memo], rows: Rows, workspace: Workspace) -> Turn:
        """Put what the gradient of one stage's weights is made of into the workspace."""
        self._to_membrane(i, deltas, memos, rows, workspace)
        return self._meet_trace(i, memos, workspace)

    def _to_membrane(
        self, i: int, deltas: list[Tensor], memos: list[Memo], rows: Rows | None, workspace: Workspace
    ) -> None:
        assert isinstance(memos, Memos)
        self.stages[i].to_membrane(deltas[i], memos.lease.held[i], rows, workspace.turns[i])

    def _meet_trace(self, i: int, memos: list[Memo], workspace: Workspace) -> Turn:
        """Lay the trace beside the error at the membrane, which is in the workspace; the gradient is their product."""
        turn = workspace.turns[i]
        assert turn is not None and isinstance(memos, Memos)
        trace = memos.lease.held[i].trace
        assert trace is not None
        turn.take_trace(trace)
        return turn

    def _gradient_of(self, stage: WeightStage, turn: Turn) -> Gradient:
        return FusedGradient(stage, turn) if self.fused else OpenGradient(self, stage, turn)

    # --- weights and state ---------------------------------------------------------------------------------------

    def weights_changed(self) -> None:
        super().weights_changed()
        self._stale = True

    def refresh(self) -> None:
        """Take up weights that were changed from outside."""
        if self._stale:
            for i in self._weighted:
                rows = self.stages[i].rows
                assert rows is not None
                rows.refresh()
            self._stale = False

    def reset(self) -> None:
        if self._state.shared:
            self._state = _State(self._membranes.take())
        self._state.last = None
        for v in self._state.v.held:
            v.fill(0)

    def state(self) -> Any:
        self._state.shared = True
        return self._state

    def set_state(self, state: Any) -> None:
        self._state = state

    def _own_state(self) -> _State:
        """The state, to be changed."""
        if self._state.shared:
            mine = _State(self._membranes.take(), self._state.last)
            for v, theirs in zip(mine.v.held, self._state.v.held, strict=True):
                v[:] = theirs
            self._state = mine
        return self._state

    # --- buffers -------------------------------------------------------------------------------------------------

    def new_workspace(self) -> Workspace:
        """Buffers for one more thread."""
        return Workspace([s.shape for s in self.stages], self._dtype, self._products)

    def _new_images(self) -> list[Image]:
        """The input of each stage, and the logits; before a convolution with the border that it needs."""
        channels, height, width = self.input_shape
        images = []
        for stage in self.stages:
            pad = stage.shape.kernel // 2 if isinstance(stage, ConvStage) else 0
            images.append(Image(height, width, channels, pad, self._dtype))
            height, width, channels = stage.height, stage.width, stage.channels
        return [*images, Image(height, width, channels, 0, self._dtype)]


# Not methods: a pool that held the network would keep it alive.


def new_deltas(stages: Sequence[Stage], dtype: torch.dtype) -> list[Tensor]:
    """Room for the error of each stage's output."""
    return [torch.zeros(s.height, s.width, s.channels, dtype=dtype) for s in stages]


def new_membranes(stages: Sequence[Stage], dtype: torch.dtype) -> list[Array]:
    """Room for the membranes of each stage that has neurons."""
    shapes = [(s.height, s.width, s.channels) if isinstance(s, ConvStage) else (0,) for s in stages]
    return [torch.zeros(shape, dtype=dtype).numpy() for shape in shapes]


def flush_denormals() -> None:
    """Numbers below 1e-38 are zero in this thread: traces decay into them in a long silence, and each costs a trap."""
    torch.set_flush_denormal(True)
