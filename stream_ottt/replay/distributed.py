"""Several processes that train one network on parts of each batch (torch.distributed; started by torchrun)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from stream_ottt.network.optimizer import Optimizer

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class World:
    """The processes of this run.

    Attributes:
        rank: of this one, 0…size - 1; 0 writes the results.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    def share(self, batch: Sequence[T]) -> tuple[list[T], float]:
        """This process's part of a batch, and its share of it.

        A process for which a short last batch leaves nothing takes its first sample with a share of 0: all must take
        part in every exchange of gradients.
        """
        each = -(-len(batch) // self.size)
        own = list(batch[self.rank * each : (self.rank + 1) * each])
        return (own, len(own) / len(batch)) if own else ([batch[0]], 0.0)

    def total(self, values: Sequence[float]) -> list[float]:
        """The sums of ``values`` over all processes."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(list(values), dtype=torch.float64, device=_device())
        torch.distributed.all_reduce(tensor)
        out: list[float] = tensor.tolist()
        return out


class ReducingOptimizer(Optimizer):
    """Sums each gradient over the processes, weighted by their shares of the batch, before ``inner`` applies it.

    Args:
        inner: the optimizer, in the same state in every process.

    Attributes:
        share: this process's share of the batch that is being learned.
    """

    def __init__(self, inner: Optimizer) -> None:
        super().__init__(inner.config)
        self.inner = inner
        self.share = 1.0

    def begin(self) -> None:
        self.inner.begin()
        self.steps, self.lr = self.inner.steps, self.inner.lr

    def update(self, name: str, parameter: Tensor, gradient: Tensor) -> None:
        gradient = gradient * self.share
        torch.distributed.all_reduce(gradient)
        self.inner.update(name, parameter, gradient)

    def state(self) -> dict[str, Tensor]:
        return self.inner.state()

    def set_state(self, state: dict[str, Tensor], steps: int) -> None:
        self.inner.set_state(state, steps)
        self.steps = steps


@contextmanager
def join_world(device: str) -> Iterator[World]:
    """The world that torchrun describes in the environment; alone without it."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World()
        return
    if device != "cpu":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    torch.distributed.init_process_group("gloo" if device == "cpu" else "nccl")
    try:
        yield World(torch.distributed.get_rank(), size)
    finally:
        torch.distributed.destroy_process_group()


def _device() -> str:
    return "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
