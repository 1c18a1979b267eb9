"""Judging an online learner: prequential accuracy, kappa, and the baselines that a real stream makes strong.

Only predictions made before any label of their presentation was used are given to :class:`Evaluator`; the
presentation (``learning/presentation.py``) sees to that. A *presentation* is one labelled interval. Its prediction is
the class with the largest mean softmax over its scored steps.

Kappa is Cohen's, (p0 - pc) / (1 - pc) with pc the agreement by chance of the two margins. kappa_t replaces pc
by the accuracy of the no-change classifier, which says what the presentation before was (Bifet et al., ECML
PKDD 2015).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from stream_ottt.labels.presentation_score import PresentationScore, Verdict
from stream_ottt.labels.recent_steps import RecentSteps
from stream_ottt.labels.score import Score
from stream_ottt.settings import Settings
from stream_ottt.state import State, part, take, under


class EvaluationConfig(Settings):
    """How prequential figures forget.

    Attributes:
        fading: factor by which older timesteps weigh less, per timestep (Gama et al. 2013).
        window: latest timesteps in the windowed accuracy.
    """

    fading: float = Field(0.999, gt=0, le=1)
    window: int = Field(1000, ge=1, le=1_000_000)


NOTHING = 1e-9
"""A sum of fading weights below this is what rounding left of none."""


class Evaluator:
    """Prequential scores of one run, updated step by step, in memory of one byte a presentation.

    Args:
        config: fading factor and window.

    Attributes:
        steps, presentations: agreement of predictions with the truth.
        hits: a byte a presentation, in order: 1 where it was right.
    """

    def __init__(self, config: EvaluationConfig | None = None) -> None:
        self.config = config or EvaluationConfig()
        self.steps = Score()
        self.presentations = Score()
        self.hits = bytearray()
        self._scored = 0  # timesteps, also those that no longer count
        self._early: dict[int, tuple[int, int]] = {}  # mark → right, of how many
        self._faded_hits = 0.0
        self._faded_n = 0.0
        self._recent = RecentSteps(self.config.window)
        self._seen: dict[int, int] = {}
        self._previous: int | None = None
        self._no_change_hits = 0
        self._majority_hits = 0

    def add_step(self, score: PresentationScore, predicted: int, softmax: npt.NDArray[np.float64]) -> None:
        """Score one prediction made before any label of its presentation was used.

        Args:
            score: what was scored of its presentation before.
            predicted: the predicted label.
            softmax: [classes] probabilities.
        """
        score.add(self._scored, predicted, softmax, self.config.fading)
        self._scored += 1
        self.steps.add(score.truth, predicted)
        hit = score.truth == predicted
        self._faded_hits = self._faded_hits * self.config.fading + hit
        self._faded_n = self._faded_n * self.config.fading + 1
        self._recent.add(score.number, predicted, hit)

    def close(self, score: PresentationScore) -> None:
        """A presentation is over: count its prediction, where one of its steps was scored; once."""
        if not score.steps:
            return
        # The baselines are prequential too: each says what it would have said before this label was known.
        majority = max(self._seen, key=lambda k: (self._seen[k], -k)) if self._seen else None
        score.verdict = Verdict(len(self.hits), score.predicted, self._previous, majority)
        score.steps = 0
        self.hits.append(False)
        self._count(score.verdict, score.truth, +1)
        self._previous = score.truth

    def _count(self, verdict: Verdict, truth: int, by: int) -> None:
        """Count a presentation with this label, or (``by`` -1) no longer."""
        self.presentations.add(truth, verdict.predicted, by)
        self.hits[verdict.place] = verdict.predicted == truth
        self._no_change_hits += by * (verdict.no_change == truth)
        self._majority_hits += by * (verdict.majority == truth)
        self._seen[truth] = self._seen.get(truth, 0) + by
        if not self._seen[truth]:
            del self._seen[truth]

    def reach(self, score: PresentationScore, since: float) -> None:
        """A presentation, all of which was scored so far, goes on for longer than ``since`` µs: note what was said."""
        for mark in score.pass_marks(since):
            if score.steps:
                score.early.append((mark, score.predicted))
                self._count_early(mark, score.predicted, score.truth, +1)

    def _count_early(self, mark: int, predicted: int, truth: int, by: int) -> None:
        hits, n = self._early.get(mark, (0, 0))
        self._early[mark] = hits + by * (predicted == truth), n + by

    def correct(self, score: PresentationScore, truth: int) -> None:
        """The label of a presentation was wrong: count with another one what was scored of it, and nothing more.

        What the baselines said of later presentations, they said with the wrong one.
        """
        wrong, score.truth = score.truth, truth
        for predicted, count in score.said.items():
            self.steps.add(wrong, predicted, -count)
            self.steps.add(truth, predicted, count)
        faded = score.faded.get(truth, 0.0) - score.faded.get(wrong, 0.0)
        self._faded_hits += faded * self.config.fading ** (self._scored - 1 - score.latest)
        self._recent.correct(score.number, truth)
        for mark, predicted in score.early:
            self._count_early(mark, predicted, wrong, -1)
            self._count_early(mark, predicted, truth, +1)
        if score.verdict is not None:
            self._count(score.verdict, wrong, -1)
            self._count(score.verdict, truth, +1)
            if score.verdict.place == len(self.hits) - 1:
                self._previous = truth

    def retract(self, score: PresentationScore, others: Iterable[PresentationScore]) -> None:
        """The label of a presentation was wrong and the right one is not known: nothing of it counts any more.

        What the baselines said of later presentations, they said with the wrong one.

        Args:
            score: what was scored of it.
            others: those of presentations that may still be corrected.
        """
        for predicted, count in score.said.items():
            self.steps.add(score.truth, predicted, -count)
        faded = self.config.fading ** (self._scored - 1 - score.latest)
        self._faded_hits -= score.faded.get(score.truth, 0.0) * faded
        self._faded_n -= sum(score.faded.values()) * faded
        self._recent.retract(score.number)
        if self._faded_n < NOTHING:
            self._faded_hits = self._faded_n = 0.0
        for mark, predicted in score.early:
            self._count_early(mark, predicted, score.truth, -1)
        verdict = score.verdict
        if verdict is not None:
            self._count(verdict, score.truth, -1)
            if verdict.place == len(self.hits) - 1:
                self._previous = verdict.no_change
            del self.hits[verdict.place]
            for other in others:
                if other.verdict is not None and other.verdict.place > verdict.place:
                    other.verdict = other.verdict._replace(place=other.verdict.place - 1)

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
            "second_half": half.count(1) / len(half) if half else None,
            "steps": self.steps.accuracy,
            "faded": self._faded_hits / self._faded_n if self._faded_n else None,
            "windowed": self._recent.accuracy,
            "kappa": self.presentations.kappa,
            "kappa_t": kappa_t,
            "majority": self._majority_hits / n if n else None,
            "no_change": no_change,
        }

    def since_change(self) -> list[dict[str, Any]]:
        """One row for each time since a presentation's start that was reached: ``after_s``; the ``presentations`` that
        were still scored by then; ``accuracy``, the share of which was right by what had been seen of it so far."""
        return [
            {"after_s": mark / 1e6, "presentations": n, "accuracy": hits / n}
            for mark, (hits, n) in sorted(self._early.items())
            if n
        ]

    def per_class(self) -> list[dict[str, Any]]:
        """One row a class: label; presentations of it, predicted as it, and both; recall and precision, or None."""
        support, predicted, correct = self.presentations.margins()
        rows: list[dict[str, Any]] = []
        for label in sorted(support.keys() | predicted.keys()):
            n_support, n_predicted, n = support.get(label, 0), predicted.get(label, 0), correct.get(label, 0)
            rows.append(
                {
                    "label": label,
                    "support": n_support,
                    "predicted": n_predicted,
                    "correct": n,
                    "recall": n / n_support if n_support else None,
                    "precision": n / n_predicted if n_predicted else None,
                }
            )
        return rows

    def state_dict(self) -> State:
        """All that was counted."""
        return {
            "steps": self.steps.rows(),
            "scored": self._scored,
            "presentations": self.presentations.rows(),
            "hits": np.frombuffer(bytes(self.hits), np.uint8).copy(),
            "faded": [self._faded_hits, self._faded_n],
            **under("recent", self._recent.state_dict()),
            "seen": sorted(self._seen.items()),
            "previous": self._previous,
            "early": [(mark, *counts) for mark, counts in sorted(self._early.items())],
            "baselines": [self._no_change_hits, self._majority_hits],
        }

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.steps = Score.of(take(state, "steps"))
        self._scored = take(state, "scored")
        self.presentations = Score.of(take(state, "presentations"))
        self.hits = bytearray(take(state, "hits").tobytes())
        self._faded_hits, self._faded_n = take(state, "faded")
        self._recent.load_state_dict(part(state, "recent"))
        self._seen = dict(take(state, "seen"))
        self._previous = take(state, "previous")
        self._early = {mark: (hits, n) for mark, hits, n in take(state, "early")}
        self._no_change_hits, self._majority_hits = take(state, "baselines")
