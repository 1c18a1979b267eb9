"""What a table leaves in its folder: ``table.md``, ``table.json`` and figures."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from stream_ottt.replay import details, provenance
from stream_ottt.replay.files import write_json, write_text
from stream_ottt.replay.records import Record, by_row
from stream_ottt.replay.report import about_line, markdown, row_cells
from stream_ottt.replay.table_figures import draw_table
from stream_ottt.replay.tables import Table

COMMAND = "STREAM_OTTT_COMMAND"
"""Environment variable: the command to show beside a table, where it is not this process's own."""

PARTS: tuple[tuple[Callable[[Sequence[Record]], str] | None, str | None], ...] = (
    (details.streams, None),
    (details.blocks, None),
    (details.drifts, None),
    (details.new_classes, None),
    (details.real_time, None),
    (details.late_and_far, None),
    (details.precisions, None),
    (None, "epochs"),
    (None, "batch-sizes"),
    (details.more_timesteps, "time-steps"),
    (details.activity, "rates"),
    (details.alignment, "alignment"),
)
"""Below the rows: text, and the figure that goes with it."""


def write_table(
    table: Table, records: Sequence[Record], failures: Mapping[tuple[str, int], str], out: Path, *, figures: bool
) -> None:
    """The table of what has been run so far.

    Args:
        table: its title and note.
        records: the finished runs, row by row.
        failures: (row, seed) → what ended it.
        out: the folder.
        figures: draw figures too, where matplotlib is there.
    """
    cells = [row_cells(row, [(r.settings, r.result) for r in own]) for row, own in by_row(records).items()]
    commits = ", ".join(sorted({r.commit for r in records})) or provenance.commit()
    about = {
        "versions": provenance.versions() | {"commit": commits},
        "machine": provenance.machine(),
        "command": os.environ.get(COMMAND, provenance.command()),
    }
    lines = [f"### {table.title}\n", markdown(cells)]
    lines += [f"{table.note.strip()}\n"] if table.note else []
    lines += [f"- failed: {name}, seed {seed}: {text}" for (name, seed), text in sorted(failures.items())]
    lines.append(f"{about_line(about)}\n")
    drawn = draw_table(records, out) if figures else {}
    for text, figure in PARTS:
        said = "" if text is None else text(records)
        lines += [said] if said else []
        lines += [f"![{drawn[figure]}]({figure}.png)\n"] if figure in drawn else []
    write_text(out / "table.md", "\n".join(lines))
    failed = [{"row": n, "seed": s, "error": text} for (n, s), text in sorted(failures.items())]
    runs = [record.as_json() for record in records]
    write_json(out / "table.json", {"title": table.title, "about": about, "runs": runs, "failed": failed})
