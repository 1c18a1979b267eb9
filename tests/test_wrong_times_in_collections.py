"""Wrong times in one recording of several: they cost their own events, and move neither the others nor the labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stream_ottt.errors import InputError
from stream_ottt.events.clock import Clock
from stream_ottt.events.packet import EventPacket, make_events
from stream_ottt.pipeline.excerpt import from_its_first
from stream_ottt.pipeline.source import BlockingSource
from stream_ottt.sources.opening import open_source

N = 400
T = np.arange(N) * 25
START = 1_600_000_000_000_000


def with_wrong(at: slice, t: int, times: np.ndarray = T) -> np.ndarray:
    out = times.copy()
    out[at] = t
    return out


def flipped(at: int, times: np.ndarray = T) -> np.ndarray:
    return with_wrong(slice(at, at + 1), int(times[at]) | 1 << 40, times)


CASES = {
    "left over from the last session": (with_wrong(slice(5), 50_000_000), slice(5)),
    "no time yet": (with_wrong(slice(1), 0, START + T), slice(1)),
    "a bit flipped in the first": (flipped(0), slice(1)),
    "a bit flipped": (flipped(200), slice(200, 201)),
    "a bit flipped in the last": (flipped(N - 1), slice(N - 1, N)),
}
"""Times of a recording, and which of them are wrong."""


def record(path: Path, times: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{t},{i % 8},{i // 8 % 8},{i % 2}" for i, t in enumerate(times.tolist())]
    path.write_text("\n".join(["t,x@8,y@8,on", *rows, ""]))


def right_times(source: BlockingSource) -> list[int]:
    """Times of the events that a run takes, as it takes them."""
    clock, found = Clock(source.config.tolerance), []
    for packet in source.excerpt():
        found += clock.feed(packet.events)["t"].tolist()
    return found + clock.flush(ended=True)["t"].tolist()


def opened(uri: str) -> BlockingSource:
    source = open_source(uri)
    assert isinstance(source, BlockingSource)
    return source


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("labelled", [False, True])
def test_a_sample_keeps_its_place_and_its_labels(name: str, labelled: bool, tmp_path: Path) -> None:
    times, wrong = CASES[name]
    if labelled:
        record(tmp_path / "a.csv", times)
        record(tmp_path / "b.csv", T)
        begin = START if "yet" in name else 0
        for stem, at in (("a", begin), ("b", 0)):
            rows = f"class,startTime_usec,endTime_usec\n0,{at},{at + 5000}\n1,{at + 5000},{at + 10_000}\n"
            (tmp_path / f"{stem}_labels.csv").write_text(rows)
    else:
        record(tmp_path / "cat" / "a.csv", times)
        record(tmp_path / "dog" / "b.csv", T)
    source = opened(str(tmp_path))
    right = np.delete(T, wrong)
    length = int(right[-1] - right[0]) + 1
    assert right_times(source) == [*(right - right[0]).tolist(), *(T + length).tolist()]
    assert source.labels is not None
    spans = [(i.t_start, i.t_end) for i in source.labels]
    if labelled:
        middle = 5000 - int(right[0])
        assert spans == [(0, middle), (middle, length), (length, length + 5000), (length + 5000, length + N * 25 - 24)]
    else:
        assert spans == [(0, length), (length, length + N * 25 - 24)]


@pytest.mark.parametrize("at", [0, 200, N - 1])
@pytest.mark.parametrize("wrong", [0, START + (1 << 40)])
@pytest.mark.parametrize("piece", [0, 1])
def test_a_piece_of_a_session_moves_no_other(at: int, wrong: int, piece: int, tmp_path: Path) -> None:
    whole = START + np.arange(3 * N) * 25
    times = whole.copy()
    times[piece * N + at] = wrong
    for i, t in enumerate(np.split(times, 3)):
        record(tmp_path / f"rec_{i}.csv", t)
    assert right_times(opened(f"{tmp_path}?join=true")) == np.delete(whole, piece * N + at).tolist()


def test_what_comes_before_damage_is_kept_where_the_first_event_is_looked_for() -> None:
    good = EventPacket(make_events([1, 2], [0, 0], [5, 6], [0, 1]), 8, 8)

    def packets():
        yield good
        raise InputError("cut off")

    first, found = from_its_first(packets(), 0)
    assert first == 5 and next(found) is good
    with pytest.raises(InputError, match="cut off"):
        next(found)
