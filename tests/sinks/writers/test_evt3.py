"""What the EVT 3.0 writer writes, read back by this project, the package evt3 and faery."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_ottt.errors import OutputError
from stream_ottt.events.packet import EVENT_DTYPE, EventArray, make_events
from stream_ottt.sinks.writers.evt3 import Evt3Writer
from stream_ottt.sources.opening import open_source


def write(path: Path, *packets: EventArray, size: tuple[int, int] = (640, 480)) -> None:
    with Evt3Writer(path, *size) as out:
        for packet in packets:
            out.write(packet)


def read(path: Path) -> EventArray:
    packets = [p.events for p in open_source(path).packets()]  # type: ignore[attr-defined]
    return np.concatenate([np.empty(0, EVENT_DTYPE), *packets])


def random_events(n: int, t_max: int, seed: int = 0) -> EventArray:
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, t_max, n))
    return make_events(rng.integers(0, 640, n), rng.integers(0, 480, n), t, rng.random(n) < 0.5)


@given(
    times=st.lists(st.integers(0, 2**34 - 1) | st.integers(0, 2**13), max_size=30).map(sorted),
    cuts=st.lists(st.integers(0, 30), max_size=3),
    data=st.data(),
)
def test_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, times: list[int], cuts: list[int], data: st.DataObject
) -> None:
    n = len(times)
    side = st.lists(st.integers(0, 2047) | st.integers(0, 1), min_size=n, max_size=n)
    p = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    events = make_events(data.draw(side), data.draw(side), np.array(times, np.int64), p)
    path = tmp_path_factory.getbasetemp() / "round.evt3.raw"
    write(path, *np.split(events, sorted(cuts)), size=(2048, 2048))
    assert np.array_equal(read(path), events)
    whole = path.read_bytes()
    write(path, events, size=(2048, 2048))
    assert path.read_bytes() == whole  # however it comes in packets


def test_golden_words(tmp_path: Path) -> None:
    events = make_events([5, 6, 6, 7], [9, 9, 8, 8], [2, 2, 0x1002, 0x1000000], [True, False, True, False])
    write(tmp_path / "a.raw", events)
    words = np.frombuffer((tmp_path / "a.raw").read_bytes().partition(b"% end\n")[2], "<u2").tolist()
    assert words == [
        0x8000, 0x6002, 0x0009, 0x2805, 0x2006, 0x8001, 0x6002, 0x0008, 0x2806, 0x8FFF, 0x8000, 0x8000, 0x6000, 0x2007,
    ]  # fmt: skip


BEFORE_THE_END = 2**24 - 1000
"""Of the time's 24 bits."""


@pytest.mark.parametrize("start", [0, 0x25 << 12, 0x125 << 12, BEFORE_THE_END])
def test_others_read_the_same_events(tmp_path: Path, start: int) -> None:
    import evt3
    import faery

    events = random_events(20_000, 500_000)
    events["t"] += start - events["t"][0]
    path = tmp_path / "a.raw"
    write(path, events)
    theirs = evt3.Decoder().feed(path.read_bytes().partition(b"% end\n")[2])
    for key, column in (("x", theirs.x), ("y", theirs.y), ("t", theirs.timestamp), ("p", theirs.polarity)):
        assert (column == events[key]).all()
    if start == BEFORE_THE_END:
        return  # faery takes a first time in the last of 4096 parts for one before 0
    packets = faery.events_stream_from_file(path)
    assert packets.dimensions() == (640, 480)
    columns = np.concatenate(list(packets))
    for key, name in (("x", "x"), ("y", "y"), ("t", "t"), ("p", "on")):
        assert (columns[name] == events[key]).all()


@pytest.mark.parametrize(
    ("event", "limit"),
    [((2048, 0, 0, 1), "x from 0 to 2047, not 2048"), ((0, 2048, 0, 1), "y from 0 to 2047"),
     ((-1, 0, 0, 1), "not -1"), ((0, 0, 2**34, 1), "t from 0 to 17179869183"), ((0, 0, -1, 0), "not -1")],
)  # fmt: skip
def test_what_does_not_fit_is_refused(tmp_path: Path, event: tuple[int, ...], limit: str) -> None:
    with Evt3Writer(tmp_path / "a.raw", 640, 480) as out, pytest.raises(OutputError, match=limit):
        out.write(np.array([(1, 1, 0, True), event], EVENT_DTYPE))
    with pytest.raises(OutputError, match="2048x2048"):
        Evt3Writer(tmp_path / "b.raw", 4096, 480)
    assert not (tmp_path / "b.raw").exists()
