"""What the terminal says in figures and lines: speeds, times, updates, and the account of every event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from stream_ottt.sinks.drawing import class_name
from stream_ottt.sinks.meter import Rates

if TYPE_CHECKING:
    from stream_ottt.events.packet import Ledger
    from stream_ottt.events.timestep import StepResult
    from stream_ottt.learning.snapshot import Durations, SessionSnapshot
    from stream_ottt.pipeline.view import RunFacts, RunSnapshot

DIM = "grey62"
CELL = 26
"""Columns that a figure and its name take."""

LEARNING = {"on": "learning", "off": "off (--no-learn)", "no labels": "nothing learned: no labels"}


@dataclass(frozen=True, slots=True)
class Shown:
    """A run at one moment, as it is shown.

    Attributes:
        facts: what is fixed of it.
        run: its snapshot.
        session: that of its session.
        rates: its speeds.
        silent_s: seconds since the latest result.
        which_pass: such as ``pass 2 of 5``; empty where there is one.
    """

    facts: RunFacts
    run: RunSnapshot
    session: SessionSnapshot
    rates: Rates
    silent_s: float = 0.0
    which_pass: str = ""


def learning_text(learning: str, updates: Mapping[str, int]) -> tuple[str, bool]:
    """What a session says of its learning, in words, and whether it has learned and goes on to."""
    if learning == "on" and not any(updates.values()):
        return "nothing learned yet", False
    return LEARNING.get(learning, learning), learning == "on"


def short(n: float) -> str:
    """A count in three digits: 843, 12.3k, 4.57M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= size:
            return f"{n / size:.3g}{unit}" if n < 999.5 * size else f"{n / size:.0f}{unit}"
    return f"{n:.0f}"


def figure(value: float | None, digits: int = 3) -> str:
    """A figure, or a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def account_lines(
    read: int, binned: int, late: int, malformed: int, dropped: int, in_hand: int | None, width: int
) -> list[str]:
    """What became of every event, as the equation that it must be, in lines of at most ``width`` cells.

    Args:
        read, binned, late, malformed, dropped: as in :class:`stream_ottt.events.packet.Ledger`.
        in_hand: events that still wait; None leaves them out, where the run is over.
        width: cells.
    """
    terms = [f"{read:,} read = {binned:,} binned", f"+ {late:,} late", f"+ {malformed:,} malformed"]
    terms += [f"+ {dropped:,} dropped"] + ([] if in_hand is None else [f"+ {in_hand:,} in hand"])
    lines = [terms[0]]
    for term in terms[1:]:
        if len(lines[-1]) + 1 + len(term) <= width:
            lines[-1] += f" {term}"
        else:
            lines.append(f"  {term}")
    return lines


def counters(shown: Shown, width: int) -> list[Table | Text]:
    """Speeds, times, updates and the account, in ``width`` cells; each but the table is one line."""
    session, rates = shown.session, shown.rates
    figures = (
        ("stream", f"{_seconds(session.stream_us / 1e6)} at {_factor(rates.speed)}"),
        ("events", f"{rates.events / 1e6:.3f} M/s"),
        ("step", _times(session.step_ms)),
        ("steps", f"{short(rates.live)}/s"),
        ("rehearsed", f"{short(rates.rehearsed)}/s"),
        ("latency", _times(shown.run.latency)),
    )
    columns = max(1, min(3, width // CELL))
    table = Table.grid(expand=True)
    for _ in range(columns):
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    cells = [Text.assemble((f"{name:<9} ", DIM), value) for name, value in figures]
    for first in range(0, len(cells), columns):
        table.add_row(*cells[first : first + columns])
    updates = ", ".join(f"{n:,} {kind}" for kind, n in session.updates.items())
    lines = [Text.assemble(("updates   ", DIM), updates)]
    lines += [Text(line) for line in ledger_lines(shown.run.ledger, width)]
    if transport := transport_text(shown.run):
        lines.append(Text(transport, "yellow" if any(lost_of(shown.run).values()) else ""))
    for name, sink in shown.run.sinks.items():
        if sink.failure is not None:
            lines.append(Text(f"sink {name} failed: {sink.failure}", "red"))
        elif sink.missed:
            lines.append(Text(f"sink {name} missed {sink.missed:,} results", "yellow"))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
        line.no_wrap = True
    return [table, *lines]


def rows_of(parts: list[Table | Text]) -> int:
    """How many rows :func:`counters` takes."""
    return sum(part.row_count if isinstance(part, Table) else 1 for part in parts)


def ledger_lines(ledger: Ledger, width: int) -> list[str]:
    """A ledger's equation while the run lasts."""
    dropped = sum(ledger.dropped.values())
    return account_lines(ledger.read, ledger.binned, ledger.late, ledger.malformed, dropped, ledger.in_hand, width)


def lost_of(run: RunSnapshot) -> dict[str, int]:
    """What a live source has not got or could not read, by what it is: ``messages lost``, ``datagrams malformed``, …"""
    found = {}
    for key, n in run.transport.items():
        how, _, what = key.partition("_")
        if how in ("lost", "malformed") and what and isinstance(n, int):
            found[f"{what} {how}"] = n
    return found


def transport_text(run: RunSnapshot) -> str:
    """The same in a line; empty for a source that has none."""
    lost = lost_of(run)
    return ", ".join(f"{n:,} {what}" for what, n in lost.items() if n or what.endswith("lost"))


def plain_line(shown: Shown, result: StepResult) -> str:
    """One line for a log: stream time, events, speeds, accuracy and the current prediction."""
    session, names = shown.session, shown.facts.class_names
    predicted = class_name(names, result.prediction.label)
    truth = ""
    if result.truth is not None and result.truth != result.prediction.label:
        truth = f" (truth {class_name(names, result.truth)})"
    lost = "".join(f"{n:,} {what}  " for what, n in lost_of(shown.run).items() if n)
    which = f"{shown.which_pass}  " if shown.which_pass else ""
    return (
        f"{session.stream_us / 1e6:8.1f} s  {which}{short(shown.run.ledger.read)} events  {lost}"
        f"{shown.rates.live:.0f} steps/s  {shown.rates.speed:.1f}x  "
        f"acc {figure(session.accuracy['presentations'])} of {session.presentations}  {predicted}{truth}"
    )


def _times(durations: Durations) -> str:
    return f"{_ms(durations.p50_ms)}, p99 {_ms(durations.p99_ms)} ms" if durations.n else "–"


def _ms(value: float) -> str:
    return f"{value:.1f}" if value < 99.5 else f"{value:.0f}"


def _seconds(value: float) -> str:
    return f"{value:,.1f} s" if value < 1000 else f"{value:,.0f} s"


def _factor(value: float) -> str:
    return f"{value:.2f}×" if value < 9.95 else f"{value:.0f}×"
