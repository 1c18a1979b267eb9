"""One page about runs, replays and tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from os.path import commonprefix
from pathlib import Path
from xml.etree.ElementTree import Element

from stream_ottt.errors import InputError, UsageError
from stream_ottt.replay.records import without
from stream_ottt.report import figures, sections
from stream_ottt.report.figures import Group
from stream_ottt.report.html import el, page, picture, short
from stream_ottt.report.recorded import RecordedRun, read_run
from stream_ottt.sinks.record import SUMMARY


def _of_replay(folder: Path) -> list[Element]:
    from stream_ottt.report.replays import about_replay  # imports torch

    return about_replay(folder)


def _of_table(folder: Path) -> list[Element]:
    from stream_ottt.report.replays import about_table  # imports torch

    return about_table(folder)


KINDS: dict[str, Callable[[Path], list[Element]]] = {"result.json": _of_replay, "table.json": _of_table}
"""File that tells a folder of a replay or a table → its sections."""


def report(paths: Sequence[Path]) -> bytes:
    """The page in HTML.

    Args:
        paths: folders of ``run --record``, ``replay`` and ``bench``, or summaries.

    Raises:
        InputError: a path that is none of these, or a damaged file.
        UsageError: matplotlib is missing.
    """
    if find_spec("matplotlib") is None:
        raise UsageError("a report needs matplotlib: pip install 'stream-ottt[report]'")
    runs: list[RecordedRun] = []
    others: list[Element] = []
    for path in paths:
        if not path.exists():
            raise InputError("no such file or folder; record a run with --record FOLDER", path=path)
        kind = next((made for name, made in KINDS.items() if (path / name).exists()), None)
        if kind is not None:
            others += kind(path)
        elif path.is_dir() and not (path / SUMMARY).exists():
            raise InputError(
                "neither a record of a run (summary.json), nor a replay (result.json), nor a table (table.json)",
                path=path,
            )
        else:
            runs.append(read_run(path))
    title = "Report: " + ", ".join(short(path.resolve().name) for path in paths[:4]) + (" …" if paths[4:] else "")
    return page(title, el("h1", title), *(about_runs(runs) if runs else ()), *others)


def grouped(runs: Sequence[RecordedRun]) -> list[Group]:
    """Runs that differ in nothing but their seeds, together."""
    groups: dict[str, list[RecordedRun]] = {}
    for run in runs:
        source = str(run.summary.get("source")).partition("?")[0]
        key = json.dumps([source, without(run.summary["settings"], "stream.seed")], sort_keys=True)
        groups.setdefault(key, []).append(run)
    return [(_common_name(own), own) for own in groups.values()]


def _common_name(runs: Sequence[RecordedRun]) -> str:
    if len(runs) == 1:
        return runs[0].name
    prefix = commonprefix([run.name for run in runs])  # noqa: RUF071 - of names, letter by letter
    return prefix.rstrip(" -_.") or runs[0].name


def about_runs(runs: Sequence[RecordedRun]) -> list[Element]:
    """The sections of recorded runs: all together, then each alone."""
    groups = grouped(runs)
    out = [el("h2", "Scores"), sections.scores_table(runs)]
    if len(groups) < len(runs):
        out += [el("h3", "Mean ± standard deviation over seeds, in %"), sections.seeds_table(groups)]
    if any(run.predictions is not None for run in runs):
        caption = "Prequential accuracy over stream time" + (
            "; thin lines: the label changes" if len(runs) == 1 else "; bands: ± one standard deviation over seeds"
        )
        out += picture(partial(figures.accuracy, groups), caption)
    for draw, caption in figures.FIGURES:
        out += picture(partial(draw, groups), caption)
    for run in runs:
        out += _about_run(run, alone=len(runs) == 1)
    return out


def _about_run(run: RecordedRun, *, alone: bool) -> list[Element]:
    out = [el("h2", "The run" if alone else short(run.name)), *sections.about(run)]
    if not alone and run.predictions is not None:
        own = [(run.name, [run])]
        out += picture(partial(figures.accuracy, own), "Prequential accuracy; thin lines: the label changes")
    if (classes := sections.classes_table(run)) is not None:
        out += [el("h3", "Classes"), classes]
    out += picture(partial(figures.confusion, run), "Confusion of presentations: what was shown, taken for what")
    if (since := sections.since_change_table(run)) is not None:
        out += [el("h3", "After a change of what is shown"), since]
    out += [el("h3", "Events"), sections.events_table(run), el("h3", "Time and memory"), sections.cost_table(run)]
    return [*out, sections.settings(run)]
