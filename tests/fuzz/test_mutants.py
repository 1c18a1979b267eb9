"""No damage to an input makes more of it than one line: no traceback, no crash, no hang; `make fuzz` tries many."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from fuzz.targets import TARGETS, refuses

MUTANTS = int(os.environ.get("FUZZ", "15"))
"""Of each target."""


def mutant(data: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """A few bytes changed, cut out, doubled or put in; or the end cut off."""
    data = data.copy()
    for _ in range(int(rng.integers(1, 5))):
        at, n = int(rng.integers(len(data) + 1)), int(rng.integers(1, 33))
        kind = int(rng.integers(6))
        if kind == 0:
            data[at : at + n] ^= rng.integers(0, 256, len(data[at : at + n]), np.uint8)
        elif kind == 1:
            data[at : at + 1] ^= np.uint8(1 << int(rng.integers(8)))
        elif kind == 2:
            data[at : at + n] = rng.choice(np.array([0, 0x7F, 0x80, 0xFF], np.uint8))
        elif kind == 3:
            data = np.concatenate([data[:at], data[at + n :]])
        elif kind == 4:
            data = np.concatenate([data[:at], data[at : at + n], data[at:]])
        else:
            data = data[:at]
    return data


@pytest.mark.timeout(3600 if MUTANTS > 100 else 60)
@pytest.mark.parametrize("name", list(TARGETS))
def test_a_mutant_is_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    seeds = TARGETS[name].seeds(tmp_path)
    rng = np.random.default_rng(list(name.encode()))
    with TARGETS[name].reader(tmp_path) as read:
        for number in range(MUTANTS):
            changed = mutant(np.frombuffer(seeds[number % len(seeds)], np.uint8), rng).tobytes()
            try:
                refuses(read, changed)
            except BaseException:
                with suppress(OSError):
                    (Path.cwd() / "build").mkdir(exist_ok=True)
                    (Path.cwd() / "build" / f"mutant-{name}").write_bytes(changed)
                raise


@pytest.mark.parametrize("name", list(TARGETS))
def test_what_fuzzing_begins_with_is_read(name: str, tmp_path: Path) -> None:
    """Refused seeds would be mutated without ever coming past the first line of a reader."""
    seeds = TARGETS[name].seeds(tmp_path)
    with TARGETS[name].reader(tmp_path) as read:
        refused = [number for number, seed in enumerate(seeds) if refuses(read, seed)]
    assert len(refused) < len(seeds) and (name in ("commands", "unknown") or not refused)


@pytest.mark.parametrize("name", list(TARGETS))
def test_what_fuzzing_found_is_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    with TARGETS[name].reader(tmp_path) as read:
        for data in TARGETS[name].inputs(name, tmp_path):
            refuses(read, data)
