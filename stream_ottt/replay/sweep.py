"""Tables of runs: rows of settings times seeds, in a pool of processes; what fails does not end the rest.

A table is a TOML file::

    title = "…"
    [base]                  # settings of all rows; base.preset names a replay preset
    [[rows]]
    name = "OTTT_O, batch 1"
    settings = { method.name = "ottt_o" }

``data.path`` is a data set's name in braces, such as ``"{nmnist}/nmnist_800.npz"``, and given as ``--data
nmnist=FOLDER``.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
import traceback
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from pydantic import Field

from stream_ottt.config import Tables, merge
from stream_ottt.errors import OutputError, StreamOtttError, UsageError
from stream_ottt.registry import near_miss
from stream_ottt.replay import provenance
from stream_ottt.replay.config import ReplayConfig, read_replay_preset
from stream_ottt.replay.report import about_line, markdown, row_cells
from stream_ottt.settings import Settings

Say = Callable[[str], None]


class RowSpec(Settings):
    """One row.

    Attributes:
        name: what it is, and part of its folder's name.
        preset: a replay preset to start from, instead of the table's.
        settings: tables on top.
    """

    name: str
    preset: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)


class Table(Settings):
    """A named table.

    Attributes:
        title: one line.
        note: lines below the table.
        preset: replay preset of all rows.
        base: settings of all rows, on top of the preset.
        rows: the rows.
    """

    title: str
    note: str = ""
    preset: str | None = None
    base: dict[str, Any] = Field(default_factory=dict)
    rows: tuple[RowSpec, ...] = Field(min_length=1)

    @classmethod
    def named(cls, name: str) -> Table:
        """A table that comes with the package, or a TOML file.

        Raises:
            UsageError: no such table, or not one.
        """
        path = Path(name) if name.endswith(".toml") else _tables() / f"{name}.toml"
        if not name.endswith(".toml") and name not in table_names():
            raise UsageError(f"unknown table {name!r}{near_miss(name, table_names())}")
        try:
            return cls.load(tomllib.loads(path.read_text(encoding="utf-8")), where=path.stem)
        except OSError as e:
            raise UsageError(f"{path}: cannot be read: {e.strerror}") from e
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
            raise UsageError(f"{path}: no valid TOML: {e}") from e

    def config(self, row: RowSpec, seed: int, data: Mapping[str, str], overrides: Tables) -> ReplayConfig:
        """The settings of one run.

        Raises:
            UsageError: wrong settings, or a data set whose place was not given.
        """
        preset = row.preset or self.preset
        tables = merge(
            {} if preset is None else read_replay_preset(preset),
            self.base,
            row.settings,
            overrides,
            {"compute": {"seed": seed}},
        )
        for key in ("path", "test_path", "labels"):
            value = tables.get("data", {}).get(key)
            if isinstance(value, str):
                tables["data"][key] = _fill_in(value, data)
        return ReplayConfig.load(tables, where=row.name)


def table_names() -> list[str]:
    """The tables that come with the package."""
    return sorted(p.stem for p in _tables().glob("*.toml"))


def _tables() -> Path:
    return Path(str(files("stream_ottt.configs"))) / "tables"


def _fill_in(text: str, data: Mapping[str, str]) -> str:
    def place(match: re.Match[str]) -> str:
        name = match[1]
        if name not in data:
            raise UsageError(f"this table needs the data set {name!r}: say where it is with --data {name}=PATH")
        return data[name]

    return re.sub(r"\{([a-z0-9-]+)\}", place, text)


def parse_data(words: Iterable[str]) -> dict[str, str]:
    """``NAME=PATH`` words as a mapping."""
    out: dict[str, str] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or not name or not path:
            raise UsageError(f"--data {word!r}: expected NAME=PATH, such as nmnist=data/nmnist")
        out[name] = path
    return out


def run_table(
    table: Table,
    data: Mapping[str, str],
    out: Path,
    *,
    jobs: int,
    seeds: Iterable[int],
    overrides: Tables | None = None,
    only: str | None = None,
    say: Say = print,
) -> int:
    """Run what is missing of a table and write ``table.md`` and ``table.json``, anew after each run.

    Args:
        table: rows and settings.
        data: data set → where it is.
        out: folder; finished runs in it are kept, interrupted ones go on.
        jobs: runs at once, each in a process with one thread.
        seeds: of each row.
        overrides: settings on top of every row's.
        only: rows whose name contains this.
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
    wanted = [(row.name, seed, table.config(row, seed, data, overrides or {})) for seed in seeds for row in rows]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise OutputError(f"{out}: cannot be made: {e.strerror}") from e
    folders = {(name, seed): out / _slug(name) / f"seed-{seed}" for name, seed, _ in wanted}
    results: dict[tuple[str, int], tuple[dict[str, Any], dict[str, Any]]] = {}
    failures: dict[tuple[str, int], str] = {}
    missing: list[tuple[str, int, ReplayConfig]] = []
    for name, seed, config in wanted:
        done = finished(config, folders[name, seed])
        if done is None:
            missing.append((name, seed, config))
        else:
            results[name, seed] = config.model_dump(mode="json"), done
    write_table(table, rows, results, failures, out)
    if not missing:
        return 0
    # Spawned, not forked: torch's threads do not survive a fork.
    with ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        running = {
            pool.submit(_run, c.model_dump_json(), folders[name, seed]): (name, seed) for name, seed, c in missing
        }
        try:
            for future in as_completed(running):
                name, seed = running[future]
                try:
                    results[name, seed] = future.result()
                    say(f"{name}, seed {seed}: accuracy {results[name, seed][1]['accuracy']:.4f}")
                except Exception as e:  # whatever ended that run; the others go on
                    failures[name, seed] = _one_line(e)
                    say(f"{name}, seed {seed}: FAILED: {failures[name, seed]}")
                write_table(table, rows, results, failures, out)
        except KeyboardInterrupt:
            for process in list(pool._processes.values()):
                process.terminate()
            raise
    return len(failures)


def finished(config: ReplayConfig, folder: Path) -> dict[str, Any] | None:
    """The result of a run that ended before with the same settings."""
    settings, result = folder / "settings.json", folder / "result.json"
    try:
        if json.loads(settings.read_text()) != config.model_dump(mode="json", exclude_none=True):
            return None
        done: dict[str, Any] = json.loads(result.read_text())
        return done
    except (OSError, ValueError):
        return None


def _run(settings: str, out: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """One run, in a process of the pool."""
    from stream_ottt.replay.runs import replay

    config = ReplayConfig.model_validate_json(settings)
    try:
        result = replay(config, out, say=lambda line: None)
    except Exception:
        out.mkdir(parents=True, exist_ok=True)
        (out / "error.txt").write_text(traceback.format_exc())
        raise
    return config.model_dump(mode="json"), result


def _one_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    name = "" if isinstance(error, StreamOtttError) else f"{type(error).__name__}: "
    return name + (text[-1] if text else "no message")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def write_table(
    table: Table,
    rows: Iterable[RowSpec],
    results: Mapping[tuple[str, int], tuple[dict[str, Any], dict[str, Any]]],
    failures: Mapping[tuple[str, int], str],
    out: Path,
) -> None:
    """The table of what has been run so far."""
    from stream_ottt.replay.runs import write_json, write_text

    cells: list[list[str]] = []
    for row in rows:
        own = [value for (name, _), value in sorted(results.items()) if name == row.name]
        if own:
            cells.append(row_cells(row.name, own))
    about = {
        "versions": provenance.versions() | {"commit": _commits(out, results)},
        "machine": provenance.machine(),
        "command": os.environ.get(COMMAND, provenance.command()),
    }
    lines = [f"### {table.title}\n", markdown(cells)]
    lines += [f"{table.note.strip()}\n"] if table.note else []
    lines += [f"- failed: {name}, seed {seed}: {text}" for (name, seed), text in sorted(failures.items())]
    lines.append(about_line(about))
    write_text(out / "table.md", "\n".join(lines) + "\n")
    record = [{"row": n, "seed": s, "settings": c, "result": r} for (n, s), (c, r) in sorted(results.items())]
    failed = [{"row": n, "seed": s, "error": text} for (n, s), text in sorted(failures.items())]
    write_json(out / "table.json", {"title": table.title, "about": about, "runs": record, "failed": failed})


def _commits(out: Path, results: Iterable[tuple[str, int]]) -> str:
    """The commits that the runs were made with: a table that was stopped may have several."""
    found = set()
    for name, seed in results:
        about = json.loads((out / _slug(name) / f"seed-{seed}" / "provenance.json").read_text())
        found.add(about["versions"]["commit"])
    return ", ".join(sorted(found)) or provenance.commit()


COMMAND = "STREAM_OTTT_COMMAND"
"""Environment variable: the command to show beside a table, where it is not this process's own."""
