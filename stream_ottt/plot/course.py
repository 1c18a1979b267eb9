"""The course of a run's accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stream_ottt.report.figures import draw_accuracy
from stream_ottt.report.recorded import RecordedRun, read_run

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def prequential(*runs: RecordedRun | str | Path, ax: Axes | None = None) -> Axes:
    """Draw the accuracy of the latest scored timesteps over stream time; of one run, with its label changes.

    Args:
        runs: of :func:`stream_ottt.learn`, or folders of ``run --record``.
        ax: where to; None for a new figure of pyplot.

    Raises:
        InputError: a folder that holds no run.
    """
    found = [run if isinstance(run, RecordedRun) else read_run(Path(run)) for run in runs]
    ax = ax or new_axes(8, 3)
    draw_accuracy(ax, [(run.name, [run]) for run in found])
    if len(found) > 1:
        ax.legend()
    return ax


def new_axes(width: float, height: float) -> Axes:
    """A new figure of pyplot, which a notebook shows; inches."""
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(width, height), layout="constrained")[1]
