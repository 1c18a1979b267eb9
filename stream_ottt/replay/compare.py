"""Finished runs side by side: their rows, what differs in their settings, and whether their accuracies differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream_ottt.errors import InputError, UsageError
from stream_ottt.replay.report import markdown, row_cells


@dataclass(frozen=True, slots=True)
class Finished:
    """One run's folder.

    Attributes:
        folder: where it is.
        settings: all of them.
        result: its figures.
    """

    folder: Path
    settings: dict[str, Any]
    result: dict[str, Any]


def read_run(folder: Path) -> Finished:
    """The run in a folder.

    Raises:
        InputError: none is there, it has not finished, or its files are damaged.
    """
    found = []
    for name in ("settings.json", "result.json"):
        path = folder / name
        if not path.is_file():
            why = "no run of replay is here" if name == "settings.json" else "the run has not finished; start it again"
            raise InputError(f"{name} is missing: {why}", path=folder)
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as e:
            raise InputError(f"cannot be read: {e}", path=path) from e
        if not isinstance(value, dict):
            raise InputError("expected a JSON object", path=path)
        found.append(value)
    return Finished(folder, *found)


def compare(folders: Sequence[Path]) -> str:
    """Runs as Markdown: a row each, and a table of the settings that are not the same in all of them.

    Raises:
        UsageError: less than two folders.
        InputError: a folder without a finished run.
    """
    if len(folders) < 2:
        raise UsageError("compare needs two folders of runs at least, such as out/ottt_o out/bptt")
    runs = [read_run(folder) for folder in folders]
    try:
        rows = [row_cells(str(run.folder), [(run.settings, run.result)]) for run in runs]
    except (KeyError, TypeError) as e:
        raise InputError(f"settings.json or result.json is of another version: {e} is missing") from e
    flat = [_flat(run.settings) for run in runs]
    keys = dict.fromkeys(key for own in flat for key in own)
    differing = [key for key in keys if len({own.get(key) for own in flat}) > 1]
    parts = [markdown(rows)]
    if differing:
        cells = [[f"`{key}`", *(own.get(key, "–") for own in flat)] for key in differing]
        parts.append(markdown(cells, ["what differs", *(str(run.folder) for run in runs)]))
    else:
        parts.append("No setting differs.\n")
    return "\n".join(parts)


def _flat(tables: dict[str, Any]) -> dict[str, str]:
    """``table.key`` → value as JSON."""
    return {
        f"{table}.{key}": json.dumps(value, ensure_ascii=False)
        for table, own in tables.items()
        for key, value in own.items()
    }
