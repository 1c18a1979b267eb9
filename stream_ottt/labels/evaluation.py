"""Judging an online learner: prequential accuracy, kappa, and the baselines that a real stream makes strong.

Only predictions made before any label of their presentation was used are given to :class:`Evaluator`; the
session sees to that. A *presentation* is one labelled interval. Its prediction is the class with the largest
mean softmax over its scored steps.

Kappa is Cohen's, (p0 - pc) / (1 - pc) with pc the agreement by chance of the two margins. kappa_t replaces pc
by the accuracy of the no-change classifier, which says what the presentation before was (Bifet et al., ECML
PKDD 2015).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from stream_ottt.settings import Settings


class EvaluationConfig(Settings):
    """How prequential figures forget.

    Attributes:
        fading: factor by which older timesteps weigh less, per timestep (Gama et al. 2013).
        window: latest timesteps in the windowed accuracy.
    """

    fading: float = Field(0.999, gt=0, le=1)
    window: int = Field(1000, ge=1, le=1_000_000)


@dataclass(slots=True)
class Score:
    """Agreement of two label sequences, kept as a confusion table."""

    table: dict[tuple[int, int], int] = field(default_factory=dict)

    def add(self, truth: int, said: int) -> None:
        """Count one pair."""
        self.table[truth, said] = self.table.get((truth, said), 0) + 1

    @property
    def n(self) -> int:
        """Pairs counted."""
        return sum(self.table.values())

    @property
    def accuracy(self) -> float | None:
        """Share of agreement, or None when nothing was counted."""
        return sum(c for (a, b), c in self.table.items() if a == b) / self.n if self.table else None

    def margins(self) -> tuple[dict[int, int], dict[int, int], dict[int, int]]:
        """How often each label was shown, was said, and was both."""
        shown: dict[int, int] = {}
        said: dict[int, int] = {}
        correct: dict[int, int] = {}
        for (a, b), count in self.table.items():
            shown[a] = shown.get(a, 0) + count
            said[b] = said.get(b, 0) + count
            if a == b:
                correct[a] = count
        return shown, said, correct

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa; None without data or when chance alone agrees always."""
        n = self.n
        if not n:
            return None
        shown, said, _ = self.margins()
        chance = sum(count * said.get(label, 0) for label, count in shown.items()) / (n * n)
        accuracy = self.accuracy
        assert accuracy is not None
        return None if chance == 1 else (accuracy - chance) / (1 - chance)


@dataclass(slots=True)
class _Open:
    """A presentation that is still being scored."""

    interval: int
    truth: int
    softmax: npt.NDArray[np.float64]
    labels: list[int]
    steps: int = 0


class Evaluator:
    """Prequential scores of one run, updated step by step, in memory of one byte a presentation.

    Args:
        config: fading factor and window.

    Attributes:
        steps, presentations: agreement of what was said with the truth.
        hits: a byte a presentation, in order: 1 where it was right.
    """

    def __init__(self, config: EvaluationConfig | None = None) -> None:
        self.config = config or EvaluationConfig()
        self.steps = Score()
        self.presentations = Score()
        self.hits = bytearray()
        self._open: _Open | None = None
        self._faded_hits = 0.0
        self._faded_n = 0.0
        self._recent: deque[bool] = deque(maxlen=self.config.window)
        self._seen: dict[int, int] = {}
        self._previous: int | None = None
        self._no_change_hits = 0
        self._majority_hits = 0

    def add_step(
        self, interval: int, truth: int, said: int, softmax: npt.NDArray[np.float64], labels: list[int]
    ) -> None:
        """Score one prediction made before any label of its presentation was used.

        Args:
            interval: start of the presentation (µs), its identity.
            truth: its label.
            said: the predicted label.
            softmax: [classes] probabilities.
            labels: the label at each position of ``softmax``.
        """
        if self._open is not None and self._open.interval != interval:
            self.close_presentation()
        if self._open is None:
            self._open = _Open(interval, truth, np.zeros(len(softmax)), labels)
        self._open.softmax += softmax
        self._open.steps += 1
        self.steps.add(truth, said)
        hit = truth == said
        self._faded_hits = self._faded_hits * self.config.fading + hit
        self._faded_n = self._faded_n * self.config.fading + 1
        self._recent.append(hit)

    def add_presentation(self, truth: int, steps: list[tuple[int, npt.NDArray[np.float64]]], labels: list[int]) -> None:
        """Score a whole presentation whose label came after it.

        Args:
            truth: its label.
            steps: (predicted label, softmax [classes]) of each of its timesteps.
            labels: the label at each position of a softmax.
        """
        held, self._open = self._open, None
        for said, softmax in steps:
            self.add_step(-1, truth, said, softmax, labels)
        self.close_presentation()
        self._open = held

    def close_presentation(self) -> None:
        """End the open presentation and count its prediction; nothing happens when none is open."""
        if self._open is None:
            return
        truth = self._open.truth
        said = self._open.labels[int(np.argmax(self._open.softmax))]
        self.presentations.add(truth, said)
        self.hits.append(truth == said)
        # The baselines are prequential too: each says what it would have said before this label was known.
        self._no_change_hits += self._previous == truth
        self._majority_hits += bool(self._seen) and max(self._seen, key=lambda k: (self._seen[k], -k)) == truth
        self._seen[truth] = self._seen.get(truth, 0) + 1
        self._previous = truth
        self._open = None

    def accuracy(self) -> dict[str, float | None]:
        """The summary's ``accuracy`` table. Values are in [0, 1] (kappas ≤ 1), None where nothing was scored.

        ``presentations`` and ``second_half`` are shares of presentations; ``steps``, ``faded`` and
        ``windowed`` of timesteps; ``kappa`` and ``kappa_t`` are over presentations, as are the baselines
        ``majority`` and ``no_change``.
        """
        n = len(self.hits)
        half = self.hits[n // 2 :]
        correct = self.presentations.accuracy
        no_change = self._no_change_hits / n if n else None
        kappa_t = None
        if correct is not None and no_change is not None and no_change < 1:
            kappa_t = (correct - no_change) / (1 - no_change)
        return {
            "presentations": correct,
            "second_half": sum(half) / len(half) if half else None,
            "steps": self.steps.accuracy,
            "faded": self._faded_hits / self._faded_n if self._faded_n else None,
            "windowed": sum(self._recent) / len(self._recent) if self._recent else None,
            "kappa": self.presentations.kappa,
            "kappa_t": kappa_t,
            "majority": self._majority_hits / n if n else None,
            "no_change": no_change,
        }

    def per_class(self) -> list[dict[str, Any]]:
        """One row a class: label; presentations shown, said, correct; recall and precision, or None."""
        shown, said, correct = self.presentations.margins()
        rows: list[dict[str, Any]] = []
        for label in sorted(shown.keys() | said.keys()):
            n_shown, n_said, n = shown.get(label, 0), said.get(label, 0), correct.get(label, 0)
            rows.append(
                {
                    "label": label,
                    "shown": n_shown,
                    "said": n_said,
                    "correct": n,
                    "recall": n / n_shown if n_shown else None,
                    "precision": n / n_said if n_said else None,
                }
            )
        return rows
