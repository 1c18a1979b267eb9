"""The table that ends a run in the terminal: accuracy beside its baselines, and where every event went."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from stream_ottt.sinks.terminal_account import DIM, account_lines, figure, learning_text

NARROW = 72
"""Below so many columns those of a table stand closer."""

MAX_CLASSES = 20
"""Above this many classes the per-class table is left to the summary file."""


def report(summary: dict[str, Any], width: int = 80) -> RenderableType:
    """The final table. Keys that the summary lacks leave their line out or empty.

    Args:
        summary: the run's summary, as in docs/summary.md.
        width: of the terminal, cells; from 60 on nothing is cut.
    """
    apart = 2 if width >= NARROW else 0
    parts: list[RenderableType] = [_headline(summary), "", _accuracy(summary, apart), *_seen_before(summary)]
    rows = (summary.get("accuracy") or {}).get("per_class") or []
    if 0 < len(rows) <= MAX_CLASSES:
        parts += ["", _classes(summary, rows, apart)]
    parts += ["", _facts(summary)]
    if events := summary.get("events"):
        parts.append(_balance(events, width - 2))
    failures = (summary.get("sinks") or {}).get("failures") or {}
    parts += [Text(f"sink {name} failed: {message}", "red") for name, message in failures.items()]
    return Padding(Group(*parts), (1, 1, 0, 1))


def _headline(summary: dict[str, Any]) -> RenderableType:
    line = Text.assemble((str(summary.get("source", "")), "bold"), overflow="fold")
    network = summary.get("network") or {}
    if network.get("description"):
        line.append(f"\n{network['description']}, {network['parameters']:,} weights", DIM)
    learning = summary.get("learning", "on")
    text, on = learning_text(learning, summary.get("updates", {"live": 1}))
    said = "on" if on else "on, but nothing was learned" if learning == "on" else text
    line.append(f"\nlearning: {said}", DIM if on else "yellow")
    ended = summary.get("exit") or {}
    if ended.get("code"):
        early = ended.get("reason") not in ("end", "max-steps")
        how = f"ended early: {ended.get('reason')}" if early else "all of it was seen, with problems"
        line.append(f"\n{how} (exit code {ended['code']})", "red")
    return line


def _accuracy(summary: dict[str, Any], apart: int) -> RenderableType:
    scores = summary.get("accuracy") or {}
    n = summary.get("presentations", 0)
    if not n:
        return Text("no presentation was scored: no labels, or none became known", DIM)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, apart, 0, 0))
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


def _seen_before(summary: dict[str, Any]) -> list[RenderableType]:
    """What is to be known of the scores of a model that was loaded."""
    model = summary.get("model")
    if model is None or model["seen_before"] is False:
        return []
    if model["seen_before"]:
        return [Text("the model has learned from this stream before: these scores are no test of it", "yellow")]
    return [Text("what the loaded model has learned from is not known: it may have seen this stream", DIM)]


def _classes(summary: dict[str, Any], rows: list[dict[str, Any]], apart: int) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, apart, 0, 0))
    names = summary.get("classes") or {}
    table.add_column("class", max_width=28, no_wrap=True, overflow="ellipsis")
    for column in ("support", "predicted", "correct", "recall", "precision"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            names.get(str(row["label"]), str(row["label"])),
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
    labels = summary.get("labels") or {}
    if refused := labels.get("refused"):
        told = Text(f"{labels['taken']:,} taken, {refused:,} refused; the first: {labels.get('first_refusal')}", "red")
        table.add_row("labels", told)
    for name, key in (("step", "step_ms"), ("latency", "latency_ms")):
        if (times := summary.get(key)) and summary.get("timesteps", 1):
            table.add_row(name, f"{times['p50']:.2f} ms p50, {times['p99']:.2f} ms p99")
    wall, stream = summary.get("wall_s"), summary.get("stream_s")
    if wall is not None and stream is not None:
        speed = f" ({stream / wall:.2f}× real time)" if wall > 0 else ""
        table.add_row("time", f"{stream:,.1f} s of stream in {wall:,.1f} s{speed}")
    if (memory := summary.get("peak_rss_mb")) is not None:
        table.add_row("memory", f"{memory:,.0f} MB at most")
    return table


def _balance(events: dict[str, Any], width: int) -> Text:
    """The ledger's equation, the reasons of what was dropped, and how many events it misses, if any."""
    dropped: dict[str, int] = events.get("dropped") or {}
    counts = (events["binned"], events["late"], events["malformed"], sum(dropped.values()))
    text = Text("\n".join(account_lines(events["read"], *counts, None, width)))
    if dropped:
        text.append("\n" + ", ".join(f"{n:,} {reason}" for reason, n in dropped.items()), DIM)
    if in_hand := events["read"] - sum(counts):
        text.append(f"\n{in_hand:,} events still in hand", "bold red")
    return text
