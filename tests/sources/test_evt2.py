"""EVT 2.0 against a word-by-word decoder, expelliarmus and recordings."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import drain_rows

from stream_ottt.sources.opening import open_source
from stream_ottt.sources.prophesee import base as prophesee
from stream_ottt.sources.prophesee.words import Evt2Decoder

HEADER = b"% evt 2.0\n% geometry 640x480\n% end\n"


def cd(x: int, y: int, low: int, p: int) -> int:
    return p << 28 | low << 22 | x << 11 | y


def high(value: int) -> int:
    return 0x8 << 28 | value


def pack(words: list[int]) -> bytes:
    return np.array(words, "<u4").tobytes()


def word_by_word(words: list[int]) -> list[tuple[int, int, int, bool]]:
    """The format's description, one word at a time, for streams without overflow."""
    out = []
    upper = None
    for word in words:
        kind = word >> 28
        if kind == 0x8:
            upper = (word & 0xFFFFFFF) << 6
        elif kind in (0, 1):
            t = -1 if upper is None else upper | word >> 22 & 0x3F
            out.append((word >> 11 & 0x7FF, word & 0x7FF, t, bool(kind)))
    return out


EVENT_WORDS = st.builds(cd, st.integers(0, 2047), st.integers(0, 2047), st.integers(0, 63), st.integers(0, 1))
WORDS = st.lists(
    st.one_of(
        EVENT_WORDS,
        EVENT_WORDS,
        st.integers(0, 2**27).map(high),
        st.builds(lambda kind, rest: kind << 28 | rest, st.sampled_from([0xA, 0xE, 0xF]), st.integers(0, 2**28 - 1)),
    ),
    max_size=60,
)


def test_golden_words(tmp_path: Path) -> None:
    words = [high(0x1234567), cd(3, 5, 7, 1), 0xA0000001, cd(2047, 0, 63, 0), 0xE1234567, 0xFFFFFFFF, cd(0, 2047, 0, 1)]
    path = tmp_path / "a.raw"
    path.write_bytes(HEADER + pack(words))
    base = 0x1234567 * 64
    expected = [(3, 5, base + 7, True), (2047, 0, base + 63, False), (0, 2047, base, True)]
    assert drain_rows(path) == (expected, None)


@settings(deadline=None)
@given(words=WORDS, cuts=st.lists(st.integers(0, 60), max_size=4))
def test_any_cutting_decodes_as_word_by_word(words: list[int], cuts: list[int]) -> None:
    decoder = Evt2Decoder()
    found: list[tuple[int, int, int, bool]] = []
    bounds = [0, *sorted(min(c, len(words)) for c in cuts), len(words)]
    for a, b in pairwise(bounds):
        for events in decoder.decode(np.array(words[a:b], "<u4").view(np.uint8)):
            found += events.tolist()
    assert found == word_by_word(words)


def test_events_before_the_first_time_have_none(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(HEADER + pack([cd(1, 1, 9, 1), high(2), cd(2, 2, 9, 1)]))
    assert drain_rows(path) == ([(1, 1, -1, True), (2, 2, 137, True)], None)


@pytest.mark.parametrize("block", [8, 4096])
def test_time_goes_on_when_its_34_bits_overflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(prophesee, "BLOCK_BYTES", block)
    last = 2**28 - 1
    words = [high(last), cd(1, 1, 63, 1), high(0), cd(2, 2, 0, 1), high(7), cd(3, 3, 1, 1), high(last), cd(4, 4, 0, 1)]
    words += [high(0), cd(5, 5, 0, 1)]
    path = tmp_path / "a.raw"
    path.write_bytes(HEADER + pack(words))
    events, error = drain_rows(path)
    assert error is None
    assert [e[2] for e in events] == [2**34 - 1, 2**34, 2**34 + 7 * 64 + 1, 2**35 - 64, 2**35]


def test_late_words_are_no_overflow(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(HEADER + pack([high(1000), cd(1, 1, 0, 1), high(10), cd(2, 2, 0, 1)]))
    assert [e[2] for e in drain_rows(path)[0]] == [64000, 640]


def test_agrees_with_expelliarmus(tmp_path: Path) -> None:
    Wizard = pytest.importorskip("expelliarmus").Wizard

    rng = np.random.default_rng(1)
    n = 100_000
    words = np.empty(n, np.int64)
    kind = rng.choice([0, 1, 8, 0xA, 0xE, 0xF], n, p=[0.45, 0.45, 0.04, 0.02, 0.02, 0.02])
    kind[0] = 8
    words[:] = kind << 28 | rng.integers(0, 2**28, n)
    is_high = kind == 8
    # Beyond 2³² µs half-way through, so that both widths of time are met.
    words[is_high] = 8 << 28 | (2**26 - np.count_nonzero(is_high) // 2 + np.arange(np.count_nonzero(is_high)))
    path = tmp_path / "a.raw"
    path.write_bytes(HEADER + words.astype("<u4").tobytes())
    theirs = Wizard("evt2").read(path)
    ours = np.concatenate([p.events for p in open_source(path).packets()])
    assert len(ours) == len(theirs) == np.count_nonzero(kind < 2)
    for key in "xytp":
        assert (ours[key] == theirs[key]).all()


@pytest.mark.parametrize("kind", [0x2, 0x7, 0x9, 0xB, 0xC, 0xD])
def test_words_of_unknown_types_are_passed_over(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(HEADER + pack([high(1), cd(1, 2, 3, 1), kind << 28, *[cd(9, 9, 9, 1)] * 20]))
    events, error = drain_rows(path)
    assert events == [(1, 2, 67, True), *[(9, 9, 73, True)] * 20] and error is None
    path.write_bytes(HEADER + pack([high(1), cd(1, 2, 3, 1), kind << 28, cd(9, 9, 9, 1)]))
    events, error = drain_rows(path)
    assert events == [(1, 2, 67, True), (9, 9, 73, True)]
    assert error is not None and "1 of 4 words" in str(error)


def test_every_cut_yields_what_is_whole(tmp_path: Path) -> None:
    words = [high(3), cd(1, 2, 3, 1), cd(4, 5, 6, 0), high(4), cd(7, 8, 9, 1)]
    data = pack(words)
    path = tmp_path / "a.raw"
    for cut in range(len(data) + 1):
        path.write_bytes(HEADER + data[:cut])
        events, error = drain_rows(path)
        assert events == word_by_word(words[: cut // 4])
        assert (error is None) == (cut % 4 == 0)
        if error is not None:
            assert error.offset == len(HEADER) + cut // 4 * 4


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_flipped_bits_never_crash(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    whole = bytearray(HEADER + pack([high(3), cd(1, 2, 3, 1), cd(4, 5, 6, 0), 0xE0000000, high(4), cd(7, 8, 9, 1)]))
    for bit in data.draw(st.lists(st.integers(0, 8 * len(whole) - 1), min_size=1, max_size=4)):
        whole[bit // 8] ^= 1 << bit % 8
    path = tmp_path_factory.getbasetemp() / "flipped.raw"
    path.write_bytes(whole)
    events, _ = drain_rows(f"{path}?format=evt2&width=640&height=480")
    assert len(events) <= len(whole) // 4


def test_memory_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(HEADER + pack([high(0)]) + pack([cd(1, 1, 1, 1)]) * 4_000_000)
    next(iter(open_source(path).packets()))  # numba, and the compiled loop, are in memory from now on
    tracemalloc.start()
    assert sum(len(p) for p in open_source(path).packets()) == 4_000_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_real_recording(recordings: Path) -> None:
    e = np.concatenate([p.events for p in open_source(recordings / "gen3_evt2.raw").packets()])
    t = e["t"] - e["t"][0]
    assert (len(e), t[-1], t.sum(), e["x"].sum(), e["y"].sum(), e["p"].sum()) == (
        539481, 50000, 13364739784, 171811022, 110162026, 367855,
    )  # fmt: skip
