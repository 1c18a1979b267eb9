"""What learning one block of classes does to the others: figures of an accuracy matrix.

R[i][j] is the accuracy on block j after block i was learned, of T blocks, counted from 1 below.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Matrix = Sequence[Sequence[float]]
"""[i][j], as above."""


def transfer_figures(matrix: Matrix, untrained: Sequence[float], anytime: Sequence[Matrix]) -> dict[str, Any]:
    """All figures below.

    Args:
        matrix: R.
        untrained: accuracy on each block before anything was learned.
        anytime: by block, the accuracies on all blocks at each of its evaluations, the last at its end.

    Returns:
        Figure → value; those of one block alone are None where they compare two.
    """
    seen = [_mean(row[: i + 1]) for i, row in enumerate(matrix)]
    whole = [_mean(row) for row in matrix]
    any_seen = [_mean(row[: i + 1]) for i, rows in enumerate(anytime) for row in rows]
    any_all = [_mean(row) for rows in anytime for row in rows]
    return {
        "accuracy_seen": seen,
        "accuracy_all": whole,
        "accuracy_seen_average": _mean(seen),
        "accuracy_all_average": _mean(whole),
        "anytime_seen": any_seen,
        "anytime_all": any_all,
        "anytime_seen_average": _mean(any_seen),
        "anytime_all_average": _mean(any_all),
        "forgetting": forgetting(matrix),
        "backward_transfer": backward_transfer(matrix),
        "forward_transfer": forward_transfer(matrix, untrained),
        "backward_transfer_all": backward_transfer_all(matrix),
        "forward_transfer_all": forward_transfer_all(matrix),
    }


def forgetting(matrix: Matrix) -> float | None:
    """1/(T-1) Σ_{j<T} (max_{j≤i<T} R[i][j] - R[T][j]): best ever, less the end (Chaudhry et al. 2018)."""
    last = len(matrix) - 1
    if last < 1:
        return None
    return _mean([max(row[j] for row in matrix[j:last]) - matrix[last][j] for j in range(last)])


def backward_transfer(matrix: Matrix) -> float | None:
    """1/(T-1) Σ_{j<T} (R[T][j] - R[j][j]): the end, less right after it (Lopez-Paz and Ranzato 2017; Avalanche)."""
    last = len(matrix) - 1
    if last < 1:
        return None
    return _mean([matrix[last][j] - matrix[j][j] for j in range(last)])


def forward_transfer(matrix: Matrix, untrained: Sequence[float]) -> float | None:
    """1/(T-1) Σ_{j>1} (R[j-1][j] - b[j]): right before it, less before anything (Lopez-Paz and Ranzato; Avalanche)."""
    if len(matrix) < 2:
        return None
    return _mean([matrix[j - 1][j] - untrained[j] for j in range(1, len(matrix))])


def backward_transfer_all(matrix: Matrix) -> float | None:
    """2/(T(T-1)) Σ_{i>1} Σ_{j<i} (R[i][j] - R[j][j]): at every later time, not at the end alone (CapyMOA)."""
    pairs = [row[j] - matrix[j][j] for i, row in enumerate(matrix) for j in range(i)]
    return _mean(pairs) if pairs else None


def forward_transfer_all(matrix: Matrix) -> float | None:
    """2/(T(T-1)) Σ_i Σ_{j>i} R[i][j]: accuracy on what is still to come (CapyMOA)."""
    pairs = [value for i, row in enumerate(matrix) for value in row[i + 1 :]]
    return _mean(pairs) if pairs else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
