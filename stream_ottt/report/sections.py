"""The tables of a report: figures of the summaries, as they stand there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element

import tomli_w

from stream_ottt.replay.report import percent
from stream_ottt.report.figures import Group
from stream_ottt.report.html import cell, clean, el, facts, short, table
from stream_ottt.report.recorded import RecordedRun

SCORES = ("presentations", "second_half", "steps", "faded", "windowed", "kappa", "kappa_t", "majority", "no_change")


def scores_table(runs: Sequence[RecordedRun]) -> Element:
    """A row a run: presentations, and the scores."""
    rows = [
        [
            short(run.name),
            cell(run.summary.get("seed"), "seed"),
            cell(run.summary.get("presentations"), "presentations"),
            *(cell(run.summary["accuracy"].get(key), f"accuracy.{key}") for key in SCORES),
        ]
        for run in runs
    ]
    head = ["run", "seed", "presentations", "accuracy", *(key.replace("_", " ") for key in SCORES[1:])]
    return table(head, rows)


def seeds_table(groups: Sequence[Group]) -> Element:
    """A row a group: means and standard deviations over seeds, in percent."""

    def over(runs: Sequence[RecordedRun], key: str) -> str:
        return percent(run.summary["accuracy"].get(key) for run in runs)

    rows = [[short(name), len(runs), *(over(runs, key) for key in SCORES)] for name, runs in groups]
    return table(["runs", "seeds", "accuracy", *(key.replace("_", " ") for key in SCORES[1:])], rows)


def classes_table(run: RecordedRun) -> Element | None:
    """A row a class; None without any."""
    rows = run.summary["accuracy"].get("per_class") or []
    keys = ("support", "predicted", "correct", "recall", "precision")
    cells = [
        [
            short(run.label_name(row.get("label"))),
            *(cell(row.get(key), f"accuracy.per_class.{row.get('label')}.{key}") for key in keys),
        ]
        for row in rows
    ]
    return table(["class", *keys], cells) if cells else None


def since_change_table(run: RecordedRun) -> Element | None:
    """How right it was so long after what is shown had changed; None without any."""
    rows = run.summary["accuracy"].get("since_change") or []
    keys = ("after_s", "presentations", "accuracy")
    cells = [
        [cell(row.get(key), f"accuracy.since_change.{row.get('after_s')}.{key}") for key in keys]
        for row in rows
        if row.get("presentations")
    ]
    return table(["after, s", "presentations", "accuracy"], cells) if cells else None


def events_table(run: RecordedRun) -> Element:
    """What became of the events; those that were dropped by reason."""
    events: dict[str, Any] = run.summary["events"]
    rows = [(key, events.get(key), f"events.{key}") for key in ("read", "binned", "late", "malformed")]
    rows += [(f"dropped: {short(k)}", n, f"events.dropped.{k}") for k, n in (events.get("dropped") or {}).items()]
    return facts(rows)


def cost_table(run: RecordedRun) -> Element:
    """Time and memory."""
    s = run.summary

    def at(*keys: str) -> Any:
        value: Any = s
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    wanted = [
        ("run, s", ("wall_s",)),
        ("stream, s", ("stream_s",)),
        ("timesteps", ("timesteps",)),
        ("timestep, median, ms", ("step_ms", "p50")),
        ("timestep, 99 %, ms", ("step_ms", "p99")),
        ("latency, median, ms", ("latency_ms", "p50")),
        ("latency, 99 %, ms", ("latency_ms", "p99")),
        ("live timesteps a second", ("rates", "live_steps_per_s")),
        ("largest memory, MB", ("peak_rss_mb",)),
        ("parameters", ("network", "parameters")),
        *((f"updates, {kind}", ("updates", kind)) for kind in s["updates"]),
        ("times the weights went back", ("rollbacks",)),
    ]
    return facts([(what, at(*keys), ".".join(keys)) for what, keys in wanted])


def about(run: RecordedRun) -> list[Element]:
    """Where it came from, how it ended, what is needed to repeat it."""
    s, end = run.summary, run.summary["exit"]
    said = [text for text in (end.get("message"), *s.get("warnings", ())) if text]
    versions = ", ".join(f"{name} {version}" for name, version in s["versions"].items())
    rows = [
        ("source", s.get("source"), "source"),
        ("network", (s.get("network") or {}).get("description"), "network.description"),
        ("learning", s.get("learning"), "learning"),
        *_refused(s.get("labels") or {}),
        ("end", f"{end.get('reason')}, exit code {end.get('code')}", "exit"),
        ("versions", versions, "versions"),
    ]
    return [facts(rows), *(el("p", text, class_="warning") for text in said)]


def _refused(labels: dict[str, Any]) -> list[tuple[str, Any, str]]:
    """Labels that were refused, and why the first of them was; nothing where all were taken."""
    if not labels.get("refused"):
        return []
    return [
        ("labels that were refused", labels["refused"], "labels.refused"),
        ("the first of them", labels.get("first_refusal"), "labels.first_refusal"),
    ]


def settings(run: RecordedRun) -> Element:
    """Every setting, as TOML."""
    return settings_of(run.summary["settings"])


def settings_of(tables: dict[str, Any]) -> Element:
    """Tables of settings, folded up; what is None is left out, as TOML has no word for it."""
    kept = {
        name: {key: value for key, value in table.items() if value is not None} if isinstance(table, dict) else table
        for name, table in tables.items()
        if table is not None
    }
    return el("details", el("summary", "Settings"), el("pre", clean(tomli_w.dumps(kept))))
