"""What the EVT 2.0 writer writes, read back by this project, expelliarmus and faery."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_ottt.errors import OutputError
from stream_ottt.events.packet import EVENT_DTYPE, EventArray, make_events
from stream_ottt.sinks.writers.evt2 import Evt2Writer
from stream_ottt.sources.opening import open_source


def write(path: Path, *packets: EventArray, size: tuple[int, int] = (640, 480)) -> None:
    with Evt2Writer(path, *size) as out:
        for packet in packets:
            out.write(packet)


def read(path: Path) -> EventArray:
    packets = [p.events for p in open_source(path).packets()]
    return np.concatenate(packets) if packets else np.empty(0, EVENT_DTYPE)


def random_events(n: int, t_max: int, seed: int = 0) -> EventArray:
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, t_max, n))
    return make_events(rng.integers(0, 640, n), rng.integers(0, 480, n), t, rng.random(n) < 0.5)


@given(
    times=st.lists(st.integers(0, 2**34 - 1), max_size=30).map(sorted),
    cuts=st.lists(st.integers(0, 30), max_size=3),
    data=st.data(),
)
def test_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, times: list[int], cuts: list[int], data: st.DataObject
) -> None:
    n = len(times)
    side = st.lists(st.integers(0, 2047), min_size=n, max_size=n)
    p = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    events = make_events(data.draw(side), data.draw(side), np.array(times, np.int64), p)
    path = tmp_path_factory.getbasetemp() / "round.raw"
    write(path, *np.split(events, sorted(cuts)), size=(2048, 2048))
    assert (read(path) == events).all()
    (first, *_) = open_source(path).packets() if n else [None]
    assert first is None or (first.width, first.height) == (2048, 2048)


def test_writing_what_was_read_gives_the_same_file(tmp_path: Path) -> None:
    write(tmp_path / "a.raw", random_events(50_000, 10_000_000))
    events = read(tmp_path / "a.raw")
    write(tmp_path / "b.raw", *np.array_split(events, 7))
    assert (tmp_path / "a.raw").read_bytes() == (tmp_path / "b.raw").read_bytes()


@pytest.mark.parametrize("start", [0, 0x25 << 6, 0x125 << 6, 0x20250 << 6, 2**33])
def test_others_read_the_same_events(tmp_path: Path, start: int) -> None:
    import faery

    Wizard = pytest.importorskip("expelliarmus").Wizard

    events = random_events(20_000, 500_000)
    events["t"] += start - events["t"][0]
    path = tmp_path / "a.raw"
    write(path, events)
    theirs = Wizard("evt2").read(path)
    for key in "xytp":
        assert (theirs[key] == events[key]).all()
    packets = faery.events_stream_from_file(path)
    assert packets.dimensions() == (640, 480)
    theirs = np.concatenate(list(packets))
    for key, name in (("x", "x"), ("y", "y"), ("t", "t"), ("p", "on")):
        assert (theirs[name] == events[key]).all()


@pytest.mark.parametrize(
    ("event", "limit"),
    [((2048, 0, 0, 1), "x from 0 to 2047, not 2048"), ((0, 2048, 0, 1), "y from 0 to 2047"),
     ((-1, 0, 0, 1), "not -1"), ((0, 0, 2**34, 1), "t from 0 to 17179869183"), ((0, 0, -1, 0), "not -1")],
)  # fmt: skip
def test_what_does_not_fit_is_refused(tmp_path: Path, event: tuple[int, ...], limit: str) -> None:
    with Evt2Writer(tmp_path / "a.raw", 640, 480) as out, pytest.raises(OutputError, match=limit):
        out.write(np.array([(1, 1, 0, True), event], EVENT_DTYPE))


def test_sensor_too_large_and_folder_missing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="2048x2048"):
        Evt2Writer(tmp_path / "a.raw", 4096, 480)
    assert not (tmp_path / "a.raw").exists()
    with pytest.raises(OutputError):
        Evt2Writer(tmp_path / "none" / "a.raw", 640, 480)
