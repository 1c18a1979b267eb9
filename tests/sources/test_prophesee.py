"""The text header of Prophesee's files, and what it says of the sensor."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from stream_ottt.cli.info import show
from stream_ottt.errors import InputError, UsageError
from stream_ottt.sources.opening import open_source
from stream_ottt.sources.prophesee.base import parse_header

WORD = b"\x00\x00\x00\x80"
EVENT = b"\x05\x18\x00\x10"  # CD_ON, x 3, y 5


def source(tmp_path: Path, header: bytes, data: bytes = WORD + EVENT, query: str = "", name: str = "a.raw"):
    path = tmp_path / name
    path.write_bytes(header + data)
    return open_source(f"{path}{query}")


def size_of(tmp_path: Path, header: bytes, query: str = "?format=evt2") -> tuple[int, int]:
    (packet,) = source(tmp_path, header, query=query).packets()
    return packet.width, packet.height


@pytest.mark.parametrize(
    ("header", "size"),
    [
        (b"% evt 2.0\n% geometry 346x260\n", (346, 260)),
        (b"% evt 2.0\r\n% geometry 346x260\r\n", (346, 260)),
        (b"% evt 2.0\n% Width 346\n% Height 260\n% end\n", (346, 260)),
        (b"% format EVT2;height=260;width=346\n% end\n", (346, 260)),
        (b"% format EVT2;height=1;width=1\n% Width 2\n% Height 2\n% geometry 346x260\n", (346, 260)),
        (b"% evt 2.0\n% plugin_name hal_plugin_gen3_fx3\n", (640, 480)),
        (b"% evt 2.0\n% plugin_name hal_plugin_gen31_fx3\n", (640, 480)),
        (b"% evt 2.0\n% plugin_name hal_plugin_gen41_evk3\n", (1280, 720)),
        (b"% evt 2.0\n% plugin_name hal_plugin_imx636_evk4\n", (1280, 720)),
        (b"% evt 2.0\n% plugin_name hal_plugin_genx320_evk4\n", (320, 320)),
        (b"% evt 2.0\n% sensor_generation 4.2\n% end\n", (1280, 720)),
        (b"% evt 2.0\n% generation 3.1\n", (640, 480)),
    ],
)
def test_size_comes_from_the_header(tmp_path: Path, header: bytes, size: tuple[int, int]) -> None:
    assert size_of(tmp_path, header) == size


def test_options_override_the_header(tmp_path: Path) -> None:
    header = b"% evt 2.0\n% geometry 346x260\n% end\n"
    assert size_of(tmp_path, header, "?width=100&height=50") == (100, 50)
    assert size_of(tmp_path, header, "?height=50") == (346, 50)
    assert size_of(tmp_path, b"% evt 2.0\n% geometry nonsense\n", "?width=100&height=50") == (100, 50)


def test_no_size_at_all_names_the_options(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\?width=…&height=…"):
        size_of(tmp_path, b"% evt 2.0\n% end\n")


@pytest.mark.parametrize("text", [b"0x480", b"640", b"-1x5", b"640x99999999999", b"2049x5", b"5x2049", b"x", b""])
def test_impossible_sizes_are_refused_with_their_place(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(InputError, match="sensor size from 1x1 to 2048x2048") as e:
        size_of(tmp_path, b"% evt 2.0\n% geometry " + text + b"\n% end\n")
    assert e.value.offset == len(b"% evt 2.0\n")


def test_data_that_begin_like_a_header_line_are_data(tmp_path: Path) -> None:
    # y 0x25 and x 4 make the two bytes "% "; a line feed comes later.
    words = WORD + (4 << 11 | 0x25).to_bytes(4, "little") + (10 << 11 | 10).to_bytes(4, "little")
    header = parse_header(b"% evt 2.0\n" + words[4:])
    assert header.size == len(b"% evt 2.0\n")
    assert header.ended
    (packet,) = source(tmp_path, b"% evt 2.0\n% geometry 640x480\n% end\n", words[4:]).packets()
    assert packet.events["y"].tolist() == [0x25, 10]


def test_a_raw_file_without_header_is_read_when_told_how(tmp_path: Path) -> None:
    (packet,) = source(tmp_path, b"", query="?format=evt2&width=9&height=8").packets()
    assert packet.events.tolist() == [(3, 5, 0, True)]


@pytest.mark.parametrize(
    ("header", "query", "message"),
    [
        (b"% evt 7.5\n", "", "EVT7.5"),
        (b"% format HISTO3D;height=320;width=320\n", "", "HISTO3D"),
        (b"% evt 3.0\n% geometry 640x480\n", "?format=evt2", r"\?format=evt3"),
        (b"% evt 2.0\n% geometry 640x480\n", "?format=evt3", r"\?format=evt2"),
        (b"% evt 2.1\n% geometry 640x480\n", "?format=evt2", r"\?format=evt21"),
        (b"% evt 4.0\n% geometry 640x480\n", "", r"'EVT4'.*metavision_file_to_dat"),
        (b"% format EVT2;height=4;width=4;endianness=big\n", "", "byte order 'big'"),
    ],
)
def test_other_encodings_are_named(tmp_path: Path, header: bytes, query: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(source(tmp_path, header, query=query).packets())


def test_format_is_recognised_by_content_not_by_name(tmp_path: Path) -> None:
    dat = b"% Data file containing CD events\n% Version 2\n% Width 640\n% Height 480\n"
    assert source(tmp_path, b"% evt 2.0\n", name="a.bin").name == "evt2"
    assert source(tmp_path, b"% format EVT2;height=4;width=4\n", name="b.dat").name == "evt2"
    assert source(tmp_path, b"% evt 3.0\n", name="c").name == "evt3"
    assert source(tmp_path, b"% format EVT3;height=4;width=4\n", name="d.raw").name == "evt3"
    assert source(tmp_path, dat, b"\x0c\x08", name="e.raw").name == "dat"


@pytest.mark.parametrize("end", [b"", b"% end\n"])
def test_a_header_cut_anywhere_is_an_error(tmp_path: Path, end: bytes) -> None:
    header = b"% evt 2.0\n% geometry 640x480\n" + end
    for cut in range(len(b"% evt 2.0\n") + 2, len(header)):
        with pytest.raises((InputError, UsageError)):
            list(source(tmp_path, header[:cut], b"").packets())
    if end:
        assert list(source(tmp_path, header, b"").packets()) == []


def test_an_endless_header_line_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no line end within 65536 bytes") as e:
        list(source(tmp_path, b"% evt 2.0\n% ", b"a" * 200_000).packets())
    assert e.value.offset == len(b"% evt 2.0\n")


def test_describe_gives_the_header(tmp_path: Path) -> None:
    described = source(tmp_path, b"% evt 2.0\n% serial_number 00042\n% geometry 640x480\n").describe()
    assert described == {"header": {"evt": "2.0", "serial_number": "00042", "geometry": "640x480"}}


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.raw", tmp_path):
        with pytest.raises(InputError):
            list(open_source(f"{path}?format=evt2&width=4&height=4").packets())


def test_events_before_the_first_time_are_left_out_and_do_not_spoil_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A recording that begins in the middle of a stream: neither its excerpts nor its verdict depend on them."""
    words = [0x1 << 28 | 3 << 11 | 5] * 40
    for t in range(100):
        words += [0x8 << 28 | 1000 + t, 0x1 << 28 | 4 << 11 | 6]
    path = tmp_path / "a.raw"
    path.write_bytes(b"% evt 2.0\n% geometry 346x260\n% end\n" + np.array(words, "<u4").tobytes())
    assert show(str(path), as_json=True) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["events"], facts["malformed"], facts["t_first"]) == (140, 40, 64_000)
    t = np.concatenate([p.events["t"] for p in open_source(f"{path}?from=640us&to=1280us").excerpt()])
    assert t.tolist() == list(range(64_640, 65_280, 64))
    t = np.concatenate([p.events["t"] for p in open_source(f"{path}?shift=auto").excerpt()])
    assert t[40:].tolist() == list(range(0, 6400, 64)) and (t[:40] < 0).all()
