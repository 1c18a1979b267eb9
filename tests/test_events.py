"""Packing, joining and checking events."""

from __future__ import annotations

import numpy as np
import pytest

from stream_ottt.events.packet import (
    EVENT_DTYPE,
    LAST_US,
    EventPacket,
    Ledger,
    join_events,
    make_events,
    split_well_formed,
)


def some_events(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return make_events(
        rng.integers(0, 9, n), rng.integers(0, 7, n), np.sort(rng.integers(0, 99, n)), rng.random(n) < 0.5
    )


def test_coordinates_beyond_16_bits_do_not_wrap_into_the_sensor() -> None:
    events = make_events(
        np.array([65537, 32768, 32767, -1]), np.array([0, 40000, 5, 5], "<u2"), np.arange(4), np.ones(4)
    )
    assert events["x"].tolist() == [-1, -1, 32767, -1]
    assert events["y"].tolist() == [0, -1, 5, 5]
    assert events["p"].all() and events.dtype == EVENT_DTYPE


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", ">u2", ">i8", "f4", "f8"])
def test_columns_of_every_type(dtype: str) -> None:
    """What fits is kept and what does not becomes -1, as in a loop of Python's own numbers."""
    kind = np.dtype(dtype)
    edges = [-(2**63), -(2**31), -32769, -32768, -1, 0, 1, 255, 32767, 32768, 65535, 65536, 2**32, 2**63 - 1, 2**64 - 1]
    if kind.kind == "f":
        column = np.array([*edges, np.nan, np.inf, -np.inf], kind)
        expected = [int(v) if 0 <= v < 2**15 else -1 for v in column]
    else:
        low, high = np.iinfo(kind).min, np.iinfo(kind).max
        column = np.array([v for v in edges if low <= v <= high], kind)
        expected = [int(v) if 0 <= v < 2**15 else -1 for v in column]
    events = make_events(column, column, np.arange(len(column)), np.zeros(len(column)))
    # Negative columns that fit 16 bits stay what they are: they are malformed, too.
    found = [v if v >= 0 else -1 for v in events["x"].tolist()]
    assert found == expected and events["x"].tolist() == events["y"].tolist()


@pytest.mark.parametrize("lengths", [[3], [0, 3, 5], [1] * 20, [0, 0]])
def test_joining_is_concatenating(lengths: list[int]) -> None:
    pieces = [some_events(n, seed) for seed, n in enumerate(lengths)]
    joined = join_events(pieces)
    assert joined.dtype == EVENT_DTYPE and np.array_equal(joined, np.concatenate(pieces))
    assert not any(np.shares_memory(joined, piece) for piece in pieces)


@pytest.mark.parametrize(
    ("field", "value"),
    [("x", -1), ("x", 9), ("y", -5), ("y", 7), ("t", -1), ("x", 32767), ("t", -(2**63)), ("t", LAST_US)],
)
def test_what_lies_outside_is_split_off_wherever_it_is(field: str, value: int) -> None:
    for i in (0, 5, 9):
        events = some_events(10)
        events[field][i] = value
        good, malformed = split_well_formed(EventPacket(events, 9, 7))
        assert malformed == 1 and np.array_equal(good, np.delete(events, i))


def test_what_is_well_formed_is_not_copied() -> None:
    events = some_events(10)
    for known in (False, True):
        good, malformed = split_well_formed(EventPacket(events, 9, 7, known))
        assert good is events and not malformed
    assert len(split_well_formed(EventPacket(events[:0], 9, 7))[0]) == 0


def test_what_its_maker_has_checked_is_not_checked_again() -> None:
    assert split_well_formed(EventPacket(some_events(10), 1, 1, well_formed=True))[1] == 0


def test_the_ledger_adds_up() -> None:
    ledger = Ledger(read=10, binned=4, late=1, malformed=2)
    ledger.drop("overflow", 2)
    ledger.drop("overflow", 1)
    ledger.drop("cropped", 0)
    assert ledger.dropped == {"overflow": 3} and ledger.accounted == ledger.read
