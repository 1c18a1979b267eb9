"""DAT files against hand-written events, expelliarmus and recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import drain_rows

from stream_ottt.errors import InputError, UsageError
from stream_ottt.sources.opening import open_source
from stream_ottt.sources.prophesee.words import DatDecoder

HEADER = b"% Data file containing CD events\n% Version 2\n% Width 640\n% Height 480\n"
START = len(HEADER) + 2
Event = tuple[int, int, int, bool]


def pack(events: list[Event]) -> bytes:
    return b"".join(t.to_bytes(4, "little") + (x | y << 14 | p << 28).to_bytes(4, "little") for x, y, t, p in events)


def times(decoder: DatDecoder, words: np.ndarray) -> list[int]:
    return [t for events in decoder.decode(words.view(np.uint8)) for t in events["t"].tolist()]


EVENTS = [(3, 5, 100, True), (16383, 0, 100, False), (0, 16383, 4_000_000_000, True)]


@pytest.mark.parametrize("kind", [0x00, 0x0C])
def test_both_kinds_of_events(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "a.dat"
    path.write_bytes(HEADER + bytes([kind, 8]) + pack(EVENTS))
    assert drain_rows(path) == (EVENTS, None)
    (packet,) = open_source(path).packets()
    assert (packet.width, packet.height) == (640, 480)


@pytest.mark.parametrize("kind", [b"\x0e\x08", b"\x0c\x10", b"\x01\x08", b"\xff\xff"])
def test_other_kinds_are_refused_with_their_place(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "a.dat"
    path.write_bytes(HEADER + kind + pack(EVENTS))
    with pytest.raises(InputError, match=f"type {kind[0]:#x} of {kind[1]} bytes") as e:
        list(open_source(path).packets())
    assert e.value.offset == len(HEADER)


def test_the_first_cameras_files_need_no_size(tmp_path: Path) -> None:
    path = tmp_path / "a.dat"
    path.write_bytes(b"% Data file containing N9Chronocam7Event2dE events.\n% Version 2\n\x00\x08" + pack(EVENTS))
    (packet,) = open_source(path).packets()
    assert (packet.width, packet.height) == (304, 240)


def test_no_size_at_all_names_the_options(tmp_path: Path) -> None:
    path = tmp_path / "a.dat"
    path.write_bytes(b"% Data file containing CD events\n% Version 2\n\x0c\x08" + pack(EVENTS))
    with pytest.raises(UsageError, match=r"\?width=…&height=…"):
        list(open_source(path).packets())
    assert drain_rows(f"{path}?width=640&height=480") == (EVENTS, None)


def test_polarity_is_any_nonzero_of_its_four_bits() -> None:
    (events,) = DatDecoder().decode(np.array([p << 60 for p in (0, 1, 2, 15)], "<u8").view(np.uint8))
    assert events["p"].tolist() == [False, True, True, True]


@pytest.mark.parametrize("cut", range(7))
def test_time_goes_on_when_its_32_bits_overflow(cut: int) -> None:
    low = [2**32 - 5, 2**32 - 9, 2**32 - 1, 0, 2, 1, 2**32 - 7]
    words = np.array(low, "<u8")
    decoder = DatDecoder()
    found = times(decoder, words[:cut]) + times(decoder, words[cut:])
    assert found[:6] == [*low[:3], 2**32, 2**32 + 2, 2**32 + 1]
    assert found[6] == 2**33 - 7


def test_late_events_are_no_overflow() -> None:
    # Counted as one by expelliarmus, which adds 71 minutes.
    assert times(DatDecoder(), np.array([1000, 999, 1000], "<u8")) == [1000, 999, 1000]


def test_agrees_with_expelliarmus(tmp_path: Path) -> None:
    Wizard = pytest.importorskip("expelliarmus").Wizard

    rng = np.random.default_rng(1)
    n = 100_000
    # Across the overflow of time.
    t = (np.sort(rng.integers(0, 10_000_000, n)) + 2**32 - 5_000_000) & 0xFFFFFFFF
    words = t | rng.integers(0, 2**28, n) << 32 | rng.integers(0, 2, n) << 60
    path = tmp_path / "a.dat"
    path.write_bytes(HEADER + b"\x00\x08" + words.astype("<u8").tobytes())
    theirs = Wizard("dat").read(path)
    ours = np.concatenate([p.events for p in open_source(path).packets()])
    for key in "xytp":
        assert (ours[key] == theirs[key]).all()
    assert ours["t"].max() > 2**32


def test_every_cut_yields_what_is_whole(tmp_path: Path) -> None:
    whole = HEADER + b"\x0c\x08" + pack(EVENTS)
    path = tmp_path / "a.dat"
    for cut in range(len(HEADER.splitlines(keepends=True)[0]) + 1, len(whole) + 1):
        path.write_bytes(whole[:cut])
        events, error = drain_rows(path)
        assert events == EVENTS[: max(0, cut - START) // 8]
        assert (error is None) == (cut >= START and (cut - START) % 8 == 0)
        if error is not None and cut > START:
            assert error.offset == START + (cut - START) // 8 * 8


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_flipped_bits_never_crash(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    whole = bytearray(HEADER + b"\x0c\x08" + pack(EVENTS))
    for bit in data.draw(st.lists(st.integers(0, 8 * len(whole) - 1), min_size=1, max_size=4)):
        whole[bit // 8] ^= 1 << bit % 8
    path = tmp_path_factory.getbasetemp() / "flipped.dat"
    path.write_bytes(whole)
    events, _ = drain_rows(f"{path}?format=dat&width=640&height=480")
    assert len(events) <= len(whole) // 8


def test_real_recording(recordings: Path) -> None:
    e = np.concatenate([p.events for p in open_source(recordings / "ncars_2d.dat").packets()])
    t = e["t"] - e["t"][0]
    assert (len(e), t[-1], t.sum(), e["x"].sum(), e["y"].sum(), e["p"].sum()) == (
        4407, 99937, 239318661, 108033, 134194, 1671,
    )  # fmt: skip


@pytest.mark.parametrize("version", [0, 1])
def test_version_1_holds_coordinates_of_9_and_8_bits(tmp_path: Path, version: int) -> None:
    events = [(3, 5, 100, True), (303, 0, 100, False), (511, 255, 200, True), (0, 239, 4_000_000_000, False)]
    data = b"".join(t.to_bytes(4, "little") + (x | y << 9 | p << 17).to_bytes(4, "little") for x, y, t, p in events)
    path = tmp_path / "a.dat"
    path.write_bytes(b"%% Data file containing TD events\n%% Version %d\n" % version + b"\x00\x08" + data)
    assert drain_rows(path) == (events, None)
    source = open_source(path)
    (packet,) = source.packets()  # type: ignore[attr-defined]
    assert (packet.width, packet.height, source.size_from) == (304, 240, "camera")


def test_a_version_that_is_not_known_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.dat"
    path.write_bytes(b"% Data file\n% Version 3\n% Width 9\n% Height 9\n\x0c\x08" + pack(EVENTS))
    _, error = drain_rows(path)
    assert error is not None and "found '3'" in str(error) and error.offset == len(b"% Data file\n")
