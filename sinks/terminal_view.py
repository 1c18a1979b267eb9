"""What the terminal shows while a run lasts: a live panel of 80 × 23 cells, or one plain line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rich.color import Color
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.style import Style
from rich.table import Table
from rich.text import Text

from stream_ottt.events.timestep import StepResult
from stream_ottt.labels.evaluation import EvaluationConfig
from stream_ottt.sinks.blocks import Picture, bar, chart
from stream_ottt.sinks.drawing import OFF, ON, class_name, colours, fit
from stream_ottt.sinks.meter import Meter, Rates

if TYPE_CHECKING:
    from stream_ottt.learning.snapshot import SessionSnapshot
    from stream_ottt.pipeline.view import RunFacts, RunSnapshot

TOP_CLASSES = 5
BORDER = "grey37"
DIM = "grey62"


@dataclass(frozen=True, slots=True)
class Shown:
    """A run at one moment, as it is shown.

    Attributes:
        facts: what is fixed of it.
        run: its snapshot.
        session: that of its session.
        rates: its speeds.
    """

    facts: RunFacts
    run: RunSnapshot
    session: SessionSnapshot
    rates: Rates


def learning_text(learning: str) -> str:
    """What a session says of its learning, in words."""
    return {"off": "off (--no-learn)", "no labels": "nothing learned: no labels"}.get(learning, learning)


def short(n: float) -> str:
    """A count in three digits: 843, 12.3k, 4.57M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= size:
            return f"{n / size:.3g}{unit}" if n < 999.5 * size else f"{n / size:.0f}{unit}"
    return f"{n:.0f}"


def figure(value: float | None, digits: int = 3) -> str:
    """A figure, or a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def ledger_line(read: int, binned: int, late: int, malformed: int, dropped: int, width: int = 10**9) -> str:
    """What became of every event, as the equation that it must be; rounded where ``width`` is too small."""
    counts = (read, binned, late, malformed, dropped)
    line = "{} read = {} binned + {} late + {} malformed + {} dropped"
    exact = line.format(*(f"{n:,}" for n in counts))
    return exact if len(exact) <= width else line.format(*map(short, counts))


def live_view(shown: Shown, result: StepResult, meter: Meter, width: int, height: int) -> RenderableType:
    """The live panel, ``width`` cells wide; below 72 × 20 cells it lacks the picture."""
    rows = min(24, height - 8)
    body: RenderableType
    if rows >= 12 and width >= 72:
        side = min(2 * rows, int(width * 0.42))
        frame = fit(result.timestep.picture(), side)
        picture = Picture(colours(frame), frame.sum(axis=0) > 0)
        panel = Panel(
            picture,
            title=Text(f"timestep {result.timestep.index:,}", DIM),
            subtitle=_legend(result),
            border_style=BORDER,
            padding=0,
            width=picture.width + 2,
        )
        grid = Table.grid(padding=(0, 1, 0, 0), expand=True)
        grid.add_column(width=picture.width + 2)
        grid.add_column(ratio=1)
        inner = width - picture.width - 7
        grid.add_row(panel, _middle(shown, result, meter, inner, picture.height))
        body = grid
    else:
        body = _middle(shown, result, meter, width - 4, 0)
    return Group(_title(shown, width), body, _counters(shown, width - 2))


def _legend(result: StepResult) -> Text:
    # Parts, not a base style: a panel lays the base style of its subtitle over everything.
    legend = Text.assemble((f"{short(result.timestep.events)} events", DIM))
    if len(result.timestep.frame) > 1:
        for name, colour in ((" ON", ON), (" OFF", OFF)):
            legend.append(name, Style(color=Color.from_rgb(*colour)))
    return legend


def _title(shown: Shown, width: int) -> RenderableType:
    facts, learning = shown.facts, shown.session.learning
    on = learning == "on"
    state = Text("● learning" if on else f"○ {learning_text(learning)}", "green" if on else "yellow", end="")
    state.truncate(width // 2, overflow="ellipsis")
    source = facts.source if len(facts.source) <= 34 else "…" + facts.source[-33:]
    left = Text(source, "bold", end="", no_wrap=True)
    if facts.sensor is not None:
        left.append(" · {}×{}".format(*facts.sensor), "not bold")
    if facts.network:
        left.append(f" · {facts.network} ({short(facts.parameters)} weights)", "not bold " + DIM)
    left.truncate(width - state.cell_len - 3, overflow="ellipsis")
    row = Table.grid(expand=True)
    row.add_column(no_wrap=True)
    row.add_column(justify="right", no_wrap=True)
    row.add_row(Text.assemble(" ", left), Text.assemble(state, " "))
    return row


def _middle(shown: Shown, result: StepResult, meter: Meter, width: int, rows: int) -> RenderableType:
    """Prediction above accuracy, as high as a picture of ``rows`` rows (0: as high as they come)."""
    prediction = Panel(
        _prediction(shown.facts, result, width),
        title=Text("prediction", DIM),
        title_align="left",
        border_style=BORDER,
        padding=(0, 1),
    )
    taken = min(TOP_CLASSES, len(result.prediction.logits)) + 1 + 2
    inner = max(5, rows - taken)
    accuracy = Panel(
        _accuracy(shown, meter, width, inner - 4),
        title=Text("accuracy before learning (prequential)", DIM),
        title_align="left",
        border_style=BORDER,
        padding=(0, 1),
        height=inner + 2,
    )
    return Group(prediction, accuracy)


def _prediction(facts: RunFacts, result: StepResult, width: int) -> RenderableType:
    p = result.prediction
    predicted = "unknown" if p.unknown else class_name(facts.class_names, p.label)
    if result.truth is None:
        head = Text.assemble((predicted, "bold"), (f"  {p.confidence:.0%}", DIM))
    elif result.truth == p.label:
        head = Text.assemble(("✓ ", "bold green"), (predicted, "bold green"), (f"  {p.confidence:.0%}", DIM))
    else:
        head = Text.assemble(
            ("✗ ", "bold red"), (predicted, "bold red"), ("  truth ", DIM), class_name(facts.class_names, result.truth)
        )
    head.truncate(width, overflow="ellipsis")
    table = Table.grid(padding=(0, 1, 0, 0))
    name_width = min(14, width // 3)
    table.add_column(width=name_width, no_wrap=True, overflow="ellipsis")
    table.add_column(width=width - name_width - 7, no_wrap=True)
    table.add_column(width=4, justify="right", no_wrap=True, style=DIM)
    with np.errstate(invalid="ignore"):  # a network that diverged is still shown
        shares = np.exp(p.logits - np.max(p.logits))
        shares = np.nan_to_num(shares / shares.sum())
    for position in np.argsort(-shares, kind="stable")[:TOP_CLASSES].tolist():
        label = facts.classes[position] if facts.classes else position
        style = "cyan" if position == p.index else DIM
        if label == result.truth:
            style = "green"
        share = float(shares[position])
        table.add_row(
            Text(class_name(facts.class_names, label), style),
            Text(bar(share, width - name_width - 7), style),
            f"{share:.0%}",
        )
    return Group(head, table)


def _accuracy(shown: Shown, meter: Meter, width: int, rows: int) -> RenderableType:
    scores, n = shown.session.accuracy, shown.session.presentations
    window = shown.facts.settings.get("evaluation", {}).get("window", EvaluationConfig().window)
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", justify="right", no_wrap=True)
    table.add_column(style=DIM, no_wrap=True, overflow="ellipsis")
    table.add_row(figure(scores["presentations"]), f"of {n:,} presentation{'s' if n != 1 else ''}")
    table.add_row(figure(scores["windowed"]), f"of the last {window:,} scored timesteps")
    table.add_row(figure(scores["kappa"]), "kappa")
    table.add_row(
        figure(scores["majority"]),
        f"majority class, {figure(scores['no_change'])} no change",
    )
    course = meter.course(shown.session, width)
    below = Text(chart(course, min(rows, 4)), "cyan") if course else Text("no presentation scored yet", DIM)
    return Group(table, below)


def _counters(shown: Shown, width: int) -> RenderableType:
    ledger, session, rates = shown.run.ledger, shown.session, shown.rates
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style=DIM, no_wrap=True, width=7)
    table.add_column(no_wrap=True, min_width=27, overflow="ellipsis")
    table.add_column(style=DIM, no_wrap=True, width=5)
    table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_row(
        "events",
        f"{rates.events / 1e6:.3f} M/s of stream",
        "speed",
        f"{rates.speed:.2f}× real time, {session.stream_us / 1e6:,.1f} s",
    )
    table.add_row(
        "steps",
        f"{rates.live:.0f}/s live, {rates.rehearsed:.0f}/s rehearsed",
        "step",
        f"{session.step_ms.p50_ms:.1f} ms p50, {session.step_ms.p99_ms:.1f} ms p99",
    )
    learned = Text.assemble(
        ("updates  ", DIM),
        ", ".join(f"{n:,} {kind}" for kind, n in session.updates.items()),
        no_wrap=True,
        overflow="ellipsis",
    )
    dropped = sum(ledger.dropped.values())
    balance = Text(
        ledger_line(ledger.read, ledger.binned, ledger.late, ledger.malformed, dropped, width),
        no_wrap=True,
        overflow="ellipsis",
    )
    failures = [
        Text(f"sink {name} failed: {sink.failure}", "red", no_wrap=True, overflow="ellipsis")
        for name, sink in shown.run.sinks.items()
        if sink.failure is not None
    ]
    return Padding(Group(table, learned, balance, *failures), (0, 1))


def plain_line(shown: Shown, result: StepResult) -> str:
    """One line for a log: stream time, events, speeds, accuracy and the current prediction."""
    session, names = shown.session, shown.facts.class_names
    predicted = class_name(names, result.prediction.label)
    truth = ""
    if result.truth is not None and result.truth != result.prediction.label:
        truth = f" (truth {class_name(names, result.truth)})"
    return (
        f"{session.stream_us / 1e6:8.1f} s  {short(shown.run.ledger.read)} events  "
        f"{shown.rates.live:.0f} steps/s  {shown.rates.speed:.1f}x  "
        f"acc {figure(session.accuracy['presentations'])} of {session.presentations}  {predicted}{truth}"
    )
