"""The sections of replays and tables, from the folders they left."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from stream_ottt.errors import InputError
from stream_ottt.replay.figures import curves
from stream_ottt.replay.records import Record, by_row
from stream_ottt.replay.report import HEADER, about_line, row_cells
from stream_ottt.replay.results import PARTS
from stream_ottt.replay.table_figures import FIGURES
from stream_ottt.report.html import el, facts, picture, short, table
from stream_ottt.report.recorded import lines, read_json
from stream_ottt.report.sections import settings_of


def about_replay(folder: Path) -> list[Element]:
    """The sections of one replay.

    Raises:
        InputError: a file that is missing or damaged.
    """
    settings, result = read_json(folder / "settings.json"), read_json(folder / "result.json")
    rows = [row for _, row in lines(folder / "metrics.jsonl")]
    try:
        what = settings["protocol"]["name"]
        cells = row_cells(what, [(settings, result)])
        about = _about(read_json(folder / "provenance.json"))
        figure = picture(partial(curves, rows, result, settings), f"The course of the replay, {what}")
    except (KeyError, TypeError, IndexError, AttributeError) as e:
        raise InputError(f"the folder of a replay with something missing: {e!r}", path=folder) from e
    return [
        el("h2", short(folder.resolve().name)),
        table(HEADER, [cells]),
        *figure,
        facts([(key.replace("_", " "), value, f"result.{key}") for key, value in result.items() if _is_plain(value)]),
        el("p", about),
        settings_of(settings),
    ]


def _about(provenance: dict[str, Any]) -> str:
    """Machine, versions and command; without the backticks of Markdown."""
    return about_line(provenance).replace("`", "")


def _is_plain(value: Any) -> bool:
    return isinstance(value, (int, float, str)) and not isinstance(value, bool)


def about_table(folder: Path) -> list[Element]:
    """The sections of a table of replays.

    Raises:
        InputError: a file that is missing or damaged.
    """
    found = read_json(folder / "table.json")
    try:
        commit = found["about"]["versions"]["commit"]
        records = [Record(**{**run, "metrics": tuple(run["metrics"])}, commit=commit) for run in found["runs"]]
        cells = [row_cells(row, [(r.settings, r.result) for r in own]) for row, own in by_row(records).items()]
        out = [el("h2", found["title"]), table(HEADER, cells)]
        for failed in found["failed"]:
            out.append(el("p", f"failed: {failed['row']}, seed {failed['seed']}: {failed['error']}", class_="warning"))
        for text, figure in PARTS:
            out += [] if text is None else _from_markdown(text(records))
            if figure is not None:
                out += picture(partial(FIGURES[figure][0], records), FIGURES[figure][1])
        return [*out, el("p", _about(found["about"]))]
    except (KeyError, TypeError, IndexError, AttributeError) as e:
        raise InputError(f"the folder of a table with something missing: {e!r}", path=folder) from e


def _from_markdown(text: str) -> list[Element]:
    """A paragraph and the table below it, as the details of a table are written."""
    rows = [[c.strip() for c in line.strip("|").split(" | ")] for line in text.splitlines() if line.startswith("|")]
    said = " ".join(line for line in text.splitlines() if line and not line.startswith("|"))
    return ([el("p", said)] if said else []) + ([table(rows[0], rows[2:])] if rows else [])
