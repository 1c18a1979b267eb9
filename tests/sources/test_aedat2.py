"""AEDAT 2.0: golden words, a decoder word by word, wrapping timestamps, headers of all kinds, and damage."""

from __future__ import annotations

import struct
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from reading import drain

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import PACKET_EVENTS
from stream_ottt.sources.aedat2 import Aedat2Source
from stream_ottt.sources.opening import open_source
from stream_ottt.sources.unwrap import Clock32

MAGIC = b"#!AER-DAT2.0\r\n"
Words = list[tuple[int, int]]


def chip_line(name: str) -> bytes:
    return f"# AEChip: {name}\r\n".encode()


DVS128 = MAGIC + chip_line("ch.unizh.ini.jaer.chip.retina.DVS128")
DAVIS240 = MAGIC + b"# HardwareInterface: DAVIS FX2 84010032\r\n" + chip_line("eu.seebetter.ini.chips.davis.DAVIS240C")
DAVIS346 = MAGIC + chip_line("eu.seebetter.ini.chips.davis.Davis346blue")


def packed(words: Words) -> bytes:
    return b"".join(struct.pack(">II", *w) for w in words)


def source_of(path: Path, data: bytes, **options: object) -> Aedat2Source:
    path.write_bytes(data)
    source = open_source({"uri": str(path), "format": "aedat2", **options})
    assert isinstance(source, Aedat2Source)
    return source


def word_by_word(words: Words, width: int, height: int) -> list[tuple[int, int, int, bool]]:
    """What the words mean, one at a time."""
    out = []
    last: int | None = None
    for address, stamp in words:
        if width == 128:
            if address & 0x80008000:
                continue
            x, y, on = 127 - (address >> 1 & 0x7F), 127 - (address >> 8 & 0x7F), not address & 1
            x = -1 if address >> 16 else x  # a DVS128 has no such bits
        else:
            if address & 0x80000400:
                continue
            x, y, on = address >> 12 & 0x3FF, height - 1 - (address >> 22 & 0x1FF), bool(address & 0x800)
        if last is None:
            last = stamp
        else:
            step = (stamp - last) % 2**32
            last += step if step < 2**31 else step - 2**32
        out.append((x, y, last, on))
    return out


def test_golden_words_of_a_dvs128(tmp_path: Path) -> None:
    words = [(0x0000, 5), (0x0001, 5), (0x00FE, 6), (0x7F00, 7), (0x8000, 8), (0x1505, 9)]
    events, error = drain(source_of(tmp_path / "a", DVS128 + packed(words)))
    assert error is None
    assert events.tolist() == [
        (127, 127, 5, True),
        (127, 127, 5, False),
        (0, 127, 6, True),
        (127, 0, 7, True),
        (125, 106, 9, False),
    ]


@pytest.mark.parametrize(("header", "width", "height"), [(DAVIS240, 240, 180), (DAVIS346, 346, 260)])
def test_golden_words_of_a_davis(tmp_path: Path, header: bytes, width: int, height: int) -> None:
    on = 1 << 11
    words = [
        (3 << 22 | 7 << 12 | on, 5),
        (3 << 22 | 7 << 12, 6),
        (1 << 31 | 3 << 22 | 7 << 12, 7),  # APS
        (1 << 31 | 3 << 10, 8),  # IMU
        (3 << 22 | 1 << 10, 9),  # external input
        (((height - 1) << 22) | ((width - 1) << 12), 10),
    ]
    source = source_of(tmp_path / "a", header + packed(words))
    events, error = drain(source)
    assert error is None
    assert events.tolist() == [
        (7, height - 4, 5, True),
        (7, height - 4, 6, False),
        (width - 1, 0, 10, False),
    ]
    packet = next(source.packets())
    assert (packet.width, packet.height) == (width, height)


@pytest.mark.parametrize("magic", [b"#!AER-DAT2.0\r\n", b"#!AER-DAT2.1\r\n", b"#!AER-DAT1.0\r\n", b"#!AER-DAT2.2\r\n"])
def test_versions(tmp_path: Path, magic: bytes) -> None:
    words = [(0x0000, 5), (0x0001, 5), (0x00FE, 6), (0x7F00, 2**32 - 1), (0x8000, 8), (0x1505, 9)]
    layout = ">HI" if magic.startswith(b"#!AER-DAT1") else ">II"
    body = b"".join(struct.pack(layout, *w) for w in words)
    (tmp_path / "a").write_bytes(magic + b"# This is a raw AE data file - do not edit\r\n" + body)
    source = open_source(tmp_path / "a")
    assert isinstance(source, Aedat2Source)
    assert drain(source)[0].tolist() == word_by_word(words, 128, 128) and source.size_from == "guess"
    size = struct.calcsize(layout)
    for cut in range(1, len(body)):
        events, error = drain(source_of(tmp_path / "b", magic + body[:cut]))
        assert events.tolist() == word_by_word(words[: cut // size], 128, 128)
        assert (error is None) == (cut % size == 0)


def davis(x: int, y: int) -> int:
    return y << 22 | x << 12


@pytest.mark.parametrize(
    ("words", "fit"),
    [
        ([davis(345, 9), davis(0, 259)], "davis346, where all"),
        ([davis(239, 9), davis(0, 179)], "davis240c|davis346, where all"),
        ([davis(400, 9)], "dvs128|davis240c|davis346"),
    ],
)
def test_addresses_that_contradict_the_chip_that_was_guessed(tmp_path: Path, words: list[int], fit: str) -> None:
    """As v2e and jAER without a chip write them."""
    body = packed([(address, t) for t, address in enumerate(words)])
    events, error = drain(source_of(tmp_path / "a", MAGIC + b"# made by a simulator\r\n" + body))
    assert not len(events) and error is not None and f"?chip={fit}" in str(error)
    source = source_of(tmp_path / "a", MAGIC + body, chip="davis346")
    assert len(drain(source)[0]) == len(words) and source.size_from == "option"


@pytest.mark.parametrize("name", ["DVS128", "DAVIS240C"])
def test_addresses_that_contradict_the_chip_of_the_header(tmp_path: Path, name: str) -> None:
    body = packed([(davis(k % 346, k % 260), k) for k in range(400)])
    head = MAGIC + b"# AEChip: a.b.%s\r\n" % name.encode()
    events, error = drain(source_of(tmp_path / "a", head + body))
    assert not len(events) and error is not None
    assert f"names a {name}, but" in str(error) and "?chip=davis346, where all" in str(error)
    few = packed([(davis(k % 240, k % 180), k) for k in range(400)] + [(davis(300, 9), 400)])
    if name == "DAVIS240C":  # a damaged word is no contradiction
        events, error = drain(source_of(tmp_path / "a", head + few))
        assert error is None and len(events) == 401


def test_a_few_damaged_addresses_are_malformed_and_no_contradiction(tmp_path: Path) -> None:
    words = [(2 * i % 2**15, i) for i in range(100)]
    words[50] = (1 << 20, 50)
    source = source_of(tmp_path / "a", MAGIC + packed(words))
    events, error = drain(source)
    assert error is None and np.count_nonzero(events["x"] == -1) == 1 and source.size_from == "guess"
    named = source_of(tmp_path / "a", DVS128 + packed(words))
    assert len(drain(named)[0]) == 100 and named.size_from == "camera"


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from([(DVS128, 128, 128), (DAVIS240, 240, 180), (DAVIS346, 346, 260)]),
    st.lists(st.tuples(st.integers(0, 2**32 - 1) | st.integers(0, 2**15 - 1), st.integers(0, 2**32 - 1)), max_size=40),
)
def test_like_a_decoder_word_by_word(
    tmp_path_factory: pytest.TempPathFactory, chip: tuple[bytes, int, int], words: Words
) -> None:
    header, width, height = chip
    path = tmp_path_factory.getbasetemp() / "words"
    name = {128: "dvs128", 240: "davis240c", 346: "davis346"}[width]  # which is believed whatever the addresses
    events, error = drain(source_of(path, header + b"#End Of ASCII Header\r\n" + packed(words), chip=name))
    assert error is None and events.tolist() == word_by_word(words, width, height)


def test_timestamps_wrap_between_and_within_packets(tmp_path: Path) -> None:
    n = 3 * PACKET_EVENTS
    t = np.arange(n, dtype=np.int64) * 50_000 + 2**31 - 7
    words = np.zeros((n, 2), ">u4")
    words[:, 1] = t % 2**32
    events, error = drain(source_of(tmp_path / "a", DVS128 + words.tobytes()))
    assert error is None and t[-1] > 2 * 2**32
    assert np.array_equal(events["t"], t)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(-(2**31), 2**31 - 1), max_size=30), st.lists(st.integers(0, 30)))
def test_unwrapping_in_pieces(first: int, steps: list[int], cuts: list[int]) -> None:
    t = np.cumsum([first, *steps])
    unwrap = Clock32()
    found = [unwrap((p % 2**32).astype(np.uint32)) for p in np.split(t, sorted(min(c, len(t)) for c in cuts))]
    assert np.array_equal(np.concatenate(found), t)


def test_a_first_word_that_begins_like_a_header_line(tmp_path: Path) -> None:
    """y = 142 of a DAVIS begins with the byte of '#'."""
    words = [(0x23 << 24 | 7 << 12, 5), (0x23 << 24 | 10 << 12, 0x0A0D0A0D), (5 << 22, 0x0A0D0A0E)]
    for end in (b"", b"#End Of ASCII Header\r\n"):
        events, error = drain(source_of(tmp_path / "a", DAVIS240 + end + packed(words)))
        assert error is None and events.tolist() == word_by_word(words, 240, 180)


@pytest.mark.parametrize(
    ("header", "chip"),
    [
        (b"", "dvs128"),
        (MAGIC, "dvs128"),
        (MAGIC + b"# HardwareInterface: DVS128-V1 0298\r\n", "dvs128"),
        (MAGIC + chip_line("DVS128"), "dvs128"),
        (MAGIC + chip_line("ch.unizh.ini.jaer.chip.retina.Tmpdiff128"), "dvs128"),
        (DAVIS240, "davis240c"),
        (DAVIS346, "davis346"),
        (MAGIC + b"#" + bytes(range(128, 256)) + b"\r\n" + chip_line("DAVIS240A"), "davis240c"),
    ],
)
def test_which_chip(tmp_path: Path, header: bytes, chip: str) -> None:
    source = source_of(tmp_path / "a", header + packed([(0, 1)]))
    assert source.describe()["chip"] == chip
    assert len(drain(source)[0]) == 1
    assert source_of(tmp_path / "a", header + packed([(0, 1)]), chip="davis346").describe()["chip"] == "davis346"
    assert source_of(tmp_path / "a", header + packed([(0, 1)]), chip="DAVIS346").describe()["chip"] == "davis346"


@pytest.mark.parametrize("header", [chip_line("a.b.DAVIS640"), b"# HardwareInterface: DAVIS FX2\r\n"])
def test_unknown_chip(tmp_path: Path, header: bytes) -> None:
    source = source_of(tmp_path / "a", MAGIC + header + packed([(0, 1)]))
    for use in (source.describe, lambda: next(source.packets())):
        with pytest.raises(InputError, match=r"\?chip=dvs128\|davis240c\|davis346"):
            use()
    with pytest.raises(UsageError, match="chip"):
        source_of(tmp_path / "a", MAGIC, chip="dvs64")


def test_recognised_by_its_first_line_alone(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(DVS128)
    assert isinstance(open_source(tmp_path / "a"), Aedat2Source)
    (tmp_path / "b").write_bytes(packed([(0, 1)]))
    with pytest.raises(InputError, match=r"\?format=NAME"):
        open_source(tmp_path / "b")


def test_truncated_at_every_byte(tmp_path: Path) -> None:
    words = [(2 * i, 10 + i) for i in range(12)]
    data = DVS128 + packed(words)
    for cut in range(1, len(DVS128)):
        events, error = drain(source_of(tmp_path / "a", data[:cut]))
        assert not len(events) and (error is None) == data[:cut].endswith(b"\n")
    for cut in range(len(DVS128), len(data) + 1):
        events, error = drain(source_of(tmp_path / "a", data[:cut]))
        whole, rest = divmod(cut - len(DVS128), 8)
        assert events.tolist() == word_by_word(words[:whole], 128, 128)
        if rest:
            assert error is not None and error.offset == len(DVS128) + 8 * whole and f"{rest} of its 8" in str(error)
        else:
            assert error is None


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, junk: bytes, headed: bool) -> None:
    assume(headed or not junk.startswith((b"BZh", b"\x1f\x8b", b"\xfd7zXZ", b"PK", b"\x28\xb5\x2f\xfd")))  # packed
    source = source_of(tmp_path_factory.getbasetemp() / "junk", (DVS128 if headed else b"") + junk)
    events, error = drain(source)
    assert error is None or error.offset is not None
    assert len(events) <= len(junk) / 8 + 2


def test_memory(tmp_path: Path) -> None:
    """Neither a header without end nor a long recording stands in memory."""
    for data in (MAGIC + b"#" + b"x" * (8 << 20), MAGIC + b"#x\r\n" * (1 << 15), DVS128 + bytes(8 << 20)):
        source = source_of(tmp_path / "a", data)
        tracemalloc.start()
        try:
            with suppress(InputError):
                for _ in source.packets():
                    pass
            assert tracemalloc.get_traced_memory()[1] < 6 << 20
        finally:
            tracemalloc.stop()


def test_no_such_file(tmp_path: Path) -> None:
    source = Aedat2Source.from_options(path=tmp_path / "none")
    with pytest.raises(InputError, match="cannot be read"):
        next(source.packets())


@pytest.mark.parametrize(
    ("name", "size", "sums"),
    [
        # events, duration, Σ(t − t₀), Σx, Σy, ON: y by a plain loop, the rest as two other decoders read it.
        ("davis240c_aedat2", (240, 180), (162771, 2072651, 170769045902, 14600358, 17174673, 82944)),
        ("dvs128_walking_aedat2", (128, 128), (125028, 8043874, 332006021077, 7431120, 5873021, 55976)),
    ],
)
def test_real_recordings(recordings: Path, name: str, size: tuple[int, int], sums: tuple[int, ...]) -> None:
    source = open_source(recordings / f"{name}.aedat")
    assert isinstance(source, Aedat2Source)
    e, error = drain(source)
    assert error is None
    t = e["t"] - e["t"][0]
    columns = (len(e), t.max(), t.sum(), e["x"].sum(dtype=int), e["y"].sum(dtype=int), e["p"].sum())
    assert tuple(map(int, columns)) == sums
    packet = next(source.packets())
    assert (packet.width, packet.height) == size


def test_real_objects_word_by_word(real_data: Path) -> None:
    path = real_data / "dvs128_objects" / "Lapiseira.aedat"
    source = open_source(path)
    assert isinstance(source, Aedat2Source)
    packet = next(source.packets())
    data = path.read_bytes()
    start = data.index(b"#End Of ASCII Header\r\n") + 22
    words = np.frombuffer(data, ">u4", 2 * 5000, start).reshape(-1, 2).tolist()
    assert packet.events[:5000].tolist() == word_by_word(words, 128, 128)
