"""AEDAT 3.1: golden bytes, a decoder event by event, the validity bit, overflows, other packets, and damage."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import drain

from stream_ottt.sources.aedat31 import Aedat31Source
from stream_ottt.sources.opening import open_source

Event = tuple[int, int, int, bool, bool]
"""x, y, timestamp, ON, valid."""


def header(source: str = "DVS128", fmt: str = "RAW") -> bytes:
    lines = ["#!AER-DAT3.1", f"#Format: {fmt}", f"#Source 1: {source}", "#Start-Time: 2016-03-21 12:00:00 (TZ+0100)"]
    return "".join(f"{line}\r\n" for line in [*lines, "#!END-HEADER"]).encode()


def packet_header(kind: int, number: int, *, valid: int | None = None, size: int = 8, **fields: int) -> bytes:
    values = {"t_offset": 4, "overflows": 0, "capacity": number, **fields}
    return struct.pack(
        "<hhiiiiii",
        kind, 1, size, values["t_offset"], values["overflows"], values["capacity"], number,
        number if valid is None else valid,
    )  # fmt: skip


def polarity(events: list[Event], **fields: int) -> bytes:
    body = b"".join(struct.pack("<Ii", x << 17 | y << 2 | on << 1 | valid, t) for x, y, t, on, valid in events)
    return packet_header(1, len(events), **{"valid": sum(e[4] for e in events), **fields}) + body


def source_of(path: Path, data: bytes, **options: object) -> Aedat31Source:
    path.write_bytes(data)
    source = open_source({"uri": str(path), "format": "aedat31", **options})
    assert isinstance(source, Aedat31Source)
    return source


def test_golden_bytes(tmp_path: Path) -> None:
    body = bytes.fromhex("0100 0100 08000000 04000000 02000000 02000000 02000000 02000000")
    body += bytes.fromhex("1700 0600 05000000") + bytes.fromhex("fdff ffff ffffff7f")
    source = source_of(tmp_path / "a", header() + body)
    assert drain(source)[0].tolist() == [(3, 5, 2**32 + 5, True), (32767, 32767, 2**32 + 2**31 - 1, False)]
    assert source.describe() == {"camera": "DVS128", "packets": {"polarity": 1}}


@pytest.mark.parametrize("end", ["", "#!END-HEADER\r\n"])
def test_version_30(tmp_path: Path, end: str) -> None:
    """Its coordinates have 14 bits each, y counts from the bottom, and its header needs no end."""
    events = [(1, 0, 3, True), (127, 127, 4, False), (64, 5, 5, True)]
    body = b"".join(struct.pack("<Ii", x << 18 | (127 - y) << 4 | on << 1 | 1, t) for x, y, t, on in events)
    head = f"#!AER-DAT3.0\r\n#Format: RAW\r\n#Source 1: DVS128\r\n{end}".encode()
    (tmp_path / "a").write_bytes(head + packet_header(1, 3) + body)
    source = open_source(tmp_path / "a")
    assert isinstance(source, Aedat31Source)
    found, error = drain(source)
    assert error is None and found.tolist() == events
    (tmp_path / "a").write_bytes(head.replace(b"DVS128", b"?") + packet_header(1, 1) + struct.pack("<Ii", 300 << 4, 1))
    assert "say its size with" in str(drain(source)[1])


def test_other_packets_are_passed_over(tmp_path: Path) -> None:
    a, b = (1, 2, 3, True, True), (4, 5, 6, False, True)
    data = (
        header()
        + packet_header(0, 2) + bytes(16)
        + polarity([a])
        + packet_header(2, 1, size=36 + 50) + bytes(86)
        + packet_header(3, 3, size=36) + bytes(108)
        + packet_header(9, 1, size=3, capacity=4) + bytes(12)
        + polarity([b], capacity=3) + bytes(16)
        + packet_header(1, 0)
    )  # fmt: skip
    source = source_of(tmp_path / "a", data)
    events, error = drain(source)
    assert error is None and events.tolist() == [a[:4], b[:4]]
    assert source.describe()["packets"] == {"special": 1, "polarity": 3, "frame": 1, "imu6": 1, "type 9": 1}


def test_validity(tmp_path: Path) -> None:
    good, bad = (1, 2, 3, True, True), (4, 5, 6, False, False)
    cases = {
        polarity([good, bad, good]): 2,
        polarity([bad, bad]): 0,
        polarity([bad, bad], valid=1): 0,
        polarity([bad, bad], valid=2): 2,  # as tools write it that never set the bit
        polarity([good, bad], valid=2): 1,
    }
    for body, expected in cases.items():
        events, error = drain(source_of(tmp_path / "a", header() + body))
        assert len(events) == expected and (error is None) == (expected > 0)
    assert "none of its 2 events is marked as valid" in str(
        drain(source_of(tmp_path / "a", header() + polarity([bad] * 2)))[1]
    )


EVENT = st.tuples(
    st.integers(0, 2**15 - 1), st.integers(0, 2**15 - 1), st.integers(0, 2**31 - 1), st.booleans(), st.booleans()
)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.lists(EVENT, max_size=8), st.integers(0, 5)), max_size=6))
def test_like_a_decoder_event_by_event(
    tmp_path_factory: pytest.TempPathFactory, packets: list[tuple[list[Event], int]]
) -> None:
    data = header() + b"".join(polarity(events, overflows=o) for events, o in packets)
    events, error = drain(source_of(tmp_path_factory.getbasetemp() / "a", data))
    expected = [(x, y, t + o * 2**31, on) for found, o in packets for x, y, t, on, valid in found if valid]
    assert events.tolist() == expected
    assert (error is None) == (bool(expected) or not any(found for found, _ in packets))


def test_many_small_packets_become_few(tmp_path: Path) -> None:
    data = header() + b"".join(polarity([(i % 128, 0, i, True, True)]) for i in range(3000))
    source = source_of(tmp_path / "a", data)
    assert [len(p) for p in source.packets()] == [3000]
    assert np.array_equal(drain(source)[0]["t"], np.arange(3000))


@pytest.mark.parametrize(
    ("camera", "size"),
    [("DVS128", (128, 128)), ("Test", (128, 128)), ("DAVIS240C", (240, 180)), ("Davis346Blue", (346, 260))],
)
def test_size(tmp_path: Path, camera: str, size: tuple[int, int]) -> None:
    data = header(camera) + polarity([(0, 0, 0, True, True)])
    packet = next(source_of(tmp_path / "a", data).packets())
    assert (packet.width, packet.height) == size
    packet = next(source_of(tmp_path / "a", data, width="640").packets())
    assert (packet.width, packet.height) == (640, size[1])


@pytest.mark.parametrize("camera", ["DAVISFX3", ""])
def test_events_that_contradict_the_size_that_was_guessed(tmp_path: Path, camera: str) -> None:
    inside = [(5, 127, t, True, True) for t in range(100)]
    source = source_of(tmp_path / "a", header(camera) + polarity(inside))
    assert len(drain(source)[0]) == 100 and source.size_from == "guess"
    outside = [(345, 259, t, True, True) for t in range(9)]
    events, error = drain(source_of(tmp_path / "a", header(camera) + polarity(inside + outside)))
    assert not len(events) and error is not None and "DAVIS346 has 346×260" in str(error)
    assert (f"'{camera}'" if camera else "names no camera") in str(error)
    source = source_of(tmp_path / "a", header(camera) + polarity(outside), width=346, height=260)
    assert len(drain(source)[0]) == 9 and source.size_from == "option"
    known = source_of(tmp_path / "a", header("DVS128") + polarity(outside))
    assert len(drain(known)[0]) == 9 and known.size_from == "camera"  # they are malformed


def test_truncated_at_every_byte(tmp_path: Path) -> None:
    first = [(i, 2 * i, i, True, True) for i in range(4)]
    second = [(9, 9, 9, False, True)]
    parts = [header(), packet_header(0, 1) + bytes(8), polarity(first), polarity(second)]
    data = b"".join(parts)
    bounds = np.cumsum([len(p) for p in parts]).tolist()
    for cut in range(len(data)):
        events, error = drain(source_of(tmp_path / "a", data[:cut]))
        expected = [e[:4] for e in first + second]
        assert events.tolist() == expected[: len(events)]
        if cut >= bounds[2]:
            assert len(events) == 4
        elif cut > bounds[1] + 28:
            assert len(events) == (cut - bounds[1] - 28) // 8, "whole events before the cut"
        if cut in bounds:
            assert error is None
        else:
            assert error is not None and error.offset is not None and error.offset <= cut
            if cut > bounds[0]:
                assert error.offset == max(b for b in bounds if b <= cut)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_flipped_bits(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    first = polarity([(i, 2 * i, i, True, True) for i in range(4)])
    good = bytearray(header() + first + polarity([(1, 2, 9, True, True)] * 3))
    at = data.draw(st.lists(st.integers(0, len(good) - 1), min_size=1, max_size=3))
    for i in at:
        good[i] ^= 1 << data.draw(st.integers(0, 7))
    events, error = drain(source_of(tmp_path_factory.getbasetemp() / "flipped", bytes(good)))
    if min(at) >= len(header()) + len(first):
        assert events["t"][:4].tolist() == [0, 1, 2, 3]
    assert error is None or error.offset is not None


@pytest.mark.parametrize(
    "bad",
    [
        packet_header(1, -1),
        packet_header(1, 5, capacity=4),
        packet_header(1, 1, size=16),
        packet_header(1, 1, size=-8),
        packet_header(1, 1, t_offset=0),
        packet_header(1, 1, overflows=-1),
        packet_header(-3, 1),
        packet_header(1, 2**31 - 1),
        packet_header(0, 0, size=2**31 - 1, capacity=2**31 - 1),
    ],
)
def test_impossible_packet_headers(tmp_path: Path, bad: bytes) -> None:
    data = header() + polarity([(1, 2, 3, True, True)])
    source = source_of(tmp_path / "a", data + bad + bytes(1 << 20))
    tracemalloc.start()
    try:
        events, error = drain(source)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert events[:1].tolist() == [(1, 2, 3, True)]
    assert error is not None and error.offset == len(data)


def test_bad_headers(tmp_path: Path) -> None:
    for data, message in [
        (b"#!AER-DAT3.1\r\n" + polarity([]), "expected header lines"),
        (b"#!AER-DAT3.1\r\n#" + b"x" * (1 << 20), "expected header lines"),
        (header(fmt="SerializedTS"), "SerializedTS"),
        (b"", "expected header lines"),
    ]:
        _, error = drain(source_of(tmp_path / "a", data))
        assert message in str(error)


def test_recognised(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(header())
    assert isinstance(open_source(tmp_path / "a"), Aedat31Source)


def test_real_recordings(recordings: Path) -> None:
    for name, number in (("dvs128_aedat31", 124988), *zip(
        [f"tiny_synthetic_aedat31_{i}" for i in (1, 2, 3)], (12, 18, 5), strict=True
    )):  # fmt: skip
        source = open_source(recordings / f"{name}.aedat")
        assert isinstance(source, Aedat31Source)
        events, error = drain(source)
        assert error is None and len(events) == number
        if number == 124988:
            assert events["t"][-1] - events["t"][0] == 999_000
            assert (np.diff(events["t"]) >= 0).all() and events["t"][0] < 2**31 < events["t"][-1]
