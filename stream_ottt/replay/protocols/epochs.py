"""The paper's protocol: passes over the training samples in shuffled order, tested after each."""

from __future__ import annotations

import time
from typing import Any

from stream_ottt.labels.score import Score
from stream_ottt.replay.protocols.base import Protocol, Row, learn_batch, skip_batch
from stream_ottt.replay.workbench import Workbench


class Epochs(Protocol):
    """Train and test; the best epoch and the last are both reported, for the best was chosen on the test samples."""

    name = "epochs"

    @property
    def length(self) -> int:
        return self.config.protocol.epochs

    @property
    def batches(self) -> int:
        return self.length * self.of_batches(len(self.dataset.train))

    def _order(self, bench: Workbench, epoch: int) -> list[list[int]]:
        order = bench.loader.order(len(self.dataset.train), epoch)
        return [order[at : at + self.batch_size] for at in range(0, len(order), self.batch_size)]

    _latest: Score | None = None

    def advance(self, bench: Workbench, i: int) -> Row:
        train = self.dataset.train
        started = time.perf_counter()
        hits = 0
        for batch in self._order(bench, i):
            hits += learn_batch(bench, [train[k] for k in batch], [(i, k) for k in batch])
        seconds = time.perf_counter() - started
        self._latest = score = bench.test(self.dataset.test)
        return {
            "epoch": i + 1,
            "train_accuracy": bench.world.total([hits])[0] / len(train),
            "test_accuracy": score.accuracy,
            "kappa": score.kappa,
            "lr": bench.method.optimizer.lr,
            "train_seconds": seconds,
        }

    def skip(self, bench: Workbench, i: int, row: Row) -> None:
        for batch in self._order(bench, i):
            skip_batch(bench, [self.dataset.train[k] for k in batch])

    def result(self, bench: Workbench, rows: list[Row]) -> dict[str, Any]:
        best = max(rows, key=lambda row: row["test_accuracy"])
        out: dict[str, Any] = {
            "accuracy": rows[-1]["test_accuracy"],
            "best_accuracy": best["test_accuracy"],
            "best_epoch": best["epoch"],
            "kappa": rows[-1]["kappa"],
            "confusion": (self._latest or bench.test(self.dataset.test)).rows(),
            "train_seconds": sum(row["train_seconds"] for row in rows),
        }
        steps = self.config.protocol.test_time_steps
        if steps and self.dataset.static:
            out["accuracy_at_time_steps"] = {
                str(t): bench.test(self.dataset.test, time_steps=t).accuracy for t in steps
            }
        return out
