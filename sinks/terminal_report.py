"""The table that ends a run in the terminal: accuracy beside its baselines, and where every event went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from stream_ottt.sinks.drawing import class_name
from stream_ottt.sinks.terminal_view import figure, ledger_line

if TYPE_CHECKING:
    from stream_ottt.pipeline.progress import Progress

MAX_CLASSES = 20
"""Above this many classes the per-class table is left to the summary file."""

DIM = "grey62"


def report(progress: Progress, summary: dict[str, Any]) -> RenderableType:
    """The final table, at most 80 columns wide. Keys that the summary lacks leave their line out or empty.

    Args:
        progress: names of source, network and classes.
        summary: the run's summary, as in docs/summary.md.
    """
    parts: list[RenderableType] = [_headline(progress, summary), "", _accuracy(summary)]
    rows = (summary.get("accuracy") or {}).get("per_class") or []
    if 0 < len(rows) <= MAX_CLASSES:
        parts += ["", _classes(progress, rows)]
    parts += ["", _facts(summary)]
    if events := summary.get("events"):
        parts.append(_balance(events))
    parts += [Text(f"sink {name} failed: {message}", "red") for name, message in progress.sink_failures.items()]
    return Padding(Group(*parts), (1, 1, 0, 1))


def _headline(progress: Progress, summary: dict[str, Any]) -> RenderableType:
    line = Text.assemble((progress.source, "bold"), overflow="fold")
    if progress.network:
        line.append(f"\n{progress.network}, {progress.parameters:,} weights", DIM)
    learning = summary.get("learning", progress.learning)
    line.append(
        "\nlearning: on" if learning == "on" else f"\nnothing was learned: {learning}",
        DIM if learning == "on" else "yellow",
    )
    ended = summary.get("exit") or {}
    if ended.get("code"):
        line.append(f"\nended early: {ended.get('reason')} (exit code {ended['code']})", "red")
    return line


def _accuracy(summary: dict[str, Any]) -> RenderableType:
    scores = summary.get("accuracy") or {}
    n = summary.get("presentations", 0)
    if not n:
        return Text("no presentation was scored: no labels, or none became known", DIM)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("prequential accuracy", no_wrap=True)
    for column in ("network", "majority", "no change"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_row(
        f"{n:,} presentation{'s' if n != 1 else ''}",
        Text(figure(scores.get("presentations")), "bold"),
        figure(scores.get("majority")),
        figure(scores.get("no_change")),
    )
    for name, key in (
        ("  second half of them", "second_half"),
        ("scored timesteps", "steps"),
        ("  latest, window", "windowed"),
        ("  latest, fading", "faded"),
        ("kappa (against chance)", "kappa"),
        ("kappa_t (against no change)", "kappa_t"),
    ):
        table.add_row(name, figure(scores.get(key)))
    return table


def _classes(progress: Progress, rows: list[dict[str, Any]]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("class", max_width=28, no_wrap=True, overflow="ellipsis")
    for column in ("support", "predicted", "correct", "recall", "precision"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            class_name(progress, row["label"]),
            *(f"{row[k]:,}" for k in ("support", "predicted", "correct")),
            figure(row["recall"]),
            figure(row["precision"]),
        )
    return table


def _facts(summary: dict[str, Any]) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style=DIM, no_wrap=True)
    table.add_column(overflow="fold")
    if updates := summary.get("updates"):
        table.add_row("updates", ", ".join(f"{updates[k]:,} {k}" for k in ("live", "deferred", "rehearsed")))
    if "timesteps" in summary:
        table.add_row("timesteps", f"{summary['timesteps']:,}")
    for name, key in (("step", "step_ms"), ("latency", "latency_ms")):
        if times := summary.get(key):
            table.add_row(name, f"{times['p50']:.2f} ms p50, {times['p99']:.2f} ms p99")
    wall, stream = summary.get("wall_s"), summary.get("stream_s")
    if wall is not None and stream is not None:
        speed = f" ({stream / wall:.2f}× real time)" if wall > 0 else ""
        table.add_row("time", f"{stream:,.1f} s of stream in {wall:,.1f} s{speed}")
    if (memory := summary.get("peak_rss_mb")) is not None:
        table.add_row("memory", f"{memory:,.0f} MB at most")
    return table


def _balance(events: dict[str, Any]) -> Text:
    """The ledger's equation, the reasons of what was dropped, and how many events it misses, if any."""
    dropped: dict[str, int] = events.get("dropped") or {}
    counts = (events["binned"], events["late"], events["malformed"], sum(dropped.values()))
    text = Text(ledger_line(events["read"], *counts))
    if dropped:
        text.append("\n" + ", ".join(f"{n:,} {reason}" for reason, n in dropped.items()), DIM)
    if missing := events["read"] - sum(counts):
        text.append(f"\n{missing:,} events unaccounted for", "bold red")
    return text
