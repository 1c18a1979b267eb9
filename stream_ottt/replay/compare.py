"""Finished runs side by side: their figures, and what differs in their settings; of `run`, and of `replay`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream_ottt.errors import InputError, UsageError
from stream_ottt.replay.report import markdown, row_cells

SUMMARY = "summary.json"
"""What `run --record` leaves when it has ended."""

STREAM_HEADER = ("what", "source", "presentations", "right", "second half", "kappa", "steps right", "timesteps", "seed")


@dataclass(frozen=True, slots=True)
class Finished:
    """One run.

    Attributes:
        place: its folder, or its summary.
        settings: all of them, nested tables.
        cells: its figures, as the table of its kind has them.
        of_stream: whether `run` made it.
    """

    place: Path
    settings: dict[str, Any]
    cells: list[str]
    of_stream: bool


def read_run(place: Path) -> Finished:
    """The run in a folder of `run --record` or of `replay`, or of a summary's file.

    Raises:
        InputError: none is there, it has not finished, or its files are damaged.
    """
    summary = place if place.is_file() else place / SUMMARY
    if summary.is_file():
        found = _json(summary)
        try:
            return Finished(place, found["settings"], _stream_cells(place, found), True)
        except (KeyError, TypeError) as e:
            raise InputError(f"no summary of this version: {e} is missing", path=summary) from e
    if (place / "settings.toml").is_file():
        raise InputError(f"{SUMMARY} is missing: the run has not finished", path=place)
    for name, why in (
        ("settings.json", "no run of replay, and none of run --record, is here"),
        ("result.json", "the run has not finished; start it again"),
    ):
        if not (place / name).is_file():
            raise InputError(f"{name} is missing: {why}", path=place)
    settings, result = _json(place / "settings.json"), _json(place / "result.json")
    try:
        return Finished(place, settings, row_cells(str(place), [(settings, result)]), False)
    except (KeyError, TypeError) as e:
        raise InputError(f"settings.json or result.json is of another version: {e} is missing", path=place) from e


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise InputError(f"cannot be read: {e}", path=path) from e
    if not isinstance(value, dict):
        raise InputError("expected a JSON object", path=path)
    return value


def _stream_cells(place: Path, summary: dict[str, Any]) -> list[str]:
    accuracy = summary["accuracy"]
    scores = [accuracy[key] for key in ("presentations", "second_half", "kappa", "steps")]
    shown = ["–" if score is None else f"{score:.3f}" for score in scores]
    numbers = f"{summary['presentations']:,}", f"{summary['timesteps']:,}", str(summary["seed"])
    return [str(place), str(summary["source"]), numbers[0], *shown, *numbers[1:]]


def compare(places: Sequence[Path]) -> str:
    """Runs as Markdown: a row each, and a table of the settings that are not the same in all of them.

    Args:
        places: folders of `run --record` and of `replay`, or files of summaries. The two kinds have a table each.

    Raises:
        UsageError: less than two.
        InputError: one without a finished run.
    """
    if len(places) < 2:
        raise UsageError("compare needs two folders of runs at least, such as out/ottt_o out/bptt")
    runs = [read_run(place) for place in places]
    parts = []
    if replays := [run.cells for run in runs if not run.of_stream]:
        parts.append(markdown(replays))
    if streams := [run.cells for run in runs if run.of_stream]:
        parts.append(markdown(streams, STREAM_HEADER))
    flat = [_flat(run.settings) for run in runs]
    keys = dict.fromkeys(key for own in flat for key in own)
    differing = [key for key in keys if len({own.get(key) for own in flat}) > 1]
    if differing:
        cells = [[f"`{key}`", *(own.get(key, "–") for own in flat)] for key in differing]
        parts.append(markdown(cells, ["what differs", *(str(run.place) for run in runs)]))
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
