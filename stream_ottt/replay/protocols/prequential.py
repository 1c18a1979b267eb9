"""Test-then-train in one pass: each sample is classified, then its label becomes known and it is learned."""

from __future__ import annotations

from typing import Any

from stream_ottt.images.base import Item
from stream_ottt.replay.framing import Raw
from stream_ottt.replay.protocols.base import Protocol, Row, score_presentations
from stream_ottt.replay.workbench import Workbench


class Prequential(Protocol):
    """One pass over the training samples, label at the sample's end; then the held-out ones with learning off."""

    name = "prequential"

    @property
    def stream_length(self) -> int:
        """Samples in the stream."""
        return len(self.dataset.train)

    @property
    def length(self) -> int:
        return -(-self.stream_length // self.config.protocol.interval)

    @property
    def batches(self) -> int:
        return self.of_batches(self.stream_length)

    def order(self, bench: Workbench) -> list[int]:
        """Positions of the training samples in the order of the stream."""
        n = len(self.dataset.train)
        return list(range(n)) if self.config.protocol.order == "recorded" else bench.loader.order(n, 0)

    def sample(self, bench: Workbench, at: int, order: list[int]) -> tuple[Item, Raw]:
        """The stream's sample ``at``, with its raw frames."""
        item = self.dataset.train[order[at]]
        return item, self.dataset.raw(item)

    def _groups(self, bench: Workbench, i: int) -> list[list[tuple[Item, Raw]]]:
        """Interval i, in batches."""
        c = self.config.protocol
        order = self.order(bench)
        end = min((i + 1) * c.interval, self.stream_length)
        starts = range(i * c.interval, end, c.batch_size)
        return [[self.sample(bench, at, order) for at in range(s, min(s + c.batch_size, end))] for s in starts]

    def advance(self, bench: Workbench, i: int) -> Row:
        outcomes: list[list[int]] = []
        for group in self._groups(bench, i):
            items, raws = [item for item, _ in group], [raw for _, raw in group]
            outcomes += [[item.label, said] for item, said in zip(items, bench.say(items, raws), strict=True)]
            frames, targets = bench.loader.tensors(raws, items)
            bench.method.learn(frames, targets)
            bench.rehearse(items, raws)
        hits = sum(a == b for a, b in outcomes)
        return {"samples": len(outcomes), "accuracy": hits / len(outcomes), "outcomes": outcomes}

    def skip(self, bench: Workbench, i: int, row: Row) -> None:
        if self.config.rehearsal.mode == "ratio":
            for group in self._groups(bench, i):
                bench.rehearse([item for item, _ in group], [raw for _, raw in group], learn=False)

    def result(self, bench: Workbench, rows: list[Row]) -> dict[str, Any]:
        outcomes = [pair for row in rows for pair in row["outcomes"]]
        prequential = score_presentations(self.config, outcomes, len(self.dataset.names))
        held_out = bench.test(self.dataset.test)
        return {
            "accuracy": prequential["presentations"],
            "prequential": prequential,
            "held_out_accuracy": held_out.accuracy,
            "held_out_kappa": held_out.kappa,
        }
