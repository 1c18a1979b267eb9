"""Recordings whose end was never written: what comes before is read, and the zeros are no events."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reading import drain

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EventArray, make_events
from stream_ottt.sinks.writers import WRITERS
from stream_ottt.sources.zero_tail import ZEROS, written_bytes

N = 1000
EVENTS = make_events(np.arange(N) % 34, np.arange(N) % 34, 5_000_000 + np.arange(N) * 10, np.arange(N) % 2)


def aedat2(path: Path) -> None:
    words = np.empty((N, 2), ">u4")
    words[:, 0] = (127 - EVENTS["y"]).astype(int) << 8 | (127 - EVENTS["x"]).astype(int) << 1 | ~EVENTS["p"]
    words[:, 1] = EVENTS["t"]
    path.write_bytes(b"#!AER-DAT2.0\r\n" + words.tobytes())


def nmnist(path: Path) -> None:
    t = EVENTS["t"] - 4_999_000
    columns = EVENTS["x"], EVENTS["y"], EVENTS["p"].astype(int) << 7 | t >> 16, t >> 8 & 255, t & 255
    path.write_bytes(np.stack(columns, axis=1).astype("u1").tobytes())


def written(kind: str, path: Path) -> None:
    if kind == "aedat2":
        aedat2(path)
    elif kind == "nmnist":
        nmnist(path)
    else:
        with WRITERS.get(kind)(path, 34, 34) as writer:
            writer.write(EVENTS)


@pytest.mark.parametrize("kind", ["es", "evt2", "evt3", "dat", "aedat2", "nmnist"])
def test_zeros_at_the_end_are_no_events(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    written(kind, path)
    whole, error = drain(path)
    assert len(whole) == N and error is None
    data = path.read_bytes()
    for zeros in (ZEROS, ZEROS + 3, 3 * ZEROS + 1):
        path.write_bytes(data + bytes(zeros))
        events, error = drain(path) if kind != "nmnist" else drain_nmnist(path)
        assert np.array_equal(events, whole)
        assert error is not None and "there are only zeros" in str(error)
        assert error.offset is not None and len(data) - 5 <= error.offset <= len(data) + 8


def drain_nmnist(path: Path) -> tuple[EventArray, InputError | None]:
    path.write_bytes(path.read_bytes() + bytes(-path.stat().st_size % 5))  # as its recognition wants
    return drain(path)


@pytest.mark.parametrize("packet", [7, 1 << 16])
def test_rows_of_zeros_at_the_end_of_a_table(tmp_path: Path, packet: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_ottt.sources.tables.PACKET_EVENTS", packet)
    path = tmp_path / "a.npy"
    nothing = np.zeros(1, EVENTS.dtype)
    for zeros in (1, ZEROS - 1, ZEROS, 2 * ZEROS + 5):
        np.save(path, np.concatenate([EVENTS, np.repeat(nothing, zeros)]))
        events, error = drain(path)
        assert np.array_equal(events[:N], EVENTS)
        if zeros < ZEROS:
            assert error is None and len(events) == N + zeros
        else:
            assert len(events) == N and f"from event {N} on there are only zeros" in str(error)
    np.save(path, np.concatenate([EVENTS, np.repeat(nothing, 2 * ZEROS), EVENTS[:1]]))  # not at the end
    events, error = drain(path)
    assert error is None and len(events) == N + 2 * ZEROS + 1


@pytest.mark.parametrize("size", [0, 1, ZEROS - 1, ZEROS, (1 << 20) + 3])
@pytest.mark.parametrize("zeros", [0, 1, ZEROS, (2 << 20) + 9])
def test_where_the_zeros_begin(tmp_path: Path, size: int, zeros: int) -> None:
    (tmp_path / "a").write_bytes(b"\1" * size + bytes(zeros))
    with (tmp_path / "a").open("rb") as file:
        file.seek(2)
        assert written_bytes(file) == (size if zeros >= ZEROS else size + zeros)
        assert file.tell() == 2
