"""The figures of a table, after the paper's Figures 2 to 4: means over seeds, with their standard deviations.

A panel holds the rows that share data and protocol; its title is what their names have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_ottt.replay.figures import draw_alignment, draw_means, legend_below, new_figure, save, share_scale
from stream_ottt.replay.records import Family, Record, by_row, families, same_task, without
from stream_ottt.replay.report import mean_and_deviation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Records = Sequence[Record]


def draw_table(records: Records, folder: Path) -> dict[str, str]:
    """Draw what the records hold.

    Returns:
        Name of each figure that was drawn, without ``.png``, and what it shows; nothing without matplotlib.
    """
    drawn: dict[str, str] = {}
    if find_spec("matplotlib") is None:
        return drawn
    for name, (draw, shows) in FIGURES.items():
        figure = draw(records)
        if figure is not None:
            save(figure, folder / f"{name}.png")
            drawn[name] = shows
    return drawn


def epochs(records: Records) -> Figure | None:
    """Test accuracy after each epoch; training accuracy dashed."""
    having = [r for r in records if any("epoch" in m and "test_accuracy" in m for m in r.metrics)]

    def draw(axis: Axes, family: Family, colors: Mapping[str, str]) -> None:
        last = max(len(r.metrics) for own in family.rows.values() for r in own)
        for i, (label, own) in enumerate(family.rows.items()):
            tested, trained = _over_epochs(own, "test_accuracy"), _over_epochs(own, "train_accuracy")
            draw_means(axis, tested, label, color=colors[label], moved=_aside(i, family, last / 80))
            means = {x: mean for x, (mean, _) in _means(trained).items()}
            axis.plot(list(means), list(means.values()), linestyle="--", linewidth=0.9, color=colors[label])
        axis.set_xlabel("epoch")
        if last <= 10:
            axis.set_xticks(range(1, last + 1))

    return _panels(having, draw, "accuracy")


def _over_epochs(own: Records, key: str) -> dict[float, list[float]]:
    out: dict[float, list[float]] = {}
    for record in own:
        for m in record.metrics:
            out.setdefault(m["epoch"], []).append(m[key])
    return out


def batch_sizes(records: Records) -> Figure | None:
    """Accuracy against batch size, a line for rows that differ in nothing else but the learning rate."""

    def but_batch(settings: dict[str, Any]) -> object:
        return without(settings, "compute", "report", "learner.lr", "protocol.batch_size")

    def by_size(family: Family) -> dict[int, list[float]]:
        out: dict[int, list[float]] = {}
        for record in (r for own in family.rows.values() for r in own):
            out.setdefault(record.settings["protocol"]["batch_size"], []).append(record.result["accuracy"])
        return dict(sorted(out.items()))

    groups = {f.title or next(iter(f.rows)): by_size(f) for f in families(records, but_batch)}
    lines = {label: found for label, found in groups.items() if len(found) > 1}
    if not lines:
        return None
    sizes = sorted({size for found in lines.values() for size in found})
    figure, (axis,) = new_figure()
    for i, (label, found) in enumerate(lines.items()):
        moved = 0.05 * (i - (len(lines) - 1) / 2)
        draw_means(axis, {sizes.index(size): own for size, own in found.items()}, label, moved=moved)
    axis.set(xlabel="batch size", ylabel="test accuracy", xticks=range(len(sizes)), xticklabels=sizes)
    legend_below(figure)
    return figure


def time_steps(records: Records) -> Figure | None:
    """Accuracy against the number of timesteps at inference."""
    having = [r for r in records if len(r.result.get("accuracy_at_time_steps") or ()) > 1]

    def draw(axis: Axes, family: Family, colors: Mapping[str, str]) -> None:
        ticks: set[int] = set()
        for i, (label, own) in enumerate(family.rows.items()):
            found: dict[float, list[float]] = {}
            for record in own:
                for t, accuracy in record.result["accuracy_at_time_steps"].items():
                    found.setdefault(int(t), []).append(accuracy)
            ticks |= {int(t) for t in found}
            draw_means(axis, dict(sorted(found.items())), label, color=colors[label], moved=_aside(i, family, 0.1))
        axis.set(xlabel="timesteps at inference", xticks=sorted(ticks))

    return _panels(having, draw, "test accuracy")


def rates(records: Records) -> Figure | None:
    """Firing rate of each layer, a bar a row."""
    having = [r for r in records if r.result.get("activity")]

    def draw(axis: Axes, family: Family, colors: Mapping[str, str]) -> None:
        runs = {label: [r.result["activity"]["layers"] for r in own] for label, own in family.rows.items()}
        layers = list(dict.fromkeys(name for own in runs.values() for run in own for name in run))
        width = 0.8 / len(runs)
        for i, (label, own) in enumerate(runs.items()):
            found = _means({j: [run[k]["firing_rate"] for run in own if k in run] for j, k in enumerate(layers)})
            places = [j + _aside(i, family, width) for j in found]
            bars = [deviation or 0.0 for _, deviation in found.values()]
            means = [mean for mean, _ in found.values()]
            axis.bar(places, means, width, yerr=bars, label=label, color=colors[label], error_kw={"elinewidth": 0.9})
        axis.set(xlabel="layer", xticks=range(len(layers)), xticklabels=layers)
        if len(layers) > 4:
            axis.tick_params(axis="x", rotation=90, labelsize=8)

    return _panels(having, draw, "spikes per neuron and timestep")


def cosines(records: Records) -> Figure | None:
    """Cosines of the gradients over training, a panel a row."""
    rows = by_row([r for r in records if r.result.get("alignment")])
    if not rows:
        return None
    figure, axes = new_figure(len(rows))
    for axis, (row, own) in zip(axes, rows.items(), strict=True):
        draw_alignment(axis, [r.result["alignment"] for r in own])
        axis.set_title(row, fontsize=9)
    share_scale(axes)
    legend_below(figure)
    return figure


def _panels(records: Records, draw: Callable[[Axes, Family, Mapping[str, str]], None], ylabel: str) -> Figure | None:
    """A panel a family, all on one scale and with one colour for what has the same name."""
    found = families(records, same_task)
    if not found:
        return None
    labels = dict.fromkeys(label for family in found for label in family.rows)
    colors = {label: f"C{i}" for i, label in enumerate(labels)}
    figure, axes = new_figure(len(found))
    for axis, family in zip(axes, found, strict=True):
        draw(axis, family, colors)
        axis.set_title(family.title, fontsize=9)
        axis.set_ylabel(ylabel)
    share_scale(axes)
    legend_below(figure)
    return figure


def _aside(i: int, family: Family, step: float) -> float:
    """Where row ``i`` is drawn beside its place, so that the bars of all can be seen."""
    return step * (i - (len(family.rows) - 1) / 2)


def _means(values: Mapping[float, Sequence[float]]) -> dict[float, tuple[float, float | None]]:
    return {x: found for x, own in values.items() if (found := mean_and_deviation(own)) is not None}


FIGURES: dict[str, tuple[Callable[[Records], Figure | None], str]] = {
    "epochs": (
        epochs,
        "Accuracy over epochs: on the test samples, and dashed on the training samples as they are learned",
    ),
    "batch-sizes": (batch_sizes, "Accuracy against batch size"),
    "time-steps": (time_steps, "Accuracy against the number of timesteps at inference"),
    "rates": (rates, "Firing rates by layer"),
    "alignment": (cosines, "Cosines of the gradients over training"),
}
"""Name → how it is drawn, and what it shows."""
