"""Test-then-train in one pass: each sample is classified, and learned once its label is known.

With ``protocol.label_delay`` = Δ the label of sample s is known after sample s + Δ was classified; labels that have not
come by the end are not learned. With ``protocol.near_future`` = S sample t + S is classified too before sample t is
learned: by a learner that has seen nothing of the S samples before it, which may be like it.
"""

from __future__ import annotations

from typing import Any

from stream_ottt.images.base import Item
from stream_ottt.replay.analysis.new_classes import time_to_know
from stream_ottt.replay.framing import Raw
from stream_ottt.replay.protocols.base import Protocol, Row, confusion, score_presentations
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
        return self.of_batches(max(self.stream_length - self.config.protocol.label_delay, 0))

    def order(self, bench: Workbench) -> list[int]:
        """Positions of the training samples in the order of the stream."""
        n = len(self.dataset.train)
        return list(range(n)) if self.config.protocol.order == "recorded" else bench.loader.order(n, 0)

    def sample(self, bench: Workbench, at: int, order: list[int]) -> tuple[Item, Raw]:
        """The stream's sample ``at``, with its raw frames."""
        item = self.dataset.train[order[at]]
        return item, self.dataset.raw(item)

    def _groups(self, i: int) -> list[tuple[range, range]]:
        """Interval i, in batches: the samples that are classified, and those whose labels have come by then."""
        c = self.config.protocol
        end = min((i + 1) * c.interval, self.stream_length)
        starts = range(i * c.interval, end, c.batch_size)
        said = [range(at, min(at + c.batch_size, end)) for at in starts]
        late = c.label_delay
        return [(own, range(max(own.start - late, 0), max(own.stop - late, 0))) for own in said]

    def _samples(self, bench: Workbench, which: range, order: list[int]) -> tuple[list[Item], list[Raw]]:
        found = [self.sample(bench, at, order) for at in which]
        return [item for item, _ in found], [raw for _, raw in found]

    def _classify(self, bench: Workbench, which: range, order: list[int]) -> list[list[int]]:
        """(truth, said) of each sample."""
        if not which:
            return []
        items, raws = self._samples(bench, which, order)
        return [[item.label, said] for item, said in zip(items, bench.say(items, raws), strict=True)]

    def advance(self, bench: Workbench, i: int) -> Row:
        order = self.order(bench)
        ahead = self.config.protocol.near_future
        outcomes: list[list[int]] = []
        future: list[list[int]] = []
        for classified, known in self._groups(i):
            outcomes += self._classify(bench, classified, order)
            if ahead:
                later = range(classified.start + ahead, min(classified.stop + ahead, self.stream_length))
                future += self._classify(bench, later, order)
            if known:
                items, raws = self._samples(bench, known, order)
                frames, targets = bench.loader.tensors(raws, items)
                bench.method.learn(frames, targets)
                bench.rehearse(items, raws)
        hits = sum(a == b for a, b in outcomes)
        row: Row = {"samples": len(outcomes), "accuracy": hits / len(outcomes), "outcomes": outcomes}
        return {**row, "near_future": future} if ahead else row

    def skip(self, bench: Workbench, i: int, row: Row) -> None:
        if self.config.rehearsal.mode == "ratio":
            order = self.order(bench)
            for _, known in self._groups(i):
                bench.rehearse(*self._samples(bench, known, order), learn=False)

    def result(self, bench: Workbench, rows: list[Row]) -> dict[str, Any]:
        outcomes = [pair for row in rows for pair in row["outcomes"]]
        future = [pair for row in rows for pair in row.get("near_future", [])]
        prequential = score_presentations(self.config, outcomes, len(self.dataset.names))
        held_out = bench.test(self.dataset.test)
        found = {
            "accuracy": prequential["presentations"],
            "prequential": prequential,
            "confusion": confusion(outcomes),
            "new_classes": time_to_know(outcomes, sample_us=self.sample_us),
            "held_out_accuracy": held_out.accuracy,
            "held_out_kappa": held_out.kappa,
            "held_out_confusion": held_out.rows(),
        }
        return {**found, "near_future_accuracy": sum(a == b for a, b in future) / len(future)} if future else found
