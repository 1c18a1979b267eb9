"""A table run by run: rows times seeds, in a pool of processes; what fails does not end the rest."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from stream_ottt.errors import OutputError, StreamOtttError, UsageError
from stream_ottt.replay.check import check
from stream_ottt.replay.config import ReplayConfig
from stream_ottt.replay.records import Record, finished
from stream_ottt.replay.results import write_table
from stream_ottt.replay.tables import Table
from stream_ottt.run.presets import Tables

Say = Callable[[str], None]


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
    say: Say = print,
) -> int:
    """Run what is missing of a table and write ``table.md`` and ``table.json``, anew after each run; draw its figures
    at the end.

    Args:
        table: rows and settings.
        data: data set → where it is.
        out: folder; finished runs in it are kept, interrupted ones go on.
        jobs: runs at once, each in a process with one thread.
        seeds: of each row.
        overrides: settings on top of every row's.
        only: rows whose name contains this.
        elsewhere: folders of other tables; a finished run in them with the same settings is not made again.
        say: takes a line a run.

    Returns:
        How many runs failed.

    Raises:
        UsageError: wrong settings, found before anything runs.
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
    # Spawned, not forked: torch's threads do not survive a fork.
    with ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        running = {pool.submit(_run, wanted[key].model_dump_json(), _folder(out, *key)): key for key in missing}
        try:
            for future in as_completed(running):
                name, seed = running[future]
                try:
                    future.result()
                    folder = _folder(out, name, seed)
                    record = finished(wanted[name, seed], folder, name)
                    if record is None:
                        raise OutputError(f"{folder}: holds a damaged run; remove it and run this again")
                    found[name, seed] = record
                    say(f"{name}, seed {seed}: accuracy {record.result['accuracy']:.4f}")
                except Exception as e:  # whatever ended that run; the others go on
                    failures[name, seed] = _one_line(e)
                    say(f"{name}, seed {seed}: FAILED: {failures[name, seed]}")
                write()
        except KeyboardInterrupt:
            for process in list(pool._processes.values()):
                process.terminate()
            raise
    write(figures=True)
    return len(failures)


def _run(settings: str, out: Path) -> None:
    """One run, in a process of the pool."""
    from stream_ottt.replay.runs import replay

    config = ReplayConfig.model_validate_json(settings)
    try:
        replay(config, out, say=lambda line: None)
    except Exception:
        out.mkdir(parents=True, exist_ok=True)
        (out / "error.txt").write_text(traceback.format_exc())
        raise


def _one_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    name = "" if isinstance(error, StreamOtttError) else f"{type(error).__name__}: "
    return name + (text[-1] if text else "no message")


def _folder(out: Path, row: str, seed: int) -> Path:
    """The folder of one run."""
    slug = re.sub(r"[^a-z0-9]+", "-", row.lower()).strip("-")
    return out / slug / f"seed-{seed}"
