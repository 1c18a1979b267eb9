"""A run as its folder tells it, read with care: what is wrong in a file is said with its line."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field, ValidationError

from stream_ottt.errors import InputError
from stream_ottt.labels.evaluation import EvaluationConfig
from stream_ottt.sinks.record import CURVES, PREDICTIONS, SUMMARY

SCHEMA = "stream-ottt/summary/2"
MOST_BYTES = 256 * 2**20
"""Largest JSON file that is read whole."""

MOST_LINE = 16 * 2**20
"""Longest line of a JSON Lines file, bytes."""

MOST_US = 2**62
NO_LABEL = -MOST_US
"""Stands for no label in an array of labels."""


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """The predictions of a run, an entry a timestep.

    Attributes:
        t: end of the timestep, int64 [n], µs.
        label, truth: int64 [n]; truth is ``NO_LABEL`` without one.
        scored: bool [n].
    """

    t: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]
    truth: npt.NDArray[np.int64]
    scored: npt.NDArray[np.bool_]

    def changes(self) -> npt.NDArray[np.float64]:
        """The moments (s) at which what is shown changed."""
        changed: npt.NDArray[np.float64] = self.t[1:][np.diff(self.truth) != 0] / 1e6
        return changed

    def prequential(self, window: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Moments (s) of the scored timesteps, and the share of hits in the latest ``window`` of them."""
        scored = self.scored & (self.truth != NO_LABEL)
        sums = np.concatenate([[0], np.cumsum(self.label[scored] == self.truth[scored])])
        n = np.arange(1, len(sums))
        first = np.maximum(n - window, 0)
        return self.t[scored] / 1e6, (sums[n] - sums[first]) / (n - first)


@dataclass(frozen=True, slots=True, eq=False)
class RecordedRun:
    """One run.

    Attributes:
        name: how it is called.
        summary: its summary (docs/summary.md).
        predictions: None where only the summary is known.
        points: the lines of ``curves.jsonl``.
    """

    name: str
    summary: dict[str, Any]
    predictions: Predictions | None = None
    points: tuple[dict[str, Any], ...] = ()

    def label_name(self, label: int) -> str:
        """What a label is called."""
        return str(self.summary.get("classes", {}).get(str(label), label))

    @property
    def window(self) -> int:
        """Timesteps in the windowed accuracy."""
        found = self.summary["settings"].get("evaluation", {}).get("window")
        return found if isinstance(found, int) and found > 0 else EvaluationConfig().window

    def curve(self, *keys: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Moments (s) and values of what stands under ``keys`` in the points; NaN where that is unknown."""
        values = []
        for point in self.points:
            value: Any = point
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else None
            values.append(value if isinstance(value, (int, float)) else math.nan)
        return np.array([point["t"] for point in self.points]) / 1e6, np.array(values, float)

    def _repr_html_(self) -> str:
        """The scores and what became of the events, for a notebook."""
        from stream_ottt.report.html import as_text
        from stream_ottt.report.sections import events_table, scores_table

        return as_text(scores_table([self])) + as_text(events_table(self))


def read_run(path: Path) -> RecordedRun:
    """The run of a record's folder, or of a summary alone.

    Raises:
        InputError: no summary there, or a damaged file.
    """
    if path.is_file():
        return RecordedRun(path.stem, _summary(path))
    summary = _summary(path / SUMMARY)
    predictions = path / PREDICTIONS
    curves = path / CURVES
    return RecordedRun(
        path.resolve().name,
        summary,
        read_predictions(predictions) if predictions.exists() else None,
        tuple(_points(curves)) if curves.exists() else (),
    )


class ClassRow(BaseModel):
    """A row of ``accuracy.per_class``."""

    label: int


class Accuracy(BaseModel):
    """What is needed of ``accuracy``."""

    presentations: float | None = None
    second_half: float | None = None
    steps: float | None = None
    faded: float | None = None
    windowed: float | None = None
    kappa: float | None = None
    kappa_t: float | None = None
    majority: float | None = None
    no_change: float | None = None
    since_change: list[dict[str, float | None]] = []
    per_class: list[ClassRow] = []
    confusion: list[tuple[int, int, Annotated[int, Field(ge=0)]]] = []


class Events(BaseModel):
    """What is needed of ``events``."""

    dropped: dict[str, int] = {}


class Summary(BaseModel):
    """What is needed of a summary."""

    accuracy: Accuracy
    events: Events
    settings: dict[str, dict[str, Any]]
    updates: dict[str, int]
    versions: dict[str, str]
    exit: dict[str, int | str | None]
    classes: dict[str, str] = {}
    warnings: list[str] = []
    network: dict[str, Any] = {}


def _summary(path: Path) -> dict[str, Any]:
    found = read_json(path)
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != SCHEMA:
        raise InputError(f"expected a summary of schema {SCHEMA!r}, found {schema!r}", path=path)
    try:
        Summary.model_validate(found)
    except ValidationError as e:
        first = e.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise InputError(f"no summary that can be shown: {key}: {first['msg']}", path=path) from None
    return dict(found)


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        InputError: it cannot be read, is too large, or is no JSON.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"more than {MOST_BYTES >> 20} MiB; no file of a run is that large", path=path)
        return json.loads(path.read_bytes())
    except OSError as e:
        raise InputError(f"cannot be read: {e.strerror}; record a run with --record FOLDER", path=path) from e
    except UnicodeDecodeError as e:
        raise InputError("neither a folder of a run nor its summary, which is JSON", path=path) from e
    except (ValueError, RecursionError) as e:
        raise InputError(f"expected JSON: {e}", path=path) from e


def read_predictions(path: Path) -> Predictions:
    """The predictions that the sink ``jsonl`` wrote.

    Raises:
        InputError: a line that is none; its number is said.
    """
    columns = array("q"), array("q"), array("q"), array("b")
    for number, line in lines(path):
        try:
            truth = line["truth"]
            row = (line["t_end"], line["label"], NO_LABEL if truth is None else truth, line["scored"])
            for column, value in zip(columns, row, strict=True):
                column.append(value)
        except (KeyError, TypeError, OverflowError) as e:
            raise InputError(f"line {number}: no prediction of version 1 ({e!r})", path=path) from e
    t, label, truth_, scored = (np.array(column) for column in columns)
    return Predictions(t.astype(np.int64), label.astype(np.int64), truth_.astype(np.int64), scored.astype(bool))


def _points(path: Path) -> Iterator[dict[str, Any]]:
    for number, point in lines(path):
        t = point.get("t")
        if not isinstance(t, int) or not 0 <= t < MOST_US or not isinstance(point.get("firing", {}), dict):
            raise InputError(f"line {number}: no point of a curve: a time 't' and a table 'firing' expected", path=path)
        yield point


def lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and object of each line of a JSON Lines file. A last line that breaks off was never finished: no error.

    Raises:
        InputError: a line that is no JSON object, or a file that cannot be read.
    """
    try:
        with path.open("rb") as f:
            for number, line in enumerate(iter(lambda: f.readline(MOST_LINE), b""), start=1):
                if not line.endswith(b"\n"):
                    if len(line) == MOST_LINE:
                        raise InputError(f"line {number}: longer than {MOST_LINE >> 20} MiB", path=path)
                    return
                try:
                    found = json.loads(line)
                except (ValueError, RecursionError) as e:
                    raise InputError(f"line {number}: expected JSON: {e}", path=path) from e
                if not isinstance(found, dict):
                    raise InputError(f"line {number}: expected a JSON object", path=path)
                yield number, found
    except OSError as e:
        raise InputError(f"cannot be read: {e.strerror}", path=path) from e
