"""No damage to a recording makes more of it than one line: no traceback, no crash, no hang; `make fuzz` tries many."""

from __future__ import annotations

import os
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from source_recipes import FILES, some_events

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import split_well_formed
from stream_ottt.sources.opening import open_source

MUTANTS = int(os.environ.get("FUZZ", "15"))
"""Of each format."""
MOST_PACKETS = 10_000


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


def read(path: Path, name: str) -> None:
    source = open_source({"uri": str(path), "format": name, **FILES[name].options})
    with closing(source.excerpt()) as packets:  # type: ignore[attr-defined]
        for number, packet in enumerate(packets):
            split_well_formed(packet)
            assert number < MOST_PACKETS


@pytest.mark.timeout(3600 if MUTANTS > 100 else 60)
@pytest.mark.parametrize("name", list(FILES))
def test_a_mutant_is_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    recipe = FILES[name]
    whole = tmp_path / f"whole{recipe.suffix}"
    recipe.write(whole, some_events())
    data = np.frombuffer(whole.read_bytes(), np.uint8)
    rng = np.random.default_rng(list(name.encode()))
    path = tmp_path / f"recording{recipe.suffix}"
    for _ in range(MUTANTS):
        changed = mutant(data, rng)
        path.write_bytes(changed.tobytes())
        try:
            read(path, name)
        except (InputError, UsageError) as e:
            assert "\n" not in str(e)
        except BaseException:
            with suppress(OSError):
                (Path.cwd() / "build").mkdir(exist_ok=True)
                (Path.cwd() / "build" / f"mutant{recipe.suffix}").write_bytes(changed.tobytes())
            raise
