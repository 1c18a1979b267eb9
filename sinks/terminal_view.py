"""What the terminal shows while a run lasts: a live panel of 80 × 23 cells, or one plain line."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from rich.color import Color
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.panel import Panel
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from stream_ottt.sinks.drawing import class_name, colours, fit
from stream_ottt.timestep import StepResult

if TYPE_CHECKING:
    from stream_ottt.progress import Progress

TOP_CLASSES = 5
RATE_WINDOW_S = 2.0
BORDER = "grey37"
DIM = "grey62"


class _Sample(NamedTuple):
    wall: float
    stream_us: int
    events: int
    live: int
    rehearsed: int


@dataclass(slots=True)
class Rates:
    """Speeds over the last two seconds of wall time.

    Attributes:
        live: timesteps of the stream per second.
        rehearsed: rehearsed timesteps per second.
        events: events per second of stream time.
        speed: seconds of stream per second.
    """

    live: float = 0.0
    rehearsed: float = 0.0
    events: float = 0.0
    speed: float = 0.0


class Meter:
    """Turns the counters of a run into speeds, and its outcomes into the course of its accuracy."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque()
        self._hits = [0]  # presentations said right among the first 0, 1, 2, …

    def measure(self, progress: Progress, now: float) -> Rates:
        """Speeds from the samples of the last two seconds; ``now`` is ``time.perf_counter()``."""
        if not self._samples:
            self._samples.append(_Sample(progress.started, 0, 0, 0, 0))
        new = _Sample(now, progress.stream_us, progress.ledger.read, progress.steps.n, progress.rehearsals.n)
        self._samples.append(new)
        while len(self._samples) > 2 and self._samples[1].wall < now - RATE_WINDOW_S:
            self._samples.popleft()
        old = self._samples[0]
        wall = max(now - old.wall, 1e-9)
        stream_us = new.stream_us - old.stream_us
        return Rates(
            live=(new.live - old.live) / wall,
            rehearsed=(new.rehearsed - old.rehearsed) / wall,
            events=(new.events - old.events) / stream_us * 1e6 if stream_us > 0 else 0.0,
            speed=stream_us / 1e6 / wall,
        )

    def course(self, progress: Progress, points: int) -> list[float]:
        """Accuracy along the presentations at up to ``points`` places, each over ten or more before it."""
        outcomes = progress.evaluation.outcomes
        for truth, said in outcomes[len(self._hits) - 1 :]:
            self._hits.append(self._hits[-1] + (truth == said))
        n = len(self._hits) - 1
        points = min(points, n)
        span = max(10, -(-n // max(points, 1)))
        ends = [(i + 1) * n // points for i in range(points)]
        return [
            (self._hits[end] - self._hits[max(0, end - span)]) / (end - max(0, end - span)) for end in ends
        ]


class Picture:
    """An event frame in half-block characters: two pixels a cell; dark ones show the terminal's background.

    Args:
        rgb: uint8 [height, width, 3].
        lit: bool [height, width], the pixels that hold an event.
    """

    def __init__(self, rgb: npt.NDArray[np.uint8], lit: npt.NDArray[np.bool_]) -> None:
        if len(rgb) % 2:
            rgb = np.concatenate([rgb, np.zeros_like(rgb[:1])])
            lit = np.concatenate([lit, np.zeros_like(lit[:1])])
        # 0 is dark; else a colour, in steps of 8 so that neighbours share a style, with a bit that says lit.
        coarse = (rgb & 0xF8).astype(np.int64)
        code = np.where(lit, coarse[..., 0] << 16 | coarse[..., 1] << 8 | coarse[..., 2] | 1, 0)
        self._rows = [list(zip(*pair, strict=True)) for pair in code.reshape(-1, 2, code.shape[1]).tolist()]
        self.width = code.shape[1]
        self.height = len(self._rows)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(self.width, self.width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for row in self._rows:
            for (top, bottom), cells in groupby(row):
                character, style = _half_block(top, bottom, console.color_system is not None)
                yield Segment(character * len(list(cells)), style)
            yield Segment.line()


@lru_cache(maxsize=4096)
def _half_block(top: int, bottom: int, coloured: bool) -> tuple[str, Style | None]:
    if not top and not bottom:
        return " ", None
    if not bottom:
        return "▀", _style(top)
    if not top:
        return "▄", _style(bottom)
    return ("▀", _style(top, bottom)) if coloured else ("█", None)


def _style(ink: int, paper: int | None = None) -> Style:
    return Style(color=_colour(ink), bgcolor=None if paper is None else _colour(paper))


def _colour(code: int) -> Color:
    return Color.from_rgb(code >> 16, code >> 8 & 0xFF, code & 0xF8)


def sparkline(values: list[float]) -> str:
    """Values in [0, 1] as blocks of eight heights."""
    return "".join("▁▂▃▄▅▆▇█"[min(7, int(v * 8))] for v in values)


def bar(share: float, width: int) -> str:
    """A bar of ``share`` in [0, 1] of ``width`` cells, to an eighth of a cell."""
    eighths = round(share * width * 8)
    return "█" * (eighths // 8) + ("" if eighths % 8 == 0 else " ▏▎▍▌▋▊▉"[eighths % 8])


def short(n: float) -> str:
    """A count in three digits: 843, 12.3k, 4.57M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= size:
            return f"{n / size:.3g}{unit}" if n < 999.5 * size else f"{n / size:.0f}{unit}"
    return f"{n:.0f}"


def figure(value: float | None, digits: int = 3) -> str:
    """A figure, or a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def ledger_line(read: int, binned: int, late: int, malformed: int, dropped: int) -> str:
    """What became of every event, as the equation that it must be."""
    return (
        f"{read:,} read = {binned:,} binned + {late:,} late + {malformed:,} malformed + {dropped:,} dropped"
    )


def live_view(
    progress: Progress, result: StepResult, rates: Rates, meter: Meter, width: int, height: int
) -> RenderableType:
    """The live panel, ``width`` cells wide; with fewer than 18 rows ``height`` it lacks the picture."""
    rows = min(24, height - 8)
    body: RenderableType
    if rows >= 10 and width >= 72:
        side = min(2 * rows, int(width * 0.42))
        frame = fit(result.timestep.frame, side)
        picture = Picture(colours(frame), frame.sum(axis=0) > 0)
        span = f"{DIM}"
        panel = Panel(
            picture,
            title=f"[{span}]timestep {result.timestep.index:,}[/]",
            subtitle=f"[{span}]{short(result.timestep.events)} events[/]",
            border_style=BORDER,
            padding=0,
            width=picture.width + 2,
        )
        grid = Table.grid(padding=(0, 1, 0, 0), expand=True)
        grid.add_column(width=picture.width + 2)
        grid.add_column(ratio=1)
        inner = width - picture.width - 7
        grid.add_row(panel, _middle(progress, result, meter, inner, picture.height))
        body = grid
    else:
        body = _middle(progress, result, meter, width - 4, 0)
    return Group(_title(progress, width), body, _counters(progress, rates))


def _title(progress: Progress, width: int) -> RenderableType:
    on = progress.learning == "on"
    state = Text("● learning" if on else f"○ {progress.learning}", "green" if on else "yellow", end="")
    state.truncate(width // 2, overflow="ellipsis")
    source = progress.source if len(progress.source) <= 34 else "…" + progress.source[-33:]
    left = Text(source, "bold", end="", no_wrap=True)
    if progress.sensor is not None:
        left.append(" · {}×{}".format(*progress.sensor), "not bold")
    if progress.network:
        left.append(f" · {progress.network} ({short(progress.parameters)} weights)", "not bold " + DIM)
    left.truncate(width - state.cell_len - 3, overflow="ellipsis")
    row = Table.grid(expand=True)
    row.add_column(no_wrap=True)
    row.add_column(justify="right", no_wrap=True)
    row.add_row(Text.assemble(" ", left), Text.assemble(state, " "))
    return row


def _middle(progress: Progress, result: StepResult, meter: Meter, width: int, rows: int) -> RenderableType:
    """Prediction above accuracy, as high as a picture of ``rows`` rows (0: as high as they come)."""
    prediction = Panel(
        _prediction(progress, result, width),
        title=f"[{DIM}]prediction[/]",
        title_align="left",
        border_style=BORDER,
        padding=(0, 1),
    )
    taken = min(TOP_CLASSES, len(result.prediction.logits)) + 1 + 2
    accuracy = Panel(
        _accuracy(progress, meter, width),
        title=f"[{DIM}]accuracy before learning (prequential)[/]",
        title_align="left",
        border_style=BORDER,
        padding=(0, 1),
        height=max(rows + 2 - taken, 7) if rows else None,
    )
    return Group(prediction, accuracy)


def _prediction(progress: Progress, result: StepResult, width: int) -> RenderableType:
    p = result.prediction
    said = class_name(progress, p.label)
    if result.truth is None:
        head = Text.assemble((said, "bold"), (f"  {p.confidence:.0%}", DIM))
    elif result.truth == p.label:
        head = Text.assemble(("✓ ", "bold green"), (said, "bold green"), (f"  {p.confidence:.0%}", DIM))
    else:
        head = Text.assemble(
            ("✗ ", "bold red"), (said, "bold red"), ("  truth ", DIM), class_name(progress, result.truth)
        )
    head.truncate(width, overflow="ellipsis")
    table = Table.grid(padding=(0, 1, 0, 0))
    name_width = min(14, width // 3)
    table.add_column(width=name_width, no_wrap=True, overflow="ellipsis")
    table.add_column(width=width - name_width - 7, no_wrap=True)
    table.add_column(width=4, justify="right", no_wrap=True, style=DIM)
    shares = np.exp(p.logits - np.max(p.logits))
    shares = np.nan_to_num(shares / shares.sum())
    for position in np.argsort(-shares, kind="stable")[:TOP_CLASSES].tolist():
        label = progress.labels[position] if progress.labels else position
        style = "cyan" if position == p.index else DIM
        if label == result.truth:
            style = "green"
        share = float(shares[position])
        table.add_row(
            Text(class_name(progress, label), style),
            Text(bar(share, width - name_width - 7), style),
            f"{share:.0%}",
        )
    return Group(head, table)


def _accuracy(progress: Progress, meter: Meter, width: int) -> RenderableType:
    scores = progress.evaluation.accuracy()
    n = len(progress.evaluation.outcomes)
    window = progress.evaluation.config.window
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
    line = sparkline(meter.course(progress, width))
    return Group(table, Text(line or "no presentation scored yet", "cyan" if line else DIM))


def _counters(progress: Progress, rates: Rates) -> RenderableType:
    ledger, updates = progress.ledger, progress.updates
    steps, rehearsals = progress.steps, progress.rehearsals
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style=DIM, no_wrap=True)
    table.add_column(no_wrap=True, min_width=26, overflow="ellipsis")
    table.add_column(style=DIM, no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_row(
        "events",
        f"{rates.events / 1e6:.3f} M/s of stream",
        "speed",
        f"{rates.speed:.2f}× real time, {progress.stream_us / 1e6:,.1f} s",
    )
    table.add_row(
        "steps",
        f"{rates.live:.0f}/s live, {rates.rehearsed:.0f}/s rehearsed",
        "step",
        f"{steps.quantile_ms(0.5):.1f} ms p50, {steps.quantile_ms(0.99):.1f} ms p99"
        + (f" ({rehearsals.quantile_ms(0.5):.1f} rehearsed)" if rehearsals.n else ""),
    )
    table.add_row(
        "updates",
        f"{short(updates.live)} live, {short(updates.deferred)} deferred",
        "",
        f"{short(updates.rehearsed)} rehearsed",
    )
    balance = Text(
        ledger_line(ledger.read, ledger.binned, ledger.late, ledger.malformed, sum(ledger.dropped.values())),
        no_wrap=True,
        overflow="ellipsis",
    )
    failures = [
        Text(f"sink {name} failed: {message}", "red", no_wrap=True, overflow="ellipsis")
        for name, message in progress.sink_failures.items()
    ]
    return Padding(Group(table, balance, *failures), (0, 1))


def plain_line(progress: Progress, result: StepResult, rates: Rates) -> str:
    """One line for a log: stream time, timesteps, events, speeds, accuracy and the current prediction."""
    scores = progress.evaluation.accuracy()
    said = class_name(progress, result.prediction.label)
    truth = ""
    if result.truth is not None and result.truth != result.prediction.label:
        truth = f" (truth {class_name(progress, result.truth)})"
    return (
        f"{progress.stream_us / 1e6:8.1f} s  {progress.timesteps:,} steps  "
        f"{short(progress.ledger.read)} events  "
        f"{rates.live:.0f}/s  {rates.speed:.1f}x  "
        f"acc {figure(scores['presentations'])} of {len(progress.evaluation.outcomes)}  {said}{truth}"
    )
