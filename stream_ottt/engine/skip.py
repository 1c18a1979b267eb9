"""The gain of a residual block of one stream on a CPU."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from stream_ottt.compiled import Array
from stream_ottt.engine.connection import CompiledWork
from stream_ottt.engine.images import Delta, Image
from stream_ottt.engine.rows import FusedStep, Slots, update_vector
from stream_ottt.network.connection import SkipGain
from stream_ottt.network.optimizer import GradientSink
from stream_ottt.network.saved import Saved


class GainSet:
    """One set of a skip gain."""

    standardized = False

    def __init__(self, parameters: dict[str, Tensor]) -> None:
        self.parameters = parameters
        self.array: Array = parameters["gain"].numpy()

    def copy(self) -> GainSet:
        """A second set."""
        return GainSet({"gain": self.parameters["gain"].clone()})

    def refresh(self, *, centred: bool) -> None:
        """Nothing follows from it."""


class CompiledSkip:
    """The gain of a residual block; see :class:`stream_ottt.network.connection.SkipGain`."""

    decay = None
    stale = False
    shape = None

    def __init__(self, like: SkipGain, index: int, size: tuple[int, int, int], rows: GainSet, border: int) -> None:
        self.name, self.factor, self.index = like.name, like.factor, index
        self._size = size
        dtype = rows.parameters["gain"].dtype
        self.out = Image(*size, border, dtype)
        self._dtype = dtype
        self._gradient: Array = np.zeros(1, rows.array.dtype)
        self.use(rows)
        self.slots = Slots(self.name, self.parameters)

    def use(self, rows: GainSet) -> None:
        """This is the gain in use."""
        self.parameters = rows.parameters

    def weights_changed(self, *, centred: bool = False) -> None:
        """Nothing follows from it."""

    def new_saved(self, saved: Saved) -> None:
        """A buffer for the branch's output."""
        saved.residual = torch.zeros(*self._size, dtype=self._dtype)

    def keep(self, residual: Image, saved: Saved) -> Tensor:
        kept: Tensor = saved.residual
        return kept.copy_(residual.inside)

    def value(self, work: CompiledWork) -> float:
        return self.factor * float(work.rows[self.index].array[0])

    def forward(self, shortcut: Image, residual: Image, work: CompiledWork) -> Image:
        torch.add(shortcut.inside, residual.inside, alpha=self.value(work), out=self.out.inside)
        return self.out

    def add(self, a: Delta, b: Delta) -> Delta:
        a.tensor += b.tensor
        return a

    def learn(self, delta: Delta, residual: Tensor, sink: GradientSink, work: CompiledWork) -> None:
        rows: GainSet = work.rows[self.index]
        gradient = torch.dot(delta.tensor.view(-1), residual.view(-1)).mul(self.factor).view(1)
        if isinstance(sink, FusedStep):
            self.slots.adopt(sink, centre=False)
            update_vector(rows.array, work.into[self.index].array, self.slots.gain, gradient.numpy(), sink)
        else:
            sink.update(f"{self.name}gain", rows.parameters["gain"], gradient)
