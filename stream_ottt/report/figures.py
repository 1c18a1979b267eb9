"""Figures of runs: one run in full, or several as means over seeds with their deviations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stream_ottt.replay.figures import legend_below, new_figure
from stream_ottt.report.html import short
from stream_ottt.report.recorded import RecordedRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]
Group = tuple[str, Sequence[RecordedRun]]
"""What runs have in common, and the runs, which differ in their seeds."""

POINTS = 600
"""Most points of a drawn line."""
MOST_CHANGES = 200
"""Most label changes that are marked; more would hide the lines."""
MOST_CLASSES = 500
"""Most classes of a confusion matrix; more would be smaller than a pixel."""
MOST_LAYERS = 64
MOST_WRITTEN = 12
"""Most classes of a confusion matrix whose counts are written into it."""
SCORES = {"kappa": "kappa", "kappa_t": "kappa against no change", "majority": "majority", "no_change": "no change"}


def accuracy(groups: Sequence[Group]) -> Figure:
    """Prequential accuracy of the latest scored timesteps over stream time; label changes of a single run as lines."""
    figure, (axis,) = new_figure()
    figure.set_size_inches(10.4, 3.8)
    draw_accuracy(axis, groups)
    if len(groups) > 1:
        legend_below(figure)
    return figure


def draw_accuracy(axis: Axes, groups: Sequence[Group]) -> None:
    """As :func:`accuracy`, into a panel."""
    if len(groups) == 1 and len(groups[0][1]) == 1:
        mark_changes(axis, groups[0][1][0])
    windows = sorted({run.window for _, runs in groups for run in runs})
    for name, runs in groups:
        curves = [run.predictions.prequential(run.window) for run in runs if run.predictions is not None]
        draw_band(axis, curves, name)
    latest = "–".join(map(str, windows[:: max(len(windows) - 1, 1)]))
    axis.set(xlabel="stream time, s", ylabel=f"accuracy of the latest {latest}", ylim=(-0.02, 1.02))


def mark_changes(axis: Axes, run: RecordedRun) -> None:
    """A thin line wherever the label changes."""
    changes = run.predictions.changes() if run.predictions is not None else np.empty(0)
    if 0 < len(changes) <= MOST_CHANGES:
        axis.vlines(changes, 0, 1, transform=axis.get_xaxis_transform(), color="0.8", linewidth=0.6, zorder=0)


def draw_band(axis: Axes, curves: Sequence[tuple[Floats, Floats]], name: str) -> None:
    """A line, or of several curves their mean and standard deviation over the time that all of them cover."""
    curves = [(x[np.isfinite(y)], y[np.isfinite(y)]) for x, y in curves]
    curves = [(x, y) for x, y in curves if len(x)]
    if not curves:
        return
    if len(curves) == 1:
        x, y = (c[thinned(len(curves[0][0]))] for c in curves[0])
        axis.plot(x, y, label=short(name), marker="." if len(x) == 1 else "")
        return
    start, end = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    x = np.linspace(start, max(start, end), POINTS)
    values = np.stack([np.interp(x, *curve) for curve in curves])
    mean, deviation = values.mean(0), values.std(0, ddof=1)
    (line,) = axis.plot(x, mean, label=short(name))
    axis.fill_between(x, mean - deviation, mean + deviation, color=line.get_color(), alpha=0.2, linewidth=0)


def thinned(n: int) -> npt.NDArray[np.intp]:
    """Indices of at most ``POINTS`` of ``n`` points, the last among them."""
    return np.unique(np.linspace(0, n - 1, min(n, POINTS)).astype(np.intp))


def scores(groups: Sequence[Group]) -> Figure | None:
    """Kappas and baselines so far, over stream time, a panel each; None where no run has such points."""
    figure = _panels(groups, [(title, ("accuracy", key)) for key, title in SCORES.items()])
    for axis in figure.axes if figure is not None else ():
        axis.set_ylim(min(axis.get_ylim()[0], -0.02), 1.02)  # one scale: a baseline of 0 is seen as 0
    return figure


def course(groups: Sequence[Group]) -> Figure | None:
    """Memory, latency, and events a timestep over stream time."""
    titles = {"rss_mb": "memory, MB", "latency_ms": "latency, ms", "events": "events a timestep"}
    return _panels(groups, [(title, (key,)) for key, title in titles.items()])


def firing(groups: Sequence[Group]) -> Figure | None:
    """Share of each layer's neurons that fire at a timestep."""
    layers = dict.fromkeys(
        layer for _, runs in groups for run in runs for point in run.points for layer in point.get("firing", {})
    )
    return _panels(groups, [(layer, ("firing", layer)) for layer in list(layers)[:MOST_LAYERS]])


def _panels(groups: Sequence[Group], panels: Sequence[tuple[str, tuple[str, ...]]]) -> Figure | None:
    if not panels or not any(run.points for _, runs in groups for run in runs):
        return None
    figure, axes = new_figure(len(panels))
    rows = len({axis.get_position().y0 for axis in axes})
    figure.set_size_inches(10.4, 2.6 * rows + 0.3)
    for axis, (title, keys) in zip(axes, panels, strict=True):
        for name, runs in groups:
            draw_band(axis, [run.curve(*keys) for run in runs if run.points], name)
        axis.set_title(short(title), fontsize=9)
        axis.set_xlabel("stream time, s", fontsize=8)
    if len(groups) > 1:
        legend_below(figure)
    return figure


def confusion(run: RecordedRun) -> Figure | None:
    """How often each class was taken for which, over presentations; None without any, or with too many classes."""
    rows = run.summary["accuracy"].get("confusion") or []
    if not rows:
        return None
    labels = sorted({label for a, b, _ in rows for label in (a, b)})
    if len(labels) > MOST_CLASSES:
        return None
    place = {label: i for i, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)))
    for a, b, n in rows:
        counts[place[a], place[b]] = n
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure, (axis,) = new_figure()
    axis.grid(visible=False)
    axis.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    names = [short(run.label_name(label)) for label in labels]
    ticks: dict[str, Any] = {"ticks": range(len(labels)), "labels": names}
    if len(labels) <= 4 * MOST_WRITTEN:
        axis.set_xticks(**ticks, rotation=45, ha="right", rotation_mode="anchor")
        axis.set_yticks(**ticks)
    if len(labels) <= MOST_WRITTEN:
        for (i, j), n in np.ndenumerate(counts):
            if n:
                color = "white" if shares[i, j] > 0.6 else "black"
                axis.text(j, i, f"{n:.0f}", ha="center", va="center", color=color)
    axis.set(xlabel="taken for", ylabel="shown")
    return figure


FIGURES: tuple[tuple[Callable[[Sequence[Group]], Figure | None], str], ...] = (
    (scores, "Kappas and baselines so far, over presentations"),
    (firing, "Firing rates: the share of each layer's neurons that fire at a timestep"),
    (course, "Memory, latency and events over the run"),
)
"""How each is drawn, and what it shows."""
