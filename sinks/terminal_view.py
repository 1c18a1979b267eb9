"""What the terminal shows while a run lasts: a panel that fills it, with the keys that are taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rich.align import Align
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
from stream_ottt.sinks.drawing import OFF, ON, aspect_of, class_name, colours, resized
from stream_ottt.sinks.meter import Meter
from stream_ottt.sinks.terminal_account import DIM, Shown, counters, figure, learning_text, rows_of, short

if TYPE_CHECKING:
    from stream_ottt.pipeline.view import RunFacts, RunSnapshot
    from stream_ottt.sinks.keys import Keys

BORDER = "grey37"
SILENT_S = 2.0
"""After so long without a result it is said."""
BESIDE = 35
"""Columns that the picture leaves to what stands beside it, at least."""
UNDER = 14
"""Rows that it leaves to what stands under it, at least."""


def live_view(
    shown: Shown, result: StepResult, meter: Meter, width: int, height: int, keys: Keys | None = None
) -> RenderableType:
    """The live panel, ``width`` cells wide and ``height`` high; very small ones lack the picture, then the panels."""
    below = counters(shown, width - 2)
    taken = key_lines(keys, width - 2)
    if rows_of(below) + len(taken) + 2 > height:
        below = []
    rows = height - 1 - rows_of(below) - len(taken)
    body: list[RenderableType] = []
    if rows >= UNDER + 10 and width < 2 * BESIDE:
        body = [_above(shown, result, meter, width, rows)]
    elif rows >= 9 and width >= BESIDE + 14:
        body = [_beside(shown, result, meter, width, rows)]
    elif rows >= 9:
        body = [_middle(shown, result, meter, width - 4, rows)]
    elif rows >= 1:
        body = [Padding(_verdict(shown.facts, result, width - 2), (0, 1))]
    return Group(_title(shown, width), *body, Padding(Group(*below, *taken), (0, 1)))


def waiting_view(facts: RunFacts, run: RunSnapshot, waited_s: float, width: int, keys: Keys | None) -> RenderableType:
    """What is shown before the first timestep: for what the run waits, and how long already."""
    if run.session is not None:
        what = f"{run.ledger.read:,} events so far, less than a timestep"
    elif run.ledger.read:
        what = f"{run.ledger.read:,} events so far, loading the network"
    else:
        what = "waiting for the first events"
    lines = [Text(facts.source, "bold"), Text(f"{what} … {waited_s:.0f} s", "yellow"), *key_lines(keys, width - 2)]
    for line in lines:
        line.truncate(width - 2, overflow="ellipsis")
    return Padding(Group(*lines), (0, 1))


def key_lines(keys: Keys | None, width: int) -> list[Text]:
    """The keys that are taken, and what became of the latest: two or three lines."""
    if keys is None:
        return []
    lines = []
    if digits := keys.digits():
        lines.append(_offer(digits, width, before="label  "))
    lines.append(_offer(keys.others(), width))
    text, failed = keys.said
    last = Text(text, "red" if failed else "green") if keys.prompt is None else Text(keys.prompt, "bold yellow")
    lines.append(last)
    for line in lines:
        line.truncate(width, overflow="ellipsis")
        line.no_wrap = True
    return lines


def _offer(keys: list[tuple[str, str]], width: int, before: str = "") -> Text:
    def room(space: int) -> int:
        return len(before) + sum(len(key) + 1 + len(does) for key, does in keys) + space * (len(keys) - 1)

    if room(1) > width:
        keys = [(key, does.split()[0]) for key, does in keys]
    space = "  " if room(2) <= width else " "
    line = Text(before, DIM)
    for i, (key, does) in enumerate(keys):
        line.append(space if i else "")
        line.append(key, "bold cyan not dim")
        line.append(f" {does}", DIM)
    return line


def _beside(shown: Shown, result: StepResult, meter: Meter, width: int, rows: int) -> RenderableType:
    """The picture beside prediction and accuracy."""
    across = width - max(BESIDE, int(width * 0.4)) - 3
    picture = _picture(shown, result, across, 2 * (rows - 2))
    room = max(picture.width, min(across, 24))
    grid = Table.grid(padding=(0, 1, 0, 0), expand=True)
    grid.add_column(width=room + 2)
    grid.add_column(ratio=1)
    grid.add_row(_framed(picture, shown, result, room + 2, rows), _middle(shown, result, meter, width - room - 7, rows))
    return grid


def _above(shown: Shown, result: StepResult, meter: Meter, width: int, rows: int) -> RenderableType:
    """The picture above prediction and accuracy, in a terminal that is higher than wide."""
    picture = _picture(shown, result, width - 2, 2 * (rows - UNDER - 2))
    high = picture.height + 2
    return Group(_framed(picture, shown, result, width, high), _middle(shown, result, meter, width - 4, rows - high))


def _picture(shown: Shown, result: StepResult, most_across: int, most_down: int) -> Picture:
    frame = result.timestep.picture()
    across, down = aspect_of(shown.facts, frame)
    scale = min(most_across / across, most_down / down)
    small = resized(frame, max(1, int(across * scale)), max(1, int(down * scale)))
    return Picture(colours(small), small.sum(axis=0) > 0)


def _framed(picture: Picture, shown: Shown, result: StepResult, width: int, rows: int) -> Panel:
    return Panel(
        Align.center(picture, vertical="middle", height=rows - 2),
        title=Text(f"timestep {result.timestep.index:,}", DIM),
        subtitle=_legend(shown, result),
        border_style=BORDER,
        padding=0,
        width=width,
        height=rows,
    )


def _legend(shown: Shown, result: StepResult) -> Text:
    # Parts, not a base style: a panel lays the base style of its subtitle over everything.
    if shown.run.held:
        return Text.assemble(("held", "yellow"))
    if shown.silent_s >= SILENT_S:
        return Text.assemble((f"nothing for {shown.silent_s:.0f} s", "yellow"))
    legend = Text.assemble((f"{short(result.timestep.events)} events", DIM))
    if len(result.timestep.frame) > 1:
        for name, colour in ((" ON", ON), (" OFF", OFF)):
            legend.append(name, Style(color=Color.from_rgb(*colour)))
    return legend


def _title(shown: Shown, width: int) -> RenderableType:
    facts = shown.facts
    text, on = learning_text(shown.session.learning, shown.session.updates)
    state = Text(f"{'●' if on else '○'} {text}", "green" if on else "yellow", end="")
    state.truncate(width // 2, overflow="ellipsis")
    source = facts.source if len(facts.source) <= 34 else "…" + facts.source[-33:]
    left = Text(source, "bold", end="", no_wrap=True)
    if shown.which_pass:
        left.append(f" · {shown.which_pass}")
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
    """Prediction above accuracy, ``rows`` rows high in all, ``width`` cells between the borders."""
    classes = min(len(result.prediction.logits), max(1, rows // 2 - 3))
    prediction = Panel(
        _prediction(shown.facts, result, width, classes),
        title=Text("prediction", DIM),
        title_align="left",
        border_style=BORDER,
        padding=(0, 1),
        height=classes + 3,
    )
    inner = rows - classes - 3 - 2
    accuracy = Panel(
        _accuracy(shown, meter, width, inner),
        title=_accuracy_title(shown.facts, width),
        title_align="left",
        border_style=BORDER,
        padding=(0, 1),
        height=inner + 2,
    )
    return Group(prediction, accuracy)


def _accuracy_title(facts: RunFacts, width: int) -> Text:
    if facts.seen_before:
        return Text("no test: learned from before" if width >= 34 else "no test", "yellow")
    return Text("accuracy before learning" if width >= 30 else "accuracy", DIM)


def _verdict(facts: RunFacts, result: StepResult, width: int) -> Text:
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
    return head


def _prediction(facts: RunFacts, result: StepResult, width: int, classes: int) -> RenderableType:
    p = result.prediction
    with np.errstate(invalid="ignore"):  # a network that diverged is still shown
        shares = np.nan_to_num(p.softmax())
    labels = facts.classes or tuple(range(len(shares)))
    best = np.argsort(-shares, kind="stable")[:classes].tolist()
    names = {i: class_name(facts.class_names, labels[i] if i < len(labels) else i) for i in best}
    widest = max(len(name) for name in names.values())
    name_width = max(1, min(max(widest, 8), width - 5 - 6, max(14, width // 2)))
    bar_width = max(1, width - name_width - 7)
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=name_width, no_wrap=True, overflow="ellipsis")
    table.add_column(width=bar_width, no_wrap=True)
    table.add_column(width=4, justify="right", no_wrap=True, style=DIM)
    for i in best:
        style = "cyan" if i == p.index else DIM
        if result.truth is not None and i < len(labels) and labels[i] == result.truth:
            style = "green"
        share = float(shares[i])
        table.add_row(Text(names[i], style), Text(bar(share, bar_width), style), f"{share:.0%}")
    return Group(_verdict(facts, result, width), table)


def _accuracy(shown: Shown, meter: Meter, width: int, rows: int) -> RenderableType:
    """Scores beside their baselines and, where there is room, their course."""
    scores, n = shown.session.accuracy, shown.session.presentations
    window = shown.facts.settings.get("evaluation", {}).get("window", EvaluationConfig().window)
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(style="bold", justify="right", no_wrap=True)
    table.add_column(style=DIM, no_wrap=True, overflow="ellipsis")
    lines = [
        (scores["presentations"], f"of {n:,} presentation{'s' if n != 1 else ''}"),
        (scores["windowed"], f"of the last {window:,} steps"),
        (scores["majority"], "majority class"),
        (scores["no_change"], "no change"),
        (scores["kappa"], "kappa"),
    ]
    table_rows = min(len(lines), rows if rows < 4 else max(3, rows - 3))
    for value, text in lines[:table_rows]:
        table.add_row(figure(value), text)
    left = rows - table_rows
    if not left:
        return table
    course = meter.course(shown.session, width)
    below = Text(chart(course, left), "cyan") if course else Text("no presentation scored yet", DIM)
    return Group(table, below)
