"""``stream-ottt bench``: a named table, run by run, in processes or on a cluster, with its figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stream_ottt.cli.markdown import show
from stream_ottt.cli.progress import loading, progress
from stream_ottt.errors import INTERRUPTED, UsageError
from stream_ottt.progress import Bar
from stream_ottt.registry import split_uri


def run_bench(
    table: str | None,
    *,
    data: list[str],
    out: Path,
    jobs: int,
    seeds: int,
    overrides: dict[str, Any],
    rows: str | None,
    scheduler: str | None,
) -> int:
    """Reproduce a table, or list the tables.

    Args:
        table: its name or TOML file; None lists them.
        data: ``NAME=PATH`` of each data set that it needs.
        out: folder of its runs and of the table.
        jobs: runs at once.
        seeds: seeds 0, 1, … of each row.
        overrides: settings on top of every row's.
        rows: only the rows whose name contains this.
        scheduler: address of a Dask scheduler, in the place of processes.

    Returns:
        0, 1 when some runs failed, 130 after Ctrl-C.

    Raises:
        UsageError: no such table or data, or wrong settings.
    """
    from stream_ottt.cli.presets import list_presets
    from stream_ottt.run.presets import TABLES

    if table is None:
        list_presets(TABLES)
        return 0
    from stream_ottt.replay.tables import Table, parse_data

    places = parse_data(data)
    for name, place in places.items():  # else each run would find out for itself
        if scheduler is None and split_uri(place)[0] is None and not Path(place).exists():
            raise UsageError(f"--data {name}={place}: no such file or folder")
    loaded, left_out = Table.named(table).with_data(places)
    if left_out:
        progress(f"rows on {', '.join(left_out)} are left out; --data NAME=PATH says where the data are")
    loading(table)
    from stream_ottt.replay.sweep import run_table

    try:
        with Bar(Path(table).stem) as bar:
            failed = run_table(
                loaded,
                places,
                out,
                jobs=jobs,
                seeds=range(seeds),
                overrides=overrides,
                only=rows,
                scheduler=scheduler,
                say=progress,
                at=bar.at,
            )
    except KeyboardInterrupt:
        progress(f"stopped; the same command goes on with what is missing in {out}")
        return INTERRUPTED
    show((out / "table.md").read_text(encoding="utf-8"))
    return 1 if failed else 0
