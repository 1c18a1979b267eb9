"""Integers out of lines of comma-separated text, many at a time.

numpy's own text readers take about a microsecond a number. Here eight digits at a time are read as one 64-bit
word and joined in parallel within it (tens, then hundreds, then ten thousands), for all numbers of a column
at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

MAX_DIGITS = 18
"""As many always fit into int64."""

WORD = 8
MARGIN = 3 * WORD
"""Zero bytes before the text, so that whole words can be read before the end of its first number."""

NEWLINE, COMMA, MINUS, ZERO, NINE = b"\n,-09"

U64 = npt.NDArray[np.uint64]


def parse(block: bytes, fields: int, wanted: list[int]) -> list[npt.NDArray[np.int64]] | None:
    """Columns of a regular block of text.

    Args:
        block: whole lines, each ended by a newline, without spaces or carriage returns.
        fields: numbers per line.
        wanted: indices of the columns to return.

    Returns:
        One array [lines] for each wanted column; None when anything but integers of at most 18 digits,
        separated by commas, is met. The caller then looks at each line.
    """
    padded = np.frombuffer(bytes(MARGIN) + block, np.uint8)
    text = padded[MARGIN:]
    if text.max(initial=0) > NINE:
        return None
    marks = np.flatnonzero(text < ZERO)
    kinds = text[marks]
    negative = None
    if b"-" in block:
        minus = kinds == MINUS
        before = padded[marks[minus] + MARGIN - 1]
        if not ((before == COMMA) | (before == NEWLINE) | (before == 0)).all():
            return None
        negative = np.zeros(len(text) + 1, np.bool_)
        negative[marks[minus]] = True
        marks, kinds = marks[~minus], kinds[~minus]
    lines = len(marks) // fields
    newlines = kinds[fields - 1 :: fields] == NEWLINE
    if len(marks) % fields or not newlines.all() or np.count_nonzero(kinds == COMMA) != len(marks) - lines:
        return None
    digits = np.diff(marks, prepend=-1) - 1
    if negative is not None:
        signed = negative[marks - digits]
        digits -= signed
    if not lines or digits.min() < 1 or digits.max() > MAX_DIGITS:
        return None
    out = []
    for k in wanted:
        column = slice(k, None, fields)
        numbers = _numbers(padded, marks[column] + MARGIN, digits[column])
        out.append(numbers if negative is None else np.where(signed[column], -numbers, numbers))
    return out


def _numbers(padded: npt.NDArray[np.uint8], ends: npt.NDArray[Any], digits: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """The numbers of ``digits`` digits that end before ``ends``."""
    longest = int(digits.max(initial=0))
    if longest == 1:
        single: npt.NDArray[np.uint8] = padded[ends - 1] - np.uint8(ZERO)
        return single.astype(np.int64)
    words: U64 = np.ndarray((len(padded) - WORD + 1,), "<u8", padded, strides=(1,))
    total = _word(words[ends - WORD], digits)
    for k in range(1, -(-longest // WORD)):
        rows = np.flatnonzero(digits > k * WORD)
        total[rows] += _word(words[ends[rows] - (k + 1) * WORD], digits[rows] - k * WORD) * np.int64(10 ** (k * WORD))
    return total


def _word(word: U64, digits: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """The number in the last ``digits`` of the eight characters in each word (all eight when there are more)."""
    foreign = ((WORD - np.minimum(digits, WORD)) * 8).astype(np.uint64)
    word = (word >> foreign << foreign) & np.uint64(0x0F0F0F0F0F0F0F0F)
    word = (word * np.uint64(10 << 8 | 1) >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)
    word = (word * np.uint64(100 << 16 | 1) >> np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)
    return (word * np.uint64(10000 << 32 | 1) >> np.uint64(32)).astype(np.int64)
