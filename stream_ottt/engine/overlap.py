"""With an error delay Δ, one thread predicts while another learns, with the results of one thread to the bit.

At the end of timestep t the sequential learner forms the errors of t through the weights of t, and then updates these
with the errors of t-Δ. Only the updates are needed before timestep t+1, so they are done first, into a second set of
weights; meanwhile and beside the forward pass of t+1 the errors go down through the first set, which is free again for
the next update once they have.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from stream_ottt.engine.connection import CompiledWork
from stream_ottt.engine.network import CompiledNetwork, fused
from stream_ottt.engine.precision import EXACT, Rounding
from stream_ottt.engine.worker import Job, Worker
from stream_ottt.network.network import Network
from stream_ottt.network.optimizer import GradientSink
from stream_ottt.network.saved import Saved


class FormErrors(Job):
    """The errors of one timestep go down the network.

    Attributes:
        version: how many updates the weights they go through had had.
        saved: of the timestep, where the error signals are kept.
    """

    def __init__(
        self, network: CompiledNetwork, error: Tensor, saved: Sequence[Saved], version: int, after: Sequence[Job]
    ) -> None:
        super().__init__(after)
        self.version = version
        self.saved = saved
        self._error = error
        self._rows = list(network.rows)
        self._pass_down = network.pass_down

    def steps(self, products: list[Any]) -> Iterator[None]:
        return self._pass_down(self._error, self.saved, CompiledWork(products, self._rows), None)


class Update(Job):
    """The errors of one timestep meet the saved tensors of one at one layer, and its weights learn."""

    def __init__(
        self,
        network: CompiledNetwork,
        index: int,
        errors: tuple[Saved, Saved],
        sets: tuple[list[Any], list[Any]],
        sink: GradientSink,
        after: Sequence[Job],
    ) -> None:
        super().__init__(after)
        self._layer = network.layers[index]
        self._errors = errors
        self._sets = sets
        self._sink = sink

    def steps(self, products: list[Any]) -> Iterator[None]:
        self._layer.learn(*self._errors, self._sink, CompiledWork(products, *self._sets))
        yield


class OverlapNetwork(CompiledNetwork):
    """A compiled network that learns in a second thread; its parameters may be looked at when that has come to rest.

    Args:
        network, keep_means, rounding: as in :class:`CompiledNetwork`.
    """

    _worker: Worker | None = None

    def __init__(self, network: Network, *, keep_means: bool = False, rounding: Rounding = EXACT) -> None:
        super().__init__(network, keep_means=keep_means, rounding=rounding)
        self.rows = self.work.rows = list(self.rows)
        self._spare = [rows.copy() for rows in self.rows]
        self._of_layer = [[part.index for _, part in layer.parts(layer.connections)] for layer in self.layers]
        self._last_update: dict[int, Update] = {}
        self._before_last: dict[int, Update | None] = dict.fromkeys(range(len(self.layers)))
        self._forming: list[FormErrors] = []
        self._version = 0
        self._worker = Worker(self.parts.products())
        weakref.finalize(self, self._worker.close)

    # --- what the learner asks for -------------------------------------------------------------------------------

    def backward(self, error: Tensor, saved: Sequence[Saved], sink: GradientSink | None = None) -> None:
        assert self._worker is not None
        self.refresh()
        job = FormErrors(self, error, saved, self._version, list(self._last_update.values()))
        self._forming = [*(f for f in self._forming if not f.done), job]
        self._worker.add(job, urgent=False)
        if sink is not None:
            self.learn(saved, saved, sink)

    def learn(self, signals: Sequence[Saved], saved: Sequence[Saved], sink: GradientSink) -> None:
        assert self._worker is not None
        step = fused(sink)
        assert step is not None
        old = list(self.rows)
        for i in range(len(self.layers) - 1, self._lowest - 1, -1):
            if not self._of_layer[i]:
                continue
            # The other set is free once all errors that go down through it are at the bottom.
            after: list[Job] = [f for f in self._forming if f.version < self._version or f.saved is signals]
            if i in self._last_update:
                after.append(self._last_update[i])
            new = list(self._spare)
            job = Update(self, i, (signals[i], saved[i]), (old, new), step, after)
            self._before_last[i] = self._last_update.get(i)
            self._last_update[i] = job
            self._worker.add(job, urgent=True)
        for i, layer_parts in enumerate(self._of_layer):
            if i >= self._lowest:
                for j in layer_parts:
                    self.rows[j], self._spare[j] = self._spare[j], self.rows[j]
        self._version += 1

    def before_use(self, i: int) -> None:
        """Layer ``i``'s weights are about to be used in the forward pass."""
        update = self._last_update.get(i)
        if update is not None and self._worker is not None:
            self._worker.complete(update, self.work.products)
            del self._last_update[i]

    def add_output(self) -> None:
        """As in the base, once the other thread has come to rest; both sets of weights get the row."""
        super().add_output()
        assert self._worker is not None
        index = self.readout.connection.index  # type: ignore[attr-defined]
        self.refresh()
        self._spare[index] = self.rows[index].copy()
        self._worker.use(self.parts.products())

    # --- what others ask for -------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Wait until all that was learned is in the weights."""
        if self._worker is None:  # still under construction
            return
        self._worker.settle()
        self._forming.clear()
        self._last_update.clear()
        self._before_last = dict.fromkeys(self._before_last)
        for part, rows in zip(self.parts.made, self.rows, strict=True):
            part.use(rows)

    def squared_norm(self, turn: int) -> tuple[str, int, float] | None:
        """That of the weights before the last update: the other thread may still be at the newest ones."""
        assert self._worker is not None
        i = turn % len(self._spare)
        before = next((self._before_last[k] for k, own in enumerate(self._of_layer) if i in own), None)
        if before is not None:
            self._worker.complete(before, self.work.products)
        return self.norm_of(i, self._spare)

    @property
    def parameters(self) -> dict[str, Tensor]:
        self.settle()
        return super().parameters

    def weights_changed(self, *, centred: bool = False) -> None:
        self.settle()
        super().weights_changed(centred=centred)
