"""Figures as PNG, drawn without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_ottt.errors import OutputError
from stream_ottt.replay.report import data_name, mean_and_deviation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


ACROSS = 3
"""Panels side by side; more go below."""

MOST_CLASSES, MOST_NUMBERS = 40, 12
"""Most classes of which the confusion is drawn, and of which its counts can be read."""

WIDTHS = {1: 5.2, 2: 8.4, 3: 10.4}
"""Panels side by side → inches. A page shows a figure of any width as wide as itself: wider means smaller letters."""


def new_figure(panels: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure with panels; matplotlib's global state is left alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    across = 2 if panels == 4 else min(panels, ACROSS)  # no panel stands alone in its row
    down = -(-panels // across)
    figure = Figure(figsize=(WIDTHS[across], 3.6 * down), layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(down, across, i + 1) for i in range(panels)]
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save(figure: Figure, path: Path) -> None:
    """Write a figure."""
    try:
        figure.savefig(path, dpi=120)
    except OSError as e:
        raise OutputError(f"{path}: cannot be written: {e.strerror}") from e


def draw_curves(
    path: Path, rows: Sequence[Mapping[str, Any]], result: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
    """Write :func:`curves` to a file."""
    save(curves(rows, result, settings), path)


def curves(rows: Sequence[Mapping[str, Any]], result: Mapping[str, Any], settings: Mapping[str, Any]) -> Figure:
    """Accuracy over a run, what was said of each class, and, where they were measured, the gradients' cosines and the
    layers' firing rates."""
    names = result["classes"]
    table = "confusion" in result and len(names) <= MOST_CLASSES
    panels = 1 + table + ("alignment" in result) + ("activity" in result)
    figure, axes = new_figure(panels)
    title = f"{settings['method']['name']} on {data_name(settings['data'])}, seed {settings['compute']['seed']}"
    if settings["protocol"]["name"] == "class-incremental":
        _matrix(axes[0], result["matrix"])
    elif "outcomes" in rows[0]:
        _prequential(axes[0], rows, settings["evaluation"]["window"], result.get("change_at"))
    else:
        epochs = [row["epoch"] for row in rows]
        for key, label in (("train_accuracy", "training"), ("test_accuracy", "test")):
            axes[0].plot(epochs, [row[key] for row in rows], marker=".", label=label)
        axes[0].set(xlabel="epoch", ylabel="accuracy", ylim=(0, 1))
        axes[0].legend()
    axes[0].set_title(title, fontsize=9)
    rest = axes[1:]
    if table:
        _confusion(rest.pop(0), result["confusion"], names)
    if "alignment" in result:
        draw_alignment(rest[0], [result["alignment"]])
        rest.pop(0).legend(fontsize=8)
    if "activity" in result:
        layers = result["activity"]["layers"]
        rest[0].bar(list(layers), [layer["firing_rate"] for layer in layers.values()])
        rest[0].set(ylabel="spikes per neuron and timestep")
        rest[0].tick_params(axis="x", rotation=60)
    return figure


def _prequential(axis: Axes, rows: Sequence[Mapping[str, Any]], window: int, change_at: int | None) -> None:
    hits = [a == b for row in rows for a, b in row["outcomes"]]
    means = [sum(hits[max(i - window, 0) : i]) / min(i, window) for i in range(1, len(hits) + 1)]
    axis.plot(range(1, len(hits) + 1), means)
    if change_at is not None:
        axis.axvline(change_at, linestyle="--", color="grey")
    axis.set(xlabel="samples", ylabel=f"accuracy of the last {window}", ylim=(0, 1))


def _confusion(axis: Axes, rows: Sequence[Sequence[int]], names: Sequence[str]) -> None:
    """Of each class, the share that was said to be of each; rows of truth, said, count."""
    n = len(names)
    counts = [[0] * n for _ in range(n)]
    for truth, said, count in rows:
        counts[truth][said] = count
    axis.grid(visible=False)
    axis.imshow([[c / max(sum(row), 1) for c in row] for row in counts], vmin=0, vmax=1, cmap="viridis")
    if n <= MOST_NUMBERS:
        for i, row in enumerate(counts):
            for j, count in enumerate(row):
                if count:
                    light = count < 0.6 * sum(row)
                    color = "white" if light else "black"
                    axis.text(j, i, str(count), ha="center", va="center", fontsize=7, color=color)
    axis.set(xlabel="said", ylabel="truth", xticks=range(n), yticks=range(n))
    axis.set_xticklabels(names, rotation=90, fontsize=7)
    axis.set_yticklabels(names, fontsize=7)


def _matrix(axis: Axes, matrix: Sequence[Sequence[float | None]]) -> None:
    axis.grid(visible=False)
    axis.imshow([[v or 0.0 for v in row] for row in matrix], vmin=0, vmax=1, cmap="viridis")
    for i, row in enumerate(matrix):
        for j, value in enumerate(row):
            if value is not None:
                axis.text(j, i, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.6 else "black")
    axis.set(xlabel="tested on block", ylabel="after learning block")


def draw_alignment(axis: Axes, runs: Sequence[Sequence[Mapping[str, Any] | None]]) -> None:
    """Cosine of OTTT's gradient with the others', of all weights together, over the run of each seed."""
    for other, label in (("bptt", "with BPTT"), ("representation", "with the spike representation")):
        by_index: dict[float, list[float]] = {}
        for run in runs:
            for i, found in enumerate(f for f in run if f):
                value = found.get(other, {}).get("all")
                if value is not None:
                    by_index.setdefault(i, []).append(value)
        if by_index:
            draw_means(axis, by_index, label)
    axis.axhline(0, color="grey", linewidth=0.8)
    axis.set(xlabel="measured", ylabel="cosine of gradients", ylim=(-0.2, 1.02))


def draw_means(
    axis: Axes,
    values: Mapping[float, Sequence[float]],
    label: str,
    *,
    color: str | None = None,
    moved: float = 0.0,
) -> None:
    """Means over seeds with their standard deviations: position → a value a seed, drawn ``moved`` along x."""
    found = [mean_and_deviation(own) or (0.0, None) for own in values.values()]
    places = [x + moved for x in values]
    bars = [deviation or 0.0 for _, deviation in found]
    means = [mean for mean, _ in found]
    axis.errorbar(
        places,
        means,
        bars,
        errorevery=-(-len(means) // 12),  # of long curves only some bars, so that the lines can be seen
        marker="." if len(means) <= 20 else "",
        color=color,
        label=label,
        linewidth=1.2,
        elinewidth=0.9,
        capsize=2,
    )


def share_scale(axes: Sequence[Axes]) -> None:
    """Give panels, once drawn, one y axis, written at the left of each row."""
    for axis in axes[1:]:
        axis.sharey(axes[0])
        place = axis.get_subplotspec()
        if place is not None and not place.is_first_col():
            axis.set_ylabel("")
            axis.tick_params(labelleft=False)
    axes[0].autoscale_view()


def legend_below(figure: Figure) -> None:
    """One legend for all panels, where it hides nothing."""
    handles = [axis.get_legend_handles_labels() for axis in figure.axes]
    shown = {label: handle for own, labels in handles for handle, label in zip(own, labels, strict=True)}
    figure.legend(
        shown.values(), shown.keys(), loc="outside lower center", ncols=min(len(shown), 4), fontsize=8, frameon=False
    )


def draw_memory(path: Path, measured: Mapping[str, Mapping[int, int]]) -> None:
    """Bytes that training takes against T: method → T → bytes."""
    figure, (axis,) = new_figure()
    for method, points in measured.items():
        axis.plot(list(points), [b / 2**20 for b in points.values()], marker=".", label=method)
    axis.set(xlabel="timesteps T", ylabel="memory of training, MiB", ylim=(0, None))
    axis.legend()
    save(figure, path)
