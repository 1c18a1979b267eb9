"""With an error delay Δ, one thread predicts while another learns, with the results of one thread to the bit.

At the end of timestep t the sequential learner forms the errors of t through the weights of t, and then updates these
with the errors of t-Δ. Only the updates are needed before timestep t+1, so they are done first, into a second set of
weights; meanwhile and beside the forward pass of t+1 the errors go down through the first set, which is free again for
the next update once they have.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence

from torch import Tensor

from stream_ottt.engine.network import FastNetwork
from stream_ottt.engine.precision import EXACT, Products
from stream_ottt.engine.stages import WeightStage
from stream_ottt.engine.weights import Rows
from stream_ottt.engine.worker import Job, Worker
from stream_ottt.engine.workspace import Workspace
from stream_ottt.network.layers import Memo
from stream_ottt.network.network import Gradient, Network
from stream_ottt.network.optimizer import SGD, Optimizer, OptimizerConfig


class Credit(Job):
    """The errors of one timestep go down the network.

    Attributes:
        version: how many updates the weights they go through had had.
        deltas: what it fills in.
    """

    def __init__(
        self, network: FastNetwork, deltas: list[Tensor], memos: list[Memo], version: int, after: Sequence[Job]
    ) -> None:
        super().__init__(after)
        self.version = version
        self.deltas = deltas
        self._memos = memos
        self._rows = [stage.rows for stage in network.stages]
        self._pass_down = network.pass_down

    def steps(self, workspace: Workspace) -> Iterator[None]:
        return self._pass_down(self.deltas, self._memos, self._rows, workspace)


class Update(Job):
    """The errors of one timestep meet the traces at one layer, and its weights learn."""

    def __init__(
        self,
        network: FastNetwork,
        index: int,
        errors: tuple[list[Tensor], list[Memo]],
        rows: tuple[Rows, Rows],
        sgd: tuple[OptimizerConfig, float],
        after: Sequence[Job],
    ) -> None:
        super().__init__(after)
        self._network = network
        self._index = index
        self._errors = errors
        self._rows = rows
        self._sgd = sgd

    def steps(self, workspace: Workspace) -> Iterator[None]:
        deltas, memos = self._errors
        old, new = self._rows
        turn = self._network.lay_out(self._index, deltas, memos, old, workspace)
        stage = self._network.stages[self._index]
        assert isinstance(stage, WeightStage)
        old.descend(turn, stage.momentum, *self._sgd, new)
        yield


class LaterGradient(Gradient):
    """A layer's gradient that the worker will make and use."""

    def __init__(self, network: OverlapNetwork, index: int, errors: tuple[list[Tensor], list[Memo]]) -> None:
        super().__init__(network.layers[index], [])
        self._network = network
        self._index = index
        self._errors = errors

    def apply(self, optimizer: Optimizer) -> None:
        assert isinstance(optimizer, SGD)
        self._network.update_later(self._index, self._errors, optimizer)


class OverlapNetwork(FastNetwork):
    """A fast network that learns in a second thread; its parameters may be looked at when that has come to rest.

    Args:
        network: as in :class:`FastNetwork`.
        products: how the operands of its matrix products are rounded.
    """

    _worker: Worker | None = None

    def __init__(self, network: Network, *, products: Products = EXACT) -> None:
        super().__init__(network, products=products)
        self._spare = {i: self._rows(i).copy() for i in self._weighted}
        self._last_update: dict[int, Job] = {}
        self._credits: list[Credit] = []
        self._version = 0
        self._worker = Worker(self.new_workspace())
        weakref.finalize(self, self._worker.close)

    def _rows(self, i: int) -> Rows:
        rows = self.stages[i].rows
        assert rows is not None
        return rows

    def _add(self, job: Job, *, urgent: bool) -> None:
        assert self._worker is not None
        self._worker.add(job, urgent=urgent)

    # --- what the learner asks for -------------------------------------------------------------------------------

    def credits(self, error: Tensor, memos: list[Memo]) -> list[Tensor]:
        deltas = self.new_deltas(error)
        job = Credit(self, deltas, memos, self._version, list(self._last_update.values()))
        self._credits = [*(c for c in self._credits if not c.done), job]
        self._add(job, urgent=False)
        return deltas

    def sweep(self, error: Tensor, memos: list[Memo]) -> Iterator[Gradient]:
        yield from self.meet(self.credits(error, memos), memos)

    def meet(self, deltas: list[Tensor], memos: list[Memo]) -> Iterator[Gradient]:
        for i in reversed(self._weighted):
            yield LaterGradient(self, i, (deltas, memos))
        self._version += 1

    def update_later(self, i: int, errors: tuple[list[Tensor], list[Memo]], optimizer: SGD) -> None:
        """Update stage ``i``'s weights into its other set, which is the one in use from now on."""
        stage = self.stages[i]
        assert isinstance(stage, WeightStage)
        stage.momentum.adopt(optimizer)
        old, new = stage.rows, self._spare[i]
        # The other set is free once all errors that go down through it are at the bottom.
        after: list[Job] = [c for c in self._credits if c.version < self._version or c.deltas is errors[0]]
        if i in self._last_update:
            after.append(self._last_update[i])
        job = Update(self, i, errors, (old, new), (optimizer.config, optimizer.lr), after)
        stage.rows, self._spare[i] = new, old
        self._last_update[i] = job
        self._add(job, urgent=True)

    def before_use(self, i: int) -> None:
        update = self._last_update.get(i)
        if update is not None and self._worker is not None:
            self._worker.complete(update, self._workspace)
            del self._last_update[i]

    # --- what others ask for -------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Wait until all that was learned is in the weights."""
        if self._worker is None:  # still under construction
            return
        self._worker.settle()
        self._credits.clear()
        self._last_update.clear()
        for i, layer in enumerate(self.layers):
            rows = self.stages[i].rows
            if rows is not None:
                layer.set_parameters(rows.parameters)

    @property
    def parameters(self) -> dict[str, Tensor]:
        self.settle()
        return super().parameters

    def weights_changed(self) -> None:
        self.settle()
        super().weights_changed()
