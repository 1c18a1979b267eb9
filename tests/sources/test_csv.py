"""CSV: against Python's own integers, line by line; headers; and every kind of damage with its line and byte."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import drain_rows

from stream_ottt.errors import InputError, UsageError
from stream_ottt.sources.csv import CsvSource
from stream_ottt.sources.opening import open_source

Rows = list[tuple[int, int, int, bool]]


def read(tmp_path: Path, data: bytes, **options: Any) -> tuple[Rows, InputError | None]:
    (tmp_path / "a.csv").write_bytes(data)
    return drain_rows(CsvSource.from_options(path=tmp_path / "a.csv", **options))


FIELD = st.one_of(st.integers(0, 9), st.integers(-(2**63) + 1, 2**63 - 1), st.integers(0, 10**9))
ROW = st.tuples(FIELD, st.integers(-9, 40000), st.integers(0, 400), st.sampled_from([0, 1, -1]))


@settings(deadline=None, max_examples=100)
@given(
    rows=st.lists(ROW, min_size=1, max_size=30),
    comma=st.sampled_from([",", ", ", " ,", " , ", ",\t"]),
    end=st.sampled_from(["\n", "\r\n", "\n\n"]),
    chunk=st.integers(1, 99),
    last=st.booleans(),
)
def test_reads_what_python_reads(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[int, int, int, int]],
    comma: str,
    end: str,
    chunk: int,
    last: bool,
) -> None:
    path = tmp_path_factory.mktemp("c") / "a.csv"
    text = "t,x,y,p" + end + end.join(comma.join(map(str, row)) for row in rows) + (end if last else "")
    path.write_text(text, newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stream_ottt.sources.csv.CHUNK", chunk)
        events, error = drain_rows(CsvSource.from_options(path=path, time="us", width=9, height=9))
    assert error is None
    assert events == [(x if 0 <= x < 2**15 else -1, y, t, p > 0) for t, x, y, p in rows]


@pytest.mark.parametrize("digits", range(1, 20))
def test_numbers_of_every_length(tmp_path: Path, digits: int) -> None:
    times = [int("9876543210987654321"[:digits]) % 2**63, 10 ** (digits - 1), int("1" * digits)]
    events, error = read(tmp_path, b"t,x,y,p\n" + b"".join(b"%d,1,2,1\n" % t for t in times), time="us")
    assert error is None and [t for _, _, t, _ in events] == times


@pytest.mark.parametrize(
    ("header", "line", "size"),
    [
        (b"t,x@320,y@240,on\n", b"7,3,4,1", (320, 240)),
        (b"# t, x, y, p\r\n", b"7,3,4,1", (4, 5)),
        (b"Timestamp,Polarity,X,Y\n", b"7,1,3,4", (4, 5)),
        (b"\xef\xbb\xbftime,x,y,pol,frame\n", b"7,3,4,1,99", (4, 5)),
        (b"id,t,x@70,y,p\n", b"abc,7,3,4,1", (70, 5)),
        (b"", b"7,3,4,1", (4, 5)),
        (b"\xef\xbb\xbf", b"7,3,4,1", (4, 5)),
    ],
)
def test_headers(tmp_path: Path, header: bytes, line: bytes, size: tuple[int, int]) -> None:
    path = tmp_path / "no_suffix"
    path.write_bytes(header + line + b"\n")
    source = open_source(path)
    assert isinstance(source, CsvSource)
    (packet,) = source.packets()
    assert packet.events.tolist() == [(3, 4, 7, True)]
    assert (packet.width, packet.height) == size


def test_options_beat_the_header(tmp_path: Path) -> None:
    data = b"x,y,t,p\n1,2,3,0\n"
    assert read(tmp_path, data)[0] == [(1, 2, 3, False)]
    assert read(tmp_path, data, columns="t,x,y,p")[0] == [(2, 3, 1, False)]
    assert read(tmp_path, b"9,1,2,3,0\n", columns="_,x,y,t,on")[0] == [(1, 2, 3, False)]
    (packet,) = CsvSource.from_options(path=tmp_path / "a.csv", columns="_xytp", width=64, height=48).packets()
    assert (packet.width, packet.height) == (64, 48)
    with pytest.raises(UsageError, match=r"source\.columns"):
        CsvSource.from_options(path=tmp_path / "a.csv", columns="t,x,y")


GOOD = b"t,x@9,y@9,on\n5,1,2,1\n-6,1,3,-1\n"
GOOD_EVENTS = [(1, 2, 5, True), (1, 3, -6, False)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"7,1,2", "expected 4 fields, found 3"),
        (b"7,1,2,1,5", "expected 4 fields, found 5"),
        (b"7,1,2,", "polarity is ''"),
        (b"7,,2,1", "x is ''"),
        (b"7.5,1,2,1", "t is '7.5'; expected a whole number of µs"),
        (b"7,nan,2,1", "x is 'nan'"),
        (b"7,1,--2,1", "y is '--2'"),
        (b"7,1,2-3,1", "y is '2-3'"),
        (b"7,1,1_0,1", "y is '1_0'"),
        (b"7,1,2,2", "polarity is '2'"),
        (b"7,1,2,-2", "polarity is '-2'"),
        (b"9223372036854775808,1,2,1", "t is '9223372036854775808'"),
        (b"99999999999999999999,1,2,1", "t is '99999999999999999999'"),
        (b"7.0e-1,1,2,1", "t is '7.0e-1'"),
        (b"7e,1,2,1", "t is '7e'"),
        (b"7,.,2,1", "x is '.'"),
        (b"7,1.5,2,1", "x is '1.5'"),
        (b"7,1,2,yes", "polarity is 'yes'"),
        (b"7,1,2,0.5", "polarity is '0.5'"),
        (b"\x00,1,2,1", "b'\\x00,1,2,1' is no text"),
        (b"\xff\xfe,1,2,1", "t is "),
        ("٣,1,2,1".encode(), "t is "),
    ],
)
def test_a_bad_line_is_named_after_what_was_good(tmp_path: Path, line: bytes, message: str, end: bytes) -> None:
    good = GOOD.replace(b"\n", end)
    events, error = read(tmp_path, good + line + end + b"8,1,1,1" + end)
    assert events == GOOD_EVENTS
    assert error is not None and error.offset == len(good)
    assert f"line 4: {message}" in str(error) and "\n" not in str(error)


def test_line_numbers_and_offsets_across_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_ottt.sources.csv.CHUNK", 64)
    good = b"".join(b"%d,1,2,0\n" % i for i in range(500))
    events, error = read(tmp_path, good + b"oops\n")
    assert len(events) == 500 and error is not None
    assert "line 501" in str(error) and error.offset == len(good)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"class,startTime_usec,endTime_usec\n1,2,3\n", "line 1 names no column"),
        (b"t,x,y,p,on\n1,2,3,4,5\n", "line 1 names no column (or several) for p"),
        (b"1,2,3,1,0\n", "line 1 has 5 columns"),
        (b"0.25,2,3,1\n", "t is '0.25'; say the unit with time="),
        (b"7,1,2,3\n", "cannot be told from the values"),
        (b"hello\n", "line 1 names no column"),
    ],
)
def test_columns_that_cannot_be_told(tmp_path: Path, data: bytes, message: str) -> None:
    events, error = read(tmp_path, data)
    assert not events and message in str(error)


def test_recognised_by_content(tmp_path: Path) -> None:
    def recognised(head: bytes, name: str = "a.dat") -> bool:
        return CsvSource.sniff(head, Path(name))

    assert recognised(b"t,x,y,on\n1,2,3,1\n")
    assert recognised(b"1,2,3,1\n4,5,6,0\n7,8")
    assert not recognised(b"1,2,3,1\n4,5,6\n")
    assert not recognised(b"1,2,3\n")
    assert not recognised(b"class,startTime_usec,endTime_usec\n1,2,3\n")
    assert recognised(b"a,b,c\n", "a.CSV")
    assert not recognised(b"%evt 3.0, x\n")
    assert not recognised(b"1,2\x003,4,5\n")


def test_every_truncation_gives_the_whole_lines(tmp_path: Path) -> None:
    data = b"t,x@9,y@9,on\n" + b"".join(b"%d,1,2,1\n" % t for t in (5, 60, 700))
    for n in range(1, len(data)):
        events, error = read(tmp_path, data[:n])
        header, *lines = data[:n].split(b"\n")
        whole = [line for line in lines if line.count(b",") == 3 and not line.endswith(b",")]
        assert len(events) == len(whole)
        assert (error is None) == (header == b"t,x@9,y@9,on" and len(whole) == len([x for x in lines if x]))


def test_no_flipped_bit_gives_anything_but_events_or_an_input_error(tmp_path: Path) -> None:
    data = bytearray(b"t,x@9,y@9,on\n5,1,2,1\n-6,1,3,-1\n700000000,1,3,0\n")
    for bit in range(8 * len(data)):
        data[bit // 8] ^= 1 << bit % 8
        read(tmp_path, bytes(data))
        data[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize("data", [b"1,2,3,1\n" + b"9" * (1 << 20), b"x" * (1 << 20), b"," * (1 << 20) + b"\n"])
def test_endless_lines_take_no_memory(tmp_path: Path, data: bytes) -> None:
    tracemalloc.start()
    _, error = read(tmp_path, data, width=9, height=9)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error is not None and peak < 32 << 20 and len(str(error)) < 400


def test_irregular_files_stay_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_ottt.sources.csv.CHUNK", 1 << 14)
    data = b" 1,2,3,1\n" * (1 << 13)  # more than one piece
    (tmp_path / "a.csv").write_bytes(data)
    tracemalloc.start()
    n = sum(len(p) for p in CsvSource.from_options(path=tmp_path / "a.csv", width=9, height=9, time="us").packets())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 1 << 13 and peak < 4 << 20
