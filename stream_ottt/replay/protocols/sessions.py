"""Learned in one session, tested in another: other day, other distance, other light."""

from __future__ import annotations

from typing import Any

from stream_ottt.replay.protocols.base import Row
from stream_ottt.replay.protocols.prequential import Prequential
from stream_ottt.replay.workbench import Workbench


class Sessions(Prequential):
    """One prequential pass over ``data.path``; all of ``data.test_path`` is tested after each interval, not learned."""

    name = "sessions"

    def advance(self, bench: Workbench, i: int) -> Row:
        row = super().advance(bench, i)
        return {**row, "other_session_accuracy": bench.test(self.dataset.test).accuracy}

    def result(self, bench: Workbench, rows: list[Row]) -> dict[str, Any]:
        found = super().result(bench, rows)
        own, other = found["prequential"]["second_half"], found["held_out_accuracy"]
        return {
            **found,
            "accuracy": other,
            "confusion": found["held_out_confusion"],
            "own_session": own,
            "other_session": other,
            "gap": own - other,
            "other_session_over_time": [row["other_session_accuracy"] for row in rows],
        }
