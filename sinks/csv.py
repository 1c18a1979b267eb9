"""CSV: one row a timestep, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io

from stream_ottt.events.timestep import StepResult
from stream_ottt.sinks.jsonl import record
from stream_ottt.sinks.textfile import TextFileSink

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

    def header(self) -> str:
        return ",".join(COLUMNS) + "\n"

    def step_of(self, line: bytes) -> int | None:
        word = line.partition(b",")[0]
        return int(word) if word.isdigit() else None

    async def consume(self, result: StepResult) -> None:
        row = record(result)
        line = io.StringIO()
        cells = (int(v) if isinstance(v, bool) else v for v in (row[c] for c in COLUMNS))
        csv.writer(line, lineterminator="\n").writerow(cells)
        self.write(line.getvalue())
