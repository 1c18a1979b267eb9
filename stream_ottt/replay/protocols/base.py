"""What a protocol is: a run in intervals, each ending in a row of figures and a checkpoint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from stream_ottt.images.base import Item
from stream_ottt.labels.evaluation import Evaluator
from stream_ottt.labels.presentation_score import PresentationScore
from stream_ottt.labels.score import Score
from stream_ottt.replay.config import ReplayConfig
from stream_ottt.replay.datasets.base import DataSet
from stream_ottt.replay.workbench import Workbench

Row = dict[str, Any]
"""Figures of one interval, JSON-ready."""


class Protocol(ABC):
    """Base of the protocols.

    Class attributes:
        name: the short name.

    Args:
        config: the settings.
        dataset: the data.
        processes: how many share each batch.
    """

    name: ClassVar[str]

    def __init__(self, config: ReplayConfig, dataset: DataSet, processes: int = 1) -> None:
        self.config = config
        self.dataset = dataset
        self.batch_size = config.protocol.batch_size * processes

    @property
    @abstractmethod
    def length(self) -> int:
        """Number of intervals."""

    @property
    @abstractmethod
    def batches(self) -> int:
        """Batches of new samples learned in the whole run."""

    @abstractmethod
    def advance(self, bench: Workbench, i: int) -> Row:
        """Run interval i."""

    def skip(self, bench: Workbench, i: int, row: Row) -> None:  # noqa: B027 - most remember nothing
        """Bring back what interval i left behind beside the weights, from its row."""

    @abstractmethod
    def result(self, bench: Workbench, rows: list[Row]) -> dict[str, Any]:
        """Figures of the whole run; ``accuracy`` is the one that tables show, ``confusion`` what was said of its
        samples, as rows of truth, said, count."""

    @property
    def sample_us(self) -> int | None:
        """Duration of a sample, µs; None where its frames are not windows of time."""
        data = self.config.data
        timed = data.binning == "duration" and not self.dataset.static
        return data.window * data.time_steps if timed else None

    def of_batches(self, samples: int) -> int:
        """Batches that ``samples`` samples make."""
        return -(-samples // self.batch_size)


def learn_batch(bench: Workbench, items: list[Item], seeds: list[tuple[int, int]]) -> int:
    """Learn new samples, then remember them and rehearse; how many were right while being learned."""
    hits = bench.learn(items, seeds)
    if bench.config.rehearsal.mode == "ratio":
        bench.rehearse(items, [bench.dataset.raw(i) for i in items])
    return hits


def skip_batch(bench: Workbench, items: list[Item]) -> None:
    """As :func:`learn_batch`, without learning: the memory and its draws go on as they did."""
    if bench.config.rehearsal.mode == "ratio":
        bench.rehearse(items, [bench.dataset.raw(i) for i in items], learn=False)


def confusion(outcomes: list[list[int]]) -> list[list[int]]:
    """(truth, said) pairs as rows of truth, said, count."""
    score = Score()
    for truth, said in outcomes:
        score.add(truth, said)
    return score.rows()


def score_presentations(config: ReplayConfig, outcomes: list[list[int]], classes: int) -> dict[str, Any]:
    """Prequential figures of (truth, said) pairs in the order of the stream, one a sample."""
    evaluator = Evaluator(config.evaluation)
    onehot, labels = np.eye(classes), list(range(classes))
    for truth, said in outcomes:
        score = PresentationScore(truth, labels)
        evaluator.add_step(score, said, onehot[said])
        evaluator.close(score)
    return evaluator.accuracy()
