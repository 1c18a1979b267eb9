"""Finished runs of a table as its text and its figures read them, and which of its rows belong side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream_ottt.replay.config import ReplayConfig


@dataclass(frozen=True, slots=True)
class Record:
    """One finished run.

    Attributes:
        row: name of its row in the table.
        seed: its seed.
        settings: all settings, JSON-ready.
        result: what ``result.json`` holds.
        metrics: the numbers of ``metrics.jsonl``, a mapping an interval.
        commit: of the code that made it.
    """

    row: str
    seed: int
    settings: dict[str, Any]
    result: dict[str, Any]
    metrics: tuple[dict[str, float], ...]
    commit: str

    def as_json(self) -> dict[str, Any]:
        """The run as ``table.json`` lists it."""
        return {key: getattr(self, key) for key in ("row", "seed", "settings", "result", "metrics")}


def finished(config: ReplayConfig, folder: Path, row: str) -> Record | None:
    """The run in ``folder``, when it ended and had the same settings.

    What was measured beside the training may have been more there: that is left out.
    """
    try:
        settings = json.loads((folder / "settings.json").read_text())
        wanted = config.model_dump(mode="json", exclude_none=True)
        if not _serves(settings, wanted):
            return None
        result = json.loads((folder / "result.json").read_text())
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        metrics = tuple({k: v for k, v in json.loads(s).items() if isinstance(v, (int, float))} for s in lines)
        commit = json.loads((folder / "provenance.json").read_text())["versions"]["commit"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not config.report.alignment:
        result.pop("alignment", None)
    return Record(row, config.compute.seed, config.model_dump(mode="json"), result, metrics, commit)


def _serves(settings: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether a run trained as wanted, and measured what is wanted."""
    did, asked = settings["report"], wanted["report"]
    measured = did["activity"] == asked["activity"] and asked["alignment"] in (0, did["alignment"])
    return measured and settings | {"report": None} == wanted | {"report": None}


# --- which rows belong together -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Family:
    """Rows that are compared with one another.

    Attributes:
        title: what their names have in common.
        rows: what is left of each name → the records of its seeds.
    """

    title: str
    rows: dict[str, list[Record]]


def by_row(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Row → the runs of its seeds, in the order of the records."""
    out: dict[str, list[Record]] = {}
    for record in records:
        out.setdefault(record.row, []).append(record)
    return out


def families(records: Iterable[Record], key: Callable[[dict[str, Any]], object]) -> list[Family]:
    """Rows whose settings have the same ``key``, in the order of the records."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(json.dumps(key(record.settings), sort_keys=True), []).append(record)
    out = []
    for own in groups.values():
        rows = by_row(own)
        title, labels = split_names(list(rows))
        out.append(Family(title, dict(zip(labels, rows.values(), strict=True))))
    return out


def same_task(settings: dict[str, Any]) -> object:
    """Data and protocol: rows that have them in common differ in method or network."""
    return settings["data"], settings["protocol"]


def without(settings: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Settings but for some tables (``compute``) or keys in them (``learner.lr``)."""
    left = {table: value for table, value in settings.items() if table not in keys}
    for table, _, key in (key.partition(".") for key in keys):
        if key:
            left[table] = {k: v for k, v in left[table].items() if k != key}
    return left


def split_names(names: Sequence[str]) -> tuple[str, list[str]]:
    """What names such as "OTTT_O, batch 1" have in common between their commas, and what is left of each."""
    parts = [name.split(", ") for name in names]
    common = [part for part in parts[0] if all(part in other for other in parts)]
    if any(len(own) == len(common) for own in parts):
        common = common[1:]  # each keeps a name
    return ", ".join(common), [", ".join(p for p in own if p not in common) for own in parts]
