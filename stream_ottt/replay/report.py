"""Results as Markdown: a row a run, and a table over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

HEADER = (
    "what",
    "method",
    "data",
    "T",
    "batch",
    "samples",
    "parameters",
    "seeds",
    "accuracy",
    "best",
    "kappa",
    "seconds",
)


def percent(values: Iterable[float | None]) -> str:
    """Mean ± standard deviation over seeds, in percent; a dash without values."""
    found = mean_and_deviation(100 * v for v in values if v is not None)
    if found is None:
        return "–"
    mean, deviation = found
    return f"{mean:.2f}" if deviation is None else f"{mean:.2f} ± {deviation:.2f}"


def mean_and_deviation(values: Iterable[float]) -> tuple[float, float | None] | None:
    """Mean and standard deviation of a sample; no deviation of a single value, and nothing of none."""
    known = list(values)
    if not known:
        return None
    return statistics.mean(known), statistics.stdev(known) if len(known) > 1 else None


def table_row(settings: dict[str, Any], result: dict[str, Any], about: dict[str, Any]) -> str:
    """One run as a table of one row, and where it comes from."""
    seed = settings["compute"]["seed"]
    cells = row_cells(settings["protocol"]["name"], [(settings, result)])
    said = confusion_table(result["confusion"], result["classes"]) if "confusion" in result else ""
    return f"{markdown([cells])}\n{said}{about_line(about)}, seed {seed}\n"


MOST_CLASSES = 12
"""Most classes of which a table of the confusion can be read."""


def confusion_table(rows: Iterable[Sequence[int]], names: Sequence[str]) -> str:
    """Rows of truth, said, count as a table, a row a truth; nothing where there are too many classes to read it."""
    if len(names) > MOST_CLASSES:
        return ""
    counts = {(truth, said): count for truth, said, count in rows}
    n = range(len(names))
    cells = [[names[i], *(str(counts.get((i, j), 0)) for j in n)] for i in n]
    return f"{markdown(cells, ['truth ↓ said →', *names])}\n"


def data_name(data: dict[str, Any]) -> str:
    """What the ``[data]`` table names: its data set, or of a stream the file, folder or source."""
    if data["name"] != "stream":
        return str(data["name"])
    address = data["path"].partition("?")[0]
    return Path(address).stem.rstrip(":") or "stream"


def row_cells(what: str, runs: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[str]:
    """The cells of one row, from (settings, result) of the same run with several seeds."""
    settings, first = runs[0]
    results = [result for _, result in runs]
    data = settings["data"]
    binning = first["binning"]
    if binning == "duration":
        binning = f"duration {data['window']}"
    return [
        what,
        settings["method"]["name"],
        f"{data_name(data)} ({binning})",
        str(data["time_steps"]),
        str(settings["protocol"]["batch_size"]),
        f"{first['samples']['train']}/{first['samples']['test']}",
        f"{first['parameters']:,}",
        ", ".join(str(s["compute"]["seed"]) for s, _ in runs),
        percent(r["accuracy"] for r in results),
        percent(r.get("best_accuracy") for r in results),
        _mean(r.get("kappa", r.get("prequential", {}).get("kappa")) for r in results),
        f"{statistics.mean(r['seconds'] for r in results):.0f}",
    ]


def _mean(values: Iterable[float | None]) -> str:
    known = [v for v in values if v is not None]
    return f"{statistics.mean(known):.3f}" if known else "–"


def markdown(rows: list[list[str]], header: Iterable[str] = HEADER) -> str:
    """A Markdown table."""
    head = list(header)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def about_line(about: dict[str, Any]) -> str:
    """Machine, commit and command in one line."""
    versions = about["versions"]
    return f"{about['machine']}; commit {versions['commit']}; torch {versions.get('torch', '?')}; `{about['command']}`"
