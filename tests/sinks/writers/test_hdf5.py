"""HDF5 in DSEC's layout, as DSEC's own tools look into it: by milliseconds, from ``t_offset`` on."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from stream_ottt.errors import OutputError
from stream_ottt.events.packet import EventArray, make_events
from stream_ottt.sinks.writers.hdf5 import MAX_MS, Hdf5Writer


def write(path: Path, *packets: EventArray) -> None:
    with Hdf5Writer(path, 640, 480) as out:
        for packet in packets:
            out.write(packet)


@pytest.mark.parametrize("pieces", [1, 7, 500])
@pytest.mark.parametrize("start", [0, 999, 1_589_163_147_368_868])
def test_the_index_of_milliseconds(tmp_path: Path, pieces: int, start: int) -> None:
    rng = np.random.default_rng(pieces)
    t = start + np.cumsum(rng.choice([0, 1, 300, 2500], 500))
    events = make_events(rng.integers(0, 640, 500), rng.integers(0, 480, 500), t, rng.random(500) < 0.5)
    write(tmp_path / "a.h5", *np.array_split(events, pieces))
    with h5py.File(tmp_path / "a.h5") as file:
        relative = file["events/t"][:]
        assert int(file["t_offset"][()]) == t[0] and np.array_equal(relative, t - t[0])
        for name in "xyp":
            assert np.array_equal(file[f"events/{name}"][:], events[name])
        index = file["ms_to_idx"][:]
        # DSEC: t[ms_to_idx[ms]] ≥ ms · 1000, and t[ms_to_idx[ms] − 1] < ms · 1000.
        assert len(index) == relative[-1] // 1000 + 1
        assert index.tolist() == [int(np.count_nonzero(relative < ms * 1000)) for ms in range(len(index))]


def test_no_events_and_a_pause_beyond_the_index(tmp_path: Path) -> None:
    write(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        assert len(file["events/t"]) == 0 and int(file["t_offset"][()]) == 0
    with (
        Hdf5Writer(tmp_path / "b.h5", 640, 480) as out,
        pytest.raises(OutputError, match="spans 100000 s, not 100000 s"),
    ):
        out.write(make_events([1, 1], [1, 1], [5, 5 + MAX_MS * 1000], [True, True]))
