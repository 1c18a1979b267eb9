"""A table run by run: rows times seeds, in processes or on a cluster; what fails does not end the rest."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError
from pathlib import Path

from stream_ottt.errors import OutputError, StreamOtttError, UsageError
from stream_ottt.replay.check import check
from stream_ottt.replay.executors import make_run, results
from stream_ottt.replay.records import Record, finished
from stream_ottt.replay.results import write_table
from stream_ottt.replay.tables import Table
from stream_ottt.run.presets import Tables

Say = Callable[[str], None]
At = Callable[[float], None]


def run_table(
    table: Table,
    data: Mapping[str, str],
    out: Path,
    *,
    jobs: int,
    seeds: Iterable[int],
    overrides: Tables | None = None,
    only: str | None = None,
    elsewhere: Sequence[Path] = (),
    scheduler: str | None = None,
    say: Say = print,
    at: At = lambda share: None,
) -> int:
    """Run what is missing of a table and write ``table.md`` and ``table.json``, anew after each run; draw its figures
    at the end.

    Args:
        table: rows and settings.
        data: data set → where it is.
        out: folder; finished runs in it are kept, interrupted ones go on.
        jobs: runs at once, each in a process with one thread, where there is no scheduler.
        seeds: of each row.
        overrides: settings on top of every row's.
        only: rows whose name contains this.
        elsewhere: folders of other tables; a finished run in them with the same settings is not made again.
        scheduler: address of a Dask scheduler whose workers make the runs; they share ``out`` and the data.
        say: takes a line a run.
        at: told after each run how much of the table is done, 0 … 1.

    Returns:
        How many runs failed.

    Raises:
        UsageError: wrong settings, found before anything runs; no such scheduler.
        OutputError: the folder cannot be written.
    """
    rows = [row for row in table.rows if only is None or only in row.name]
    if not rows:
        raise UsageError(f"no row of this table has {only!r} in its name: {', '.join(r.name for r in table.rows)}")
    seeds = list(seeds)
    # Seed by seed, so that an early look at the table sees every row.
    wanted = {(row.name, seed): table.config(row, seed, data, overrides or {}) for seed in seeds for row in rows}
    for config in wanted.values():
        check(config)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise OutputError(f"{out}: cannot be made: {e.strerror}") from e
    found: dict[tuple[str, int], Record] = {}
    failures: dict[tuple[str, int], str] = {}

    def write(*, figures: bool = False) -> None:
        in_order = [found[row.name, seed] for row in rows for seed in seeds if (row.name, seed) in found]
        write_table(table, in_order, failures, out, figures=figures)

    for (name, seed), config in wanted.items():
        places = [_folder(out, name, seed), *(p for other in elsewhere for p in sorted(other.glob(f"*/seed-{seed}")))]
        for place in places:
            record = finished(config, place, name)
            if record is not None:
                found[name, seed] = record
                if place is not places[0]:
                    say(f"{name}, seed {seed}: as in {place}")
                break
    missing = [key for key in wanted if key not in found]
    write(figures=not missing)
    if not missing:
        return 0
    calls = {key: (wanted[key].model_dump_json(), str(_folder(out, *key).absolute())) for key in missing}
    for (name, seed), future in results(calls, make_run, jobs, scheduler):
        try:
            future.result()
            folder = _folder(out, name, seed)
            record = finished(wanted[name, seed], folder, name)
            if record is None:
                raise OutputError(
                    f"{folder}: holds no finished run, or a damaged one; remove it and run this again"
                    + (", in a folder that all workers share" if scheduler else "")
                )
            found[name, seed] = record
            say(f"{name}, seed {seed}: accuracy {record.result['accuracy']:.4f}")
        except Exception as e:  # whatever ended that run; the others go on
            failures[name, seed] = _one_line(e)
            say(f"{name}, seed {seed}: FAILED: {failures[name, seed]}")
        write()
        at((len(found) + len(failures)) / len(wanted))
    write(figures=True)
    return len(failures)


def _one_line(error: BaseException) -> str:
    if isinstance(error, CancelledError):
        return "the scheduler is gone; the same command makes what is missing"
    text = str(error).strip().splitlines()
    name = "" if isinstance(error, StreamOtttError) else f"{type(error).__name__}: "
    return name + (text[-1] if text else "no message")


def _folder(out: Path, row: str, seed: int) -> Path:
    """The folder of one run."""
    slug = re.sub(r"[^a-z0-9]+", "-", row.lower()).strip("-")
    return out / slug / f"seed-{seed}"
