"""CSV: one row a timestep, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from stream_ottt.events.timestep import StepResult
from stream_ottt.sinks.jsonl import record
from stream_ottt.sinks.textfile import TextFileSink

if TYPE_CHECKING:
    from stream_ottt.pipeline.view import RunView

COLUMNS = (
    "step",
    "t_start",
    "t_end",
    "label",
    "confidence",
    "unknown",
    "truth",
    "scored",
    "learned",
    "learned_from",
    "events",
    "latency_ms",
)
"""The header: the keys of :func:`stream_ottt.sinks.jsonl.record`."""


class CsvSink(TextFileSink):
    """Writes a header and one row a timestep. Truth values are 0 and 1; what is not known is left empty."""

    name = "csv"

    async def open(self, run: RunView) -> None:
        await super().open(run)
        if not self.begins_at:
            self.write(",".join(COLUMNS) + "\n")

    async def consume(self, result: StepResult) -> None:
        row = record(result)
        line = io.StringIO()
        cells = (int(v) if isinstance(v, bool) else v for v in (row[c] for c in COLUMNS))
        csv.writer(line, lineterminator="\n").writerow(cells)
        self.write(line.getvalue())
