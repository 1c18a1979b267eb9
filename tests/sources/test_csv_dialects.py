"""Text as people write it: the same events in many hands, and what is refused with its cure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EventArray, make_events
from stream_ottt.pipeline.source import BlockingSource
from stream_ottt.sources.opening import open_source

RNG = np.random.default_rng(3)
N = 300
T = np.sort(RNG.integers(0, 90_000, N))
X, Y, P = RNG.integers(0, 346, N), RNG.integers(0, 260, N), RNG.integers(0, 2, N)
START = 1_700_000_000_000_000
"""µs since 1970."""

Row = Callable[[int, int, int, int], str]


def text(row: Row, head: str = "", end: str = "\n", close: str = "") -> bytes:
    return (head + end.join(row(*map(int, e)) for e in zip(T, X, Y, P, strict=True)) + end + close).encode()


def split_time(t: int) -> tuple[int, int]:
    return divmod(START + t, 1_000_000)


def dots(t: int) -> str:
    return f"{t / 1e6:.6f}".replace(".", ",")


READ: dict[str, tuple[bytes, int]] = {
    "sec and nsec": (
        text(lambda t, x, y, p: "{},{}000,{},{},{}".format(*split_time(t), x, y, p), "sec,nsec,x,y,p\n"),
        START,
    ),
    "of a ROS message": (
        text(
            lambda t, x, y, p: "{},{},{},{}000,{}".format(x, y, *split_time(t), bool(p)),
            "x,y,ts.sec,ts.nanosec,polarity\n",
        ),
        START,
    ),
    "secs and usecs in a comment": (
        text(lambda t, x, y, p: "{} {} {} {} {}".format(x, y, *split_time(t), p), "# x y secs usecs polarity\n"),
        START,
    ),
    "decimal commas, semicolons": (text(lambda t, x, y, p: f"{dots(t)};{x};{y};{p}"), 0),
    "decimal commas, a header": (text(lambda t, x, y, p: f"{x};{y};{dots(t)};{p}", "x;y;t;p\n"), 0),
    "decimal commas, tabs": (text(lambda t, x, y, p: f"{dots(t)}\t{x}\t{y}\t{p}"), 0),
    "decimal commas, blanks": (text(lambda t, x, y, p: f"{dots(t)} {x} {y} {p}"), 0),
    "line ends of old Macs": (text(lambda t, x, y, p: f"{t},{x},{y},{p}", "t,x,y,p\r", "\r"), 0),
    "lists": (text(lambda *e: str(list(e))), 0),
    "a list of lists": (text(lambda *e: f"{list(e)},", "[", close="]"), 0),
    "tuples": (text(lambda *e: str(e)), 0),
    "single quotes": (text(lambda *e: ",".join(f"'{v}'" for v in e), "'t','x','y','p'\n"), 0),
    "a separator at the end": (text(lambda *e: "".join(f"{v}," for v in e)), 0),
    "slashes before comments": (text(lambda *e: ",".join(map(str, e)), "// by a camera\n"), 0),
    "semicolons before comments": (text(lambda *e: " ".join(map(str, e)), "; by a camera\n"), 0),
    "longer names": (text(lambda t, x, y, p: f"{x},{y},{p},{t}", "pixel_x,y_addr,sign,event_time_us\n"), 0),
    "what polarities are": (text(lambda *e: ",".join(map(str, e)), "time [us],x [px],y [px],polarity [-1/1]\n"), 0),
}  # fmt: skip


def events_of(path: Path, options: str = "") -> EventArray:
    source = open_source(f"{path}{options}")
    assert isinstance(source, BlockingSource)
    return np.concatenate([p.events for p in source.excerpt()])


@pytest.mark.parametrize("name", READ)
def test_reads_the_same_events(name: str, tmp_path: Path) -> None:
    data, start = READ[name]
    (tmp_path / "a.txt").write_bytes(data)
    assert np.array_equal(events_of(tmp_path / "a.txt"), make_events(X, Y, T + start, P))


def test_time_in_two_columns_by_the_option(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(text(lambda t, x, y, p: "{} {}000 {} {} {}".format(*split_time(t), x, y, p)))
    with pytest.raises(InputError, match="or sec,nsec,x,y,p"):
        events_of(tmp_path / "a.txt")
    assert np.array_equal(events_of(tmp_path / "a.txt", "?columns=sec,nsec,x,y,p"), make_events(X, Y, T + START, P))


@pytest.mark.parametrize("chunk", [90, 1 << 19])
def test_parts_of_a_second_are_rounded_and_bad_ones_named(
    tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_ottt.sources.csv.CHUNK", chunk)
    path = tmp_path / "a.csv"
    good = b"sec,nsec,x,y,p\n" + b"".join(b"7,%d,1,2,1\n" % (k * 1000 + 500) for k in range(20))
    path.write_bytes(good + b"7,999999500,1,2,1\n")
    assert events_of(path, "?width=9&height=9")["t"].tolist() == [7_000_001 + k for k in range(20)] + [8_000_000]
    path.write_bytes(good + b"8,a,1,2,1\n")
    with pytest.raises(InputError, match="line 22: ns is 'a'; expected a number") as caught:
        events_of(path)
    assert caught.value.offset == len(good)
    path.write_bytes(good + b"8,8000000000,1,2,1\n")  # the whole time in each of the two columns
    with pytest.raises(InputError, match="part of a second is 8000000 µs"):
        events_of(path)


@pytest.mark.parametrize(
    ("head", "size"),
    [
        ("346x260\n", (346, 260)),
        ("# width=346 height=260\n", (346, 260)),
        ("# 346x260\n", (346, 260)),
        ("% sensor size: 346, 260\n", (346, 260)),
        ("# 12 events of 2024\n", (240, 180)),
    ],
)
def test_the_size_before_the_events(tmp_path: Path, head: str, size: tuple[int, int]) -> None:
    path = tmp_path / "a.txt"
    path.write_text(head + "".join(f"{k}.5 {200 + k} {100 + k} 1\n" for k in range(12)))
    source = open_source(f"{path}?time=s")
    assert isinstance(source, BlockingSource)
    assert {(p.width, p.height) for p in source.packets()} == {size}
    assert source.size_from == ("guess" if size == (240, 180) else "file")


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("2024-01-02T10:11:12.5,1,2,1", "a date or a time of day is not read; write the time in µs or in seconds"),
        ("10:11:12,1,2,1", "a date or a time of day is not read"),
        ('"1,000",1,2,1', "expected 4 fields, found 5"),
        ("1'000,1,2,1", "write numbers without marks between thousands"),
        (",1,2,1", "t is ''; expected a number"),
        ("nan,1,2,1", "t is 'nan'; expected a number"),
        ("99999999999999999999999,1,2,1", "beyond what 64 bits hold"),
        ("t,x,y,p", "names the columns again"),
        ("7,1,2,NEG", "polarity is 'NEG'; expected 0 or 1, -1 or 1, True or False, ON or OFF"),
        ("7,0.25,2,1", "x is '0.25'; expected a whole number"),
        ("7,7.25,2,1", "x is '7.25'; expected a whole number; pixels=floor cuts fractions off"),
    ],
)
def test_says_what_a_field_should_be(tmp_path: Path, lines: str, says: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"t,x,y,p\n5,1,2,1\n{lines}\n")
    with pytest.raises(InputError) as caught:
        events_of(path)
    assert "line 3: " in str(caught.value) and says in str(caught.value)
    assert "time=" not in str(caught.value)


def test_thousands_are_not_taken_for_fractions(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("t;x;y;p\n" + "".join(f"{k:,};1;2;1\n" for k in range(900, 3000, 100)))
    with pytest.raises(InputError, match="line 3: t is '1,000'; write numbers without marks between thousands"):
        events_of(path)


def test_a_text_that_was_cut_off_or_never_written_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    good = b"t,x,y,p\n" + b"".join(b"%d,1,2,1\n" % k for k in range(2000))
    for end, says in (
        (b"2000,1", "line 2002: expected 4 fields, found 2; the file was cut off there"),
        (bytes(5000) + b"\n7,1,2,1\n", "is no text; the file is damaged from there on, copy it again"),
    ):
        path.write_bytes(good + end)
        with pytest.raises(InputError) as caught:
            events_of(path)
        assert says in str(caught.value) and caught.value.offset == len(good)
    path.write_bytes(good + b"2000,1,2,1")
    assert len(events_of(path)) == 2001
