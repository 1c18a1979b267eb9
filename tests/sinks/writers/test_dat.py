"""What the DAT writer writes, read back by this project, expelliarmus and faery."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_ottt.errors import OutputError
from stream_ottt.events.packet import EVENT_DTYPE, EventArray, make_events
from stream_ottt.sinks.writers.dat import DatWriter
from stream_ottt.sources.opening import open_source


def write(path: Path, *packets: EventArray, size: tuple[int, int] = (640, 480)) -> None:
    with DatWriter(path, *size) as out:
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
    times=st.lists(st.integers(0, 2**32 - 1), max_size=30).map(sorted),
    cuts=st.lists(st.integers(0, 30), max_size=3),
    data=st.data(),
)
def test_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, times: list[int], cuts: list[int], data: st.DataObject
) -> None:
    n = len(times)
    side = st.lists(st.integers(0, 16383), min_size=n, max_size=n)
    p = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    events = make_events(data.draw(side), data.draw(side), np.array(times, np.int64), p)
    path = tmp_path_factory.getbasetemp() / "round.dat"
    write(path, *np.split(events, sorted(cuts)), size=(16384, 16384))
    assert (read(path) == events).all()
    (first, *_) = open_source(path).packets() if n else [None]
    assert first is None or (first.width, first.height) == (16384, 16384)


def test_writing_what_was_read_gives_the_same_file(tmp_path: Path) -> None:
    write(tmp_path / "a.dat", random_events(50_000, 10_000_000))
    events = read(tmp_path / "a.dat")
    write(tmp_path / "b.dat", *np.array_split(events, 7))
    assert (tmp_path / "a.dat").read_bytes() == (tmp_path / "b.dat").read_bytes()


@pytest.mark.parametrize("start", [0, 0x25, 2**31])
def test_others_read_the_same_events(tmp_path: Path, start: int) -> None:
    import faery

    Wizard = pytest.importorskip("expelliarmus").Wizard

    events = random_events(20_000, 500_000)
    events["t"] += start - events["t"][0]
    path = tmp_path / "a.dat"
    write(path, events)
    theirs = Wizard("dat").read(path)
    for key in "xytp":
        assert (theirs[key] == events[key]).all()
    packets = faery.events_stream_from_file(path)
    assert packets.dimensions() == (640, 480)
    theirs = np.concatenate(list(packets))
    for key, name in (("x", "x"), ("y", "y"), ("t", "t"), ("p", "on")):
        assert (theirs[name] == events[key]).all()


@pytest.mark.parametrize(
    ("event", "limit"),
    [((16384, 0, 0, 1), "x from 0 to 16383, not 16384"), ((0, 16384, 0, 1), "y from 0 to 16383"),
     ((-1, 0, 0, 1), "not -1"), ((0, 0, 2**32, 1), "t from 0 to 4294967295"), ((0, 0, -1, 0), "not -1")],
)  # fmt: skip
def test_what_does_not_fit_is_refused(tmp_path: Path, event: tuple[int, ...], limit: str) -> None:
    with DatWriter(tmp_path / "a.dat", 640, 480) as out, pytest.raises(OutputError, match=limit):
        out.write(np.array([(1, 1, 0, True), event], EVENT_DTYPE))


def test_sensor_too_large_and_folder_missing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="16384x16384"):
        DatWriter(tmp_path / "a.dat", 16385, 480)
    assert not (tmp_path / "a.dat").exists()
    with pytest.raises(OutputError):
        DatWriter(tmp_path / "none" / "a.dat", 640, 480)
