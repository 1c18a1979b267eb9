"""Classes arrive in blocks and do not come back: what is kept of those before."""

from __future__ import annotations

from typing import Any

from stream_ottt.images.base import Item
from stream_ottt.replay.protocols.base import Protocol, Row, learn_batch, score_presentations, skip_batch
from stream_ottt.replay.workbench import Workbench


class ClassIncremental(Protocol):
    """``protocol.block`` classes at a time, ``protocol.epochs`` passes over each block; one read-out for all classes,
    and no hint at test time to which block a sample belongs. The first pass over a block is scored prequentially."""

    name = "class-incremental"

    @property
    def blocks(self) -> list[list[int]]:
        """The labels of each block."""
        labels = list(range(len(self.dataset.names)))
        size = self.config.protocol.block
        return [labels[at : at + size] for at in range(0, len(labels), size)]

    @property
    def length(self) -> int:
        return len(self.blocks) * self.config.protocol.epochs

    @property
    def batches(self) -> int:
        return sum(
            self.config.protocol.epochs * self.of_batches(len(_of(self.dataset.train, block))) for block in self.blocks
        )

    def _batches(self, bench: Workbench, i: int) -> list[list[tuple[int, Item]]]:
        own = _of(self.dataset.train, self.blocks[i // self.config.protocol.epochs])
        order = bench.loader.order(len(own), i)
        size = self.batch_size
        return [[(k, own[k]) for k in order[at : at + size]] for at in range(0, len(order), size)]

    def advance(self, bench: Workbench, i: int) -> Row:
        block, epoch = divmod(i, self.config.protocol.epochs)
        outcomes: list[list[int]] = []
        for batch in self._batches(bench, i):
            items = [item for _, item in batch]
            if epoch == 0:
                said = bench.say(items, [self.dataset.raw(item) for item in items])
                outcomes += [[item.label, s] for item, s in zip(items, said, strict=True)]
            learn_batch(bench, items, [(i, k) for k, _ in batch])
        row: Row = {"block": block + 1, "epoch": epoch + 1, "outcomes": outcomes}
        if epoch + 1 == self.config.protocol.epochs:
            tested = [bench.test(_of(self.dataset.test, own)) for own in self.blocks]
            row["test_accuracy"] = [score.accuracy for score in tested]
        return row

    def skip(self, bench: Workbench, i: int, row: Row) -> None:
        for batch in self._batches(bench, i):
            skip_batch(bench, [item for _, item in batch])

    def result(self, bench: Workbench, rows: list[Row]) -> dict[str, Any]:
        matrix = [row["test_accuracy"] for row in rows if "test_accuracy" in row]
        outcomes = [pair for row in rows for pair in row["outcomes"]]
        score = bench.test(self.dataset.test)
        return {
            "accuracy": score.accuracy,
            "kappa": score.kappa,
            "matrix": matrix,
            "forgetting": forgetting(matrix),
            "backward_transfer": backward_transfer(matrix),
            "prequential": score_presentations(self.config, outcomes, len(self.dataset.names)),
        }


def _of(items: list[Item], labels: list[int]) -> list[Item]:
    return [item for item in items if item.label in labels]


def forgetting(matrix: list[list[float]]) -> float | None:
    """Mean over all blocks but the last of: best accuracy ever reached on it, less that at the end (Chaudhry et al.
    2018).

    Args:
        matrix: [i][j] accuracy on block j after block i was learned.
    """
    last = len(matrix) - 1
    if last < 1:
        return None
    return sum(max(row[j] for row in matrix[j:last]) - matrix[last][j] for j in range(last)) / last


def backward_transfer(matrix: list[list[float]]) -> float | None:
    """Mean over all blocks but the last of: accuracy on it at the end, less that right after it (Lopez-Paz 2017)."""
    last = len(matrix) - 1
    if last < 1:
        return None
    return sum(matrix[last][j] - matrix[j][j] for j in range(last)) / last
