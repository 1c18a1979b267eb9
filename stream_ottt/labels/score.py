"""Agreement of predictions with the truth: accuracy, Cohen's kappa, and the table that they come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self


@dataclass(slots=True)
class Score:
    """Agreement of two label sequences, kept as a confusion table."""

    table: dict[tuple[int, int], int] = field(default_factory=dict)

    def add(self, truth: int, predicted: int, by: int = 1) -> None:
        """Count one pair, or (``by`` -1) no longer."""
        self.table[truth, predicted] = self.table.get((truth, predicted), 0) + by
        if not self.table[truth, predicted]:
            del self.table[truth, predicted]

    def rows(self) -> list[list[int]]:
        """The table as rows of truth, prediction, count."""
        return [[a, b, count] for (a, b), count in sorted(self.table.items())]

    @classmethod
    def of(cls, rows: list[list[int]]) -> Self:
        """The table that :meth:`rows` gave."""
        return cls({(a, b): count for a, b, count in rows})

    @property
    def n(self) -> int:
        """Pairs counted."""
        return sum(self.table.values())

    @property
    def accuracy(self) -> float | None:
        """Share of agreement, or None when nothing was counted."""
        return sum(c for (a, b), c in self.table.items() if a == b) / self.n if self.table else None

    def margins(self) -> tuple[dict[int, int], dict[int, int], dict[int, int]]:
        """How often each label was the truth (its support), was predicted, and was both."""
        support: dict[int, int] = {}
        predicted: dict[int, int] = {}
        correct: dict[int, int] = {}
        for (a, b), count in self.table.items():
            support[a] = support.get(a, 0) + count
            predicted[b] = predicted.get(b, 0) + count
            if a == b:
                correct[a] = count
        return support, predicted, correct

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa; None without data or when chance alone agrees always."""
        n = self.n
        if not n:
            return None
        support, predicted, _ = self.margins()
        chance = sum(count * predicted.get(label, 0) for label, count in support.items()) / (n * n)
        accuracy = self.accuracy
        assert accuracy is not None
        return None if chance == 1 else (accuracy - chance) / (1 - chance)
