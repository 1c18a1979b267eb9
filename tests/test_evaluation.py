"""The evaluator against its definitions, spelt out with plain loops over the list of outcomes."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_ottt.errors import UsageError
from stream_ottt.labels.evaluation import EvaluationConfig, Evaluator
from stream_ottt.labels.presentation_score import PresentationScore
from stream_ottt.labels.score import Score
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.learning.presentation import Presentation

CLASSES = [2, 5, 7, 11]  # positions and labels differ, so that mixing them up shows


def one_hot(label: int, height: float = 1.0) -> np.ndarray:
    out = np.zeros(len(CLASSES))
    out[CLASSES.index(label)] = height
    return out


def kappa_by_definition(pairs: list[tuple[int, int]]) -> float | None:
    if not pairs:
        return None
    n = len(pairs)
    agree = sum(1 for a, b in pairs if a == b) / n
    chance = 0.0
    for k in CLASSES:
        chance += (sum(1 for a, _ in pairs if a == k) / n) * (sum(1 for _, b in pairs if b == k) / n)
    return None if chance > 1 - 1e-12 else (agree - chance) / (1 - chance)


def share(hits: list[bool]) -> float | None:
    return sum(hits) / len(hits) if hits else None


pairs_of_labels = st.lists(st.tuples(st.sampled_from(CLASSES), st.sampled_from(CLASSES)), max_size=40)


@settings(max_examples=60, deadline=None)
@given(pairs=pairs_of_labels)
def test_presentation_scores_follow_their_definitions(pairs: list[tuple[int, int]]) -> None:
    evaluator = Evaluator()
    for truth, predicted in pairs:
        score = PresentationScore(truth, CLASSES)
        evaluator.add_step(score, predicted, one_hot(predicted))
        evaluator.close(score)
    scores = evaluator.accuracy()

    hits = [a == b for a, b in pairs]
    assert evaluator.presentations.table == Counter(pairs)
    assert scores["presentations"] == share(hits)
    assert scores["second_half"] == share(hits[len(hits) // 2 :])
    assert scores["kappa"] == pytest.approx(kappa_by_definition(pairs))

    majority, no_change = [], []
    for i, (truth, _) in enumerate(pairs):
        before = [a for a, _ in pairs[:i]]
        no_change.append(bool(before) and before[-1] == truth)
        most = max((before.count(k) for k in CLASSES), default=0)
        # The smallest label wins a tie.
        majority.append(bool(before) and next(k for k in CLASSES if before.count(k) == most) == truth)
    assert scores["majority"] == share(majority)
    assert scores["no_change"] == share(no_change)
    p_e = share(no_change)
    if p_e is None or p_e == 1:
        assert scores["kappa_t"] is None
    else:
        assert scores["kappa_t"] == pytest.approx((sum(hits) / len(hits) - p_e) / (1 - p_e))

    rows = {row["label"]: row for row in evaluator.per_class()}
    assert list(rows) == sorted({k for pair in pairs for k in pair})
    for k, row in rows.items():
        assert row["support"] == sum(a == k for a, _ in pairs)
        assert row["predicted"] == sum(b == k for _, b in pairs)
        assert row["correct"] == sum(a == b == k for a, b in pairs)
        assert row["recall"] == (row["correct"] / row["support"] if row["support"] else None)
        assert row["precision"] == (row["correct"] / row["predicted"] if row["predicted"] else None)


@settings(max_examples=60, deadline=None)
@given(pairs=pairs_of_labels, fading=st.floats(0.5, 1.0), window=st.integers(1, 50))
def test_step_scores_follow_their_definitions(pairs: list[tuple[int, int]], fading: float, window: int) -> None:
    evaluator = Evaluator(EvaluationConfig(fading=fading, window=window))
    for truth, predicted in pairs:
        evaluator.add_step(PresentationScore(truth, CLASSES), predicted, one_hot(predicted))
    scores = evaluator.accuracy()

    hits = [a == b for a, b in pairs]
    n = len(hits)
    weights = [fading ** (n - 1 - i) for i in range(n)]
    assert scores["steps"] == share(hits)
    assert scores["windowed"] == share(hits[-window:])
    faded = sum(w * h for w, h in zip(weights, hits, strict=True)) / sum(weights) if n else None
    assert scores["faded"] == pytest.approx(faded)


def test_a_presentation_says_the_class_of_largest_mean_softmax_not_the_most_frequent() -> None:
    evaluator = Evaluator()
    first, second, unscored = (PresentationScore(truth, CLASSES) for truth in (7, 5, 2))
    for predicted, height in ((2, 0.4), (2, 0.4), (7, 0.9)):
        evaluator.add_step(first, predicted, one_hot(predicted, height))
    assert evaluator.presentations.table == {}
    evaluator.add_step(second, 5, one_hot(5))  # two can be open at once
    for score in (first, second, unscored, first):  # without a scored step, or a second time, it counts nothing
        evaluator.close(score)
    assert evaluator.presentations.table == {(7, 7): 1, (5, 5): 1}
    assert evaluator.accuracy()["steps"] == 0.5


@pytest.mark.parametrize(("corrected", "said"), [(0, 5), (1, 7)])
def test_the_no_change_baseline_says_the_label_before_as_it_was_corrected(corrected: int, said: int) -> None:
    evaluator = Evaluator()
    first, second, third = (PresentationScore(truth, CLASSES) for truth in (2, 5, 11))
    for score in (first, second):
        evaluator.add_step(score, 2, one_hot(2))
        evaluator.close(score)
    evaluator.correct((first, second)[corrected], 7)
    evaluator.add_step(third, 2, one_hot(2))
    evaluator.close(third)
    assert third.verdict is not None and third.verdict.no_change == said


def test_nothing_scored_is_none_everywhere() -> None:
    evaluator = Evaluator()
    assert set(evaluator.accuracy().values()) == {None}
    assert evaluator.per_class() == []
    assert Score().kappa is None


def test_kappa_of_known_tables() -> None:
    # Observed agreement 35/50 = 0.7, by chance 0.5·0.6 + 0.5·0.4 = 0.5.
    score = Score({(0, 0): 20, (0, 1): 5, (1, 0): 10, (1, 1): 15})
    assert score.n == 50
    assert score.kappa == pytest.approx(0.4)
    assert Score({(3, 3): 9}).kappa is None
    assert Score({(0, 1): 4, (1, 0): 4}).kappa == -1.0


def test_many_classes_cost_one_pass_over_the_table() -> None:
    table = {(a, b): 1 for a in range(300) for b in range(300)}
    score = Score(table)
    assert score.kappa == pytest.approx(0, abs=1e-12)
    support, predicted, correct = score.margins()
    assert set(support.values()) == set(predicted.values()) == {300}
    assert set(correct.values()) == {1}


@pytest.mark.parametrize(
    "values", [{"fading": 0}, {"fading": 1.1}, {"fading": -1}, {"window": 0}, {"window": -5}, {"window": 10**20}]
)
def test_settings_that_cannot_forget_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(values))):
        EvaluationConfig.load(values, where="evaluation")


def test_accuracy_by_the_time_since_the_change() -> None:
    """By what was said of the timesteps before each mark, while all were tests; a corrected label counts anew."""
    right, late, short = ([LabelInterval(0, 600_000, label)] for label in (1, 1, 1))
    said = {"right": [2] * 4 + [1] * 26, "late": [1] * 30, "short": [2] * 8}
    evaluator = Evaluator()
    made = []
    for name, (interval,) in zip(said, (right, late, short), strict=True):
        shown = Presentation(interval, [1, 2], len(made))
        for i, predicted in enumerate(said[name]):
            if name == "late" and i == 10:
                shown.use_label()
            softmax = np.array([0.9, 0.1] if predicted == 1 else [0.1, 0.9])
            assert shown.test(evaluator, predicted, softmax, 20_000 * i + 10_000) == (name != "late" or i < 10)
        shown.reach(evaluator, 20_000 * len(said[name]))
        made.append(shown)
    rows = [(row["after_s"], row["presentations"], row["accuracy"]) for row in evaluator.since_change()]
    # late: known at 0.2 s; short: ends at 0.16 s. right: 4 of 5 wrong at 0.1 s, 8 of 12 right at 0.25 s.
    assert rows == [(0.1, 3, 1 / 3), (0.25, 1, 1.0), (0.5, 1, 1.0)]
    evaluator.correct(made[2].score, 2)
    assert evaluator.since_change()[0]["accuracy"] == 2 / 3


def test_a_presentation_without_end_takes_the_same_memory() -> None:
    """Its label can be corrected all the same: every figure is that of an evaluator that was told the right one."""
    fading, window = 0.99, 50
    wrong, right = (Evaluator(EvaluationConfig(fading=fading, window=window)) for _ in range(2))
    rng = np.random.default_rng(0)
    told = {truth: PresentationScore(truth, CLASSES) for truth in (5, 7)}
    other = [PresentationScore(2, CLASSES) for _ in range(2)]
    sizes = []
    for i in range(3000):
        predicted = int(rng.choice(CLASSES))
        wrong.add_step(told[5], predicted, one_hot(predicted))
        right.add_step(told[7], predicted, one_hot(predicted))
        if i % 7 == 0:  # a late label of another presentation is scored in between
            for evaluator, score in zip((wrong, right), other, strict=True):
                evaluator.add_step(score, 2, one_hot(2))
        if i in (300, 2999):
            sizes.append(len(json.dumps(told[5].state_dict(), default=list)))
    assert sizes[1] < 1.2 * sizes[0]  # numbers get more digits
    assert wrong.accuracy() != right.accuracy()
    wrong.correct(told[5], 7)
    for evaluator, score in ((wrong, told[5]), (right, told[7])):
        evaluator.close(score)
    one, two = wrong.accuracy(), right.accuracy()
    assert one.pop("faded") == pytest.approx(two.pop("faded"))
    assert one == two and wrong.steps == right.steps and wrong.per_class() == right.per_class()


def test_the_window_goes_on_from_its_state() -> None:
    config = EvaluationConfig(window=7)
    evaluator = Evaluator(config)
    score = PresentationScore(5, CLASSES)
    for i in range(20):
        other = Evaluator(config)
        other.load_state_dict(evaluator.state_dict())
        for each in (evaluator, other):
            again = PresentationScore(5, CLASSES)
            again.load_state_dict(score.state_dict())
            each.add_step(again, CLASSES[i % 3], one_hot(2))
        score = again
        assert other.accuracy() == evaluator.accuracy()
        assert evaluator.accuracy()["windowed"] == share([CLASSES[k % 3] == 5 for k in range(i + 1)][-7:])
