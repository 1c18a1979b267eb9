"""What the writers of Prophesee's formats write, read back by this project and by readers of others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_ottt.errors import OutputError
from stream_ottt.events.packet import EVENT_DTYPE, EventArray, make_events
from stream_ottt.sinks.writers.dat import DatWriter
from stream_ottt.sinks.writers.evt2 import Evt2Writer
from stream_ottt.sinks.writers.evt3 import Evt3Writer
from stream_ottt.sources.opening import open_source

Columns = tuple[Any, Any, Any, Any]
"""x, y, t (µs), p."""


def by_expelliarmus(encoding: str) -> Callable[[Path], Columns]:
    def read_theirs(path: Path) -> Columns:
        theirs = pytest.importorskip("expelliarmus").Wizard(encoding).read(path)
        return theirs["x"], theirs["y"], theirs["t"], theirs["p"]

    return read_theirs


def by_evt3(path: Path) -> Columns:
    import evt3

    theirs = evt3.Decoder().feed(path.read_bytes().partition(b"% end\n")[2])
    return theirs.x, theirs.y, theirs.timestamp, theirs.polarity


@dataclass(frozen=True)
class Format:
    """One writer, and what its format holds.

    Attributes:
        writer: its class.
        name: of a file in the format.
        sides: pixels that a side may have.
        t_end: the first time that does not fit, µs.
        starts: of streams that others read, µs.
        theirs: another reader.
        faery_until: faery reads streams that begin before, µs.
    """

    writer: type[Any]
    name: str
    sides: int
    t_end: int
    starts: tuple[int, ...]
    theirs: Callable[[Path], Columns]
    faery_until: int = 2**63

    def write(self, path: Path, *packets: EventArray, size: tuple[int, int] = (640, 480)) -> None:
        with self.writer(path, *size) as out:
            for packet in packets:
                out.write(packet)


BEFORE_THE_END = 2**24 - 1000
"""Of the 24 bits of EVT3's time; faery takes a first time in the last of 4096 parts for one before 0."""

FORMATS = {
    "dat": Format(DatWriter, "a.dat", 16384, 2**32, (0, 0x25, 2**31), by_expelliarmus("dat")),
    "evt2": Format(
        Evt2Writer, "a.raw", 2048, 2**34, (0, 0x25 << 6, 0x125 << 6, 0x20250 << 6, 2**33), by_expelliarmus("evt2")
    ),
    "evt3": Format(
        Evt3Writer, "a.raw", 2048, 2**34, (0, 0x25 << 12, 0x125 << 12, BEFORE_THE_END), by_evt3, BEFORE_THE_END
    ),
}


@pytest.fixture(params=FORMATS)
def form(request: pytest.FixtureRequest) -> Format:
    return FORMATS[request.param]


def read(path: Path) -> EventArray:
    packets = [p.events for p in open_source(path).packets()]  # type: ignore[attr-defined]
    return np.concatenate([np.empty(0, EVENT_DTYPE), *packets])


def random_events(n: int, t_max: int, seed: int = 0) -> EventArray:
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, t_max, n))
    return make_events(rng.integers(0, 640, n), rng.integers(0, 480, n), t, rng.random(n) < 0.5)


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data(), cuts=st.lists(st.integers(0, 30), max_size=3))
def test_read_back_exactly_and_the_same_file_however_it_comes_in_packets(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject, cuts: list[int]
) -> None:
    form = FORMATS[name]
    times = sorted(data.draw(st.lists(st.integers(0, form.t_end - 1) | st.integers(0, 2**13), max_size=30)))
    n = len(times)
    side = st.lists(st.integers(0, form.sides - 1) | st.integers(0, 1), min_size=n, max_size=n)
    p = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    events = make_events(data.draw(side), data.draw(side), np.array(times, np.int64), p)
    path = tmp_path_factory.getbasetemp() / form.name
    size = (form.sides, form.sides)
    form.write(path, *np.split(events, sorted(cuts)), size=size)
    assert np.array_equal(read(path), events)
    assert n == 0 or {(p.width, p.height) for p in open_source(path).packets()} == {size}  # type: ignore[attr-defined]
    whole = path.read_bytes()
    form.write(path, events, size=size)
    assert path.read_bytes() == whole


def test_writing_what_was_read_gives_the_same_file(tmp_path: Path, form: Format) -> None:
    first, second = tmp_path / form.name, tmp_path / f"again.{form.name}"
    form.write(first, random_events(50_000, 10_000_000))
    form.write(second, *np.array_split(read(first), 7))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(("name", "start"), [(name, start) for name, form in FORMATS.items() for start in form.starts])
def test_others_read_the_same_events(tmp_path: Path, name: str, start: int) -> None:
    import faery

    form, events = FORMATS[name], random_events(20_000, 500_000)
    events["t"] += start - events["t"][0]
    path = tmp_path / form.name
    form.write(path, events)
    for key, column in zip("xytp", form.theirs(path), strict=True):
        assert (column == events[key]).all()
    if start >= form.faery_until:
        return
    packets = faery.events_stream_from_file(path)
    assert packets.dimensions() == (640, 480)
    columns = np.concatenate(list(packets))
    for key, column in (("x", "x"), ("y", "y"), ("t", "t"), ("p", "on")):
        assert (columns[column] == events[key]).all()


def test_what_does_not_fit_is_refused(tmp_path: Path, form: Format) -> None:
    last, t_last = form.sides - 1, form.t_end - 1
    for event, limit in [
        ((form.sides, 0, 0, 1), f"x from 0 to {last}, not {form.sides}"),
        ((0, form.sides, 0, 1), f"y from 0 to {last}"),
        ((-1, 0, 0, 1), "not -1"),
        ((0, 0, form.t_end, 1), f"t from 0 to {t_last}"),
        ((0, 0, -1, 0), "not -1"),
    ]:
        with form.writer(tmp_path / form.name, 640, 480) as out, pytest.raises(OutputError, match=limit):
            out.write(np.array([(1, 1, 0, True), event], EVENT_DTYPE))


def test_sensor_too_large_and_folder_missing(tmp_path: Path, form: Format) -> None:
    with pytest.raises(OutputError, match=f"{form.sides}x{form.sides}"):
        form.writer(tmp_path / form.name, form.sides + 1, 480)
    assert not (tmp_path / form.name).exists()
    with pytest.raises(OutputError):
        form.writer(tmp_path / "none" / form.name, 640, 480)


def test_golden_words_of_evt3(tmp_path: Path) -> None:
    events = make_events([5, 6, 6, 7], [9, 9, 8, 8], [2, 2, 0x1002, 0x1000000], [True, False, True, False])
    FORMATS["evt3"].write(tmp_path / "a.raw", events)
    words = np.frombuffer((tmp_path / "a.raw").read_bytes().partition(b"% end\n")[2], "<u2").tolist()
    assert words == [
        0x8000, 0x6002, 0x0009, 0x2805, 0x2006, 0x8001, 0x6002, 0x0008, 0x2806, 0x8FFF, 0x8000, 0x8000, 0x6000, 0x2007,
    ]  # fmt: skip
