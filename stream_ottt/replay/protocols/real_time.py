"""Real time: the stream does not wait, and only what was said before the next sample counts.

Sample i is complete at (i + 1) d, d its duration divided by ``protocol.speed``, and its answer is due at (i + 2) d. The
learner takes it at the later of the two times at which it is complete and at which the learner is free. What would be
begun after it was due is passed over; what is answered late is neither counted as right nor learned. The answer takes
as long as it takes on this machine, and so does learning, after which the learner is free again (after Ghunaim et al.:
"Real-Time Evaluation in Online Continual Learning: A New Hope", CVPR 2023, who count passes instead of time).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from stream_ottt.errors import UsageError
from stream_ottt.replay.config import ReplayConfig
from stream_ottt.replay.datasets.base import DataSet
from stream_ottt.replay.protocols.base import Row, confusion, learn_batch, score_presentations
from stream_ottt.replay.protocols.prequential import Prequential
from stream_ottt.replay.workbench import Workbench

MISSED = -1
"""What was said of a sample that was not answered in time."""


class RealTime(Prequential):
    """Prequential in one pass, sample by sample, on a clock.

    Raises:
        UsageError: samples without a duration, or several at once.
    """

    name = "real-time"

    def __init__(self, config: ReplayConfig, dataset: DataSet, processes: int = 1) -> None:
        super().__init__(config, dataset, processes)
        duration = self.sample_us
        if duration is None or self.batch_size > 1:
            raise UsageError("protocol 'real-time' needs data.binning = 'duration' and protocol.batch_size = 1")
        self._due_in = duration / config.protocol.speed
        self._free = 0.0

    def advance(self, bench: Workbench, i: int) -> Row:
        c = self.config.protocol
        if c.predict_cost is None or c.learn_cost is None:
            self._warm_up()
        order = self.order(bench)
        outcomes: list[list[int]] = []
        learned = 0
        for at in range(i * c.interval, min((i + 1) * c.interval, self.stream_length)):
            complete = (at + 1) * self._due_in
            start, due = max(self._free, complete), complete + self._due_in
            item, raw = self.sample(bench, at, order)
            said = MISSED
            if start < due:
                [answer], cost = _timed(lambda x=item, r=raw: bench.say([x], [r]), c.predict_cost)  # type: ignore[misc]
                self._free = start + cost
                if self._free <= due:
                    said = answer
                    _, cost = _timed(lambda x=item: learn_batch(bench, [x], [(0, 0)]), c.learn_cost)  # type: ignore[misc]
                    self._free += cost
                    learned += 1
            outcomes.append([item.label, said])
        hits = sum(a == b for a, b in outcomes)
        return {
            "samples": len(outcomes),
            "accuracy": hits / len(outcomes),
            "learned": learned,
            "free": self._free,
            "outcomes": outcomes,
        }

    def _warm_up(self) -> None:
        """Have compiled loops loaded before anything is timed."""
        bench = Workbench(self.config, batches=1, dataset=self.dataset)
        item = self.dataset.train[0]
        bench.say([item], [self.dataset.raw(item)])
        learn_batch(bench, [item], [(0, 0)])

    def skip(self, bench: Workbench, i: int, row: Row) -> None:
        self._free = row["free"]

    def result(self, bench: Workbench, rows: list[Row]) -> dict[str, Any]:
        outcomes = [pair for row in rows for pair in row["outcomes"]]
        answered = [pair for pair in outcomes if pair[1] != MISSED]
        classes = len(self.dataset.names)
        return {
            "accuracy": sum(a == b for a, b in outcomes) / len(outcomes),
            "speed": self.config.protocol.speed,
            "in_time": len(answered) / len(outcomes),
            "learned": sum(row["learned"] for row in rows) / len(outcomes),
            "prequential": score_presentations(self.config, answered, classes),
            "confusion": confusion(answered),
            "held_out_accuracy": bench.test(self.dataset.test).accuracy,
        }


def _timed(act: Callable[[], Any], cost: int | None) -> tuple[Any, float]:
    """What ``act`` gives and how long it took, µs; ``cost`` where that is given."""
    started = time.perf_counter()
    found = act()
    return found, (time.perf_counter() - started) * 1e6 if cost is None else float(cost)
