"""Figures as PNG, drawn without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_ottt.errors import OutputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new_figure(panels: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure with panels side by side; matplotlib's global state is left alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * panels, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(1, panels, i + 1) for i in range(panels)]
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
    """Accuracy over a run, and, where they were measured, the gradients' cosines and the layers' firing rates."""
    panels = 1 + ("alignment" in result) + ("activity" in result)
    figure, axes = new_figure(panels)
    title = f"{settings['method']['name']} on {settings['data']['name']}, seed {settings['compute']['seed']}"
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
    if "alignment" in result:
        draw_alignment(rest.pop(0), result["alignment"])
    if "activity" in result:
        layers = result["activity"]["layers"]
        rest[0].bar(list(layers), [layer["firing_rate"] for layer in layers.values()])
        rest[0].set(ylabel="spikes per neuron and timestep")
        rest[0].tick_params(axis="x", rotation=60)
    save(figure, path)


def _prequential(axis: Axes, rows: Sequence[Mapping[str, Any]], window: int, change_at: int | None) -> None:
    hits = [a == b for row in rows for a, b in row["outcomes"]]
    means = [sum(hits[max(i - window, 0) : i]) / min(i, window) for i in range(1, len(hits) + 1)]
    axis.plot(range(1, len(hits) + 1), means)
    if change_at is not None:
        axis.axvline(change_at, linestyle="--", color="grey")
    axis.set(xlabel="samples", ylabel=f"accuracy of the last {window}", ylim=(0, 1))


def _matrix(axis: Axes, matrix: Sequence[Sequence[float | None]]) -> None:
    axis.grid(visible=False)
    axis.imshow([[v or 0.0 for v in row] for row in matrix], vmin=0, vmax=1, cmap="viridis")
    for i, row in enumerate(matrix):
        for j, value in enumerate(row):
            if value is not None:
                axis.text(j, i, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.6 else "black")
    axis.set(xlabel="tested on block", ylabel="after learning block")


def draw_alignment(axis: Axes, alignment: Sequence[Mapping[str, Any] | None]) -> None:
    """Cosine of OTTT's gradient with the others', of all weights together, over a run."""
    known = [a for a in alignment if a]
    for other, label in (("bptt", "with BPTT"), ("representation", "with the spike representation")):
        points = [(i, a[other]["all"]) for i, a in enumerate(known) if other in a and a[other]["all"] is not None]
        if points:
            axis.plot(*zip(*points, strict=True), marker=".", label=label)
    axis.axhline(0, color="grey", linewidth=0.8)
    axis.set(xlabel="measured", ylabel="cosine of gradients", ylim=(-0.2, 1.02))
    axis.legend()


def draw_memory(path: Path, measured: Mapping[str, Mapping[int, int]]) -> None:
    """Bytes that training takes against T: method → T → bytes."""
    figure, (axis,) = new_figure()
    for method, points in measured.items():
        axis.plot(list(points), [b / 2**20 for b in points.values()], marker=".", label=method)
    axis.set(xlabel="timesteps T", ylabel="memory of training, MiB", ylim=(0, None))
    axis.legend()
    save(figure, path)
