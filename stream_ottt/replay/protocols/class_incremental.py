"""Classes arrive in blocks and do not come back: what is kept of those before."""

from __future__ import annotations

from typing import Any

from stream_ottt.images.base import Item
from stream_ottt.replay.analysis.new_classes import time_to_know
from stream_ottt.replay.analysis.transfer import transfer_figures
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

    def _test(self, bench: Workbench) -> list[float | None]:
        """Accuracy on each block."""
        return [bench.test(_of(self.dataset.test, own)).accuracy for own in self.blocks]

    def advance(self, bench: Workbench, i: int) -> Row:
        c = self.config.protocol
        block, epoch = divmod(i, c.epochs)
        outcomes: list[list[int]] = []
        row: Row = {"block": block + 1, "epoch": epoch + 1, "outcomes": outcomes}
        if i == 0:
            row["untrained_accuracy"] = self._test(bench)
        batches = self._batches(bench, i)
        whole = c.epochs * len(batches)
        tested = {-(-k * whole // c.evaluations) for k in range(1, c.evaluations + 1)}
        row["anytime_accuracy"] = []
        for n, batch in enumerate(batches, start=1 + epoch * len(batches)):
            items = [item for _, item in batch]
            if epoch == 0:
                said = bench.say(items, [self.dataset.raw(item) for item in items])
                outcomes += [[item.label, s] for item, s in zip(items, said, strict=True)]
            learn_batch(bench, items, [(i, k) for k, _ in batch])
            if n in tested:
                row["anytime_accuracy"].append(self._test(bench))
        if epoch + 1 == c.epochs:
            row["test_accuracy"] = row["anytime_accuracy"][-1]
        return row

    def skip(self, bench: Workbench, i: int, row: Row) -> None:
        for batch in self._batches(bench, i):
            skip_batch(bench, [item for _, item in batch])

    def result(self, bench: Workbench, rows: list[Row]) -> dict[str, Any]:
        matrix = [row["test_accuracy"] for row in rows if "test_accuracy" in row]
        outcomes = [pair for row in rows for pair in row["outcomes"]]
        score = bench.test(self.dataset.test)
        n = self.config.protocol.epochs
        anytime = [
            [own for row in rows[at : at + n] for own in row["anytime_accuracy"]] for at in range(0, len(rows), n)
        ]
        return {
            "accuracy": score.accuracy,
            "kappa": score.kappa,
            "matrix": matrix,
            **transfer_figures(matrix, rows[0]["untrained_accuracy"], anytime),
            "confusion": score.rows(),
            "new_classes": time_to_know(outcomes, sample_us=self.sample_us),
            "prequential": score_presentations(self.config, outcomes, len(self.dataset.names)),
        }


def _of(items: list[Item], labels: list[int]) -> list[Item]:
    return [item for item in items if item.label in labels]
