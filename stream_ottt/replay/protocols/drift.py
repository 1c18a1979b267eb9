"""A stream whose second half is seen otherwise: contrast, polarity, orientation, or another session."""

from __future__ import annotations

from typing import Any

import numpy as np

from stream_ottt.errors import UsageError
from stream_ottt.images.base import Item
from stream_ottt.replay.framing import Raw
from stream_ottt.replay.protocols.base import Row, confusion, score_presentations
from stream_ottt.replay.protocols.prequential import Prequential
from stream_ottt.replay.workbench import Workbench


class Drift(Prequential):
    """Prequential, with a change at half-time and the number of samples until it is overcome."""

    name = "drift"

    @property
    def stream_length(self) -> int:
        whole = len(self.dataset.train)
        return whole + len(self.dataset.test) if self.config.protocol.drift == "session" else whole

    @property
    def change_at(self) -> int:
        """Samples before the change."""
        whole = len(self.dataset.train)
        return whole if self.config.protocol.drift == "session" else whole // 2

    def sample(self, bench: Workbench, at: int, order: list[int]) -> tuple[Item, Raw]:
        if at < self.change_at:
            return super().sample(bench, at, order)
        if self.config.protocol.drift == "session":
            shuffled = bench.loader.order(len(self.dataset.test), 1)
            item = self.dataset.test[shuffled[at - self.change_at]]
            return item, self.dataset.raw(item)
        item, raw = super().sample(bench, at, order)
        return item, self.change(raw, at)

    def change(self, raw: Raw, at: int) -> Raw:
        """A sample as it is seen after the change; ``at`` seeds the events that are left out."""
        c = self.config.protocol
        if c.drift == "polarity":
            return np.ascontiguousarray(raw[:, ::-1])
        if c.drift == "orientation":
            if raw.shape[-1] != raw.shape[-2]:
                raise UsageError("protocol.drift = 'orientation' needs square frames; set data.width and data.height")
            return np.ascontiguousarray(np.rot90(raw, axes=(-2, -1)))
        if self.dataset.static:
            mean = raw.mean()
            flatter: Raw = ((raw - mean) * c.drift_share + mean).round().astype(raw.dtype)
            return flatter
        rng = np.random.default_rng([self.config.compute.seed, 4, at])
        kept: Raw = rng.binomial(raw, c.drift_share).astype(raw.dtype)
        return kept

    def result(self, bench: Workbench, rows: list[Row]) -> dict[str, Any]:
        outcomes = [pair for row in rows for pair in row["outcomes"]]
        before, after = outcomes[: self.change_at], outcomes[self.change_at :]
        n = len(self.dataset.names)
        hits = [a == b for a, b in outcomes]
        return {
            "accuracy": score_presentations(self.config, outcomes, n)["presentations"],
            "before": score_presentations(self.config, before, n),
            "after": score_presentations(self.config, after, n),
            "confusion": confusion(outcomes),
            "change_at": self.change_at,
            "recovery_samples": recovery(
                hits, self.change_at, window=self.config.evaluation.window, share=self.config.protocol.recovered
            ),
        }


def recovery(hits: list[bool], change_at: int, *, window: int, share: float) -> int | None:
    """Samples after a change until the accuracy over the last ``window`` of them is back.

    Args:
        hits: whether each sample was right.
        change_at: samples before the change.
        window: samples that the accuracy is taken over, before and after; at most a third of either side.
        share: back means this share of the accuracy before.

    Returns:
        The number of samples seen since the change when it was back, or None.
    """
    window = max(min(window, change_at // 3, (len(hits) - change_at) // 3), 1)
    level = share * float(np.mean(hits[change_at - window : change_at]))
    for end in range(change_at + window, len(hits) + 1):
        if float(np.mean(hits[end - window : end])) >= level:
            return end - change_at
    return None
