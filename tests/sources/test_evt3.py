"""EVT 3.0 against a word-by-word decoder, the packages evt3 and faery, and recordings."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import drain_rows

from stream_ottt.events.packet import EVENT_DTYPE, EventArray
from stream_ottt.sources.opening import open_source
from stream_ottt.sources.prophesee.words import Evt3Decoder

HEADER = b"% evt 3.0\n% format EVT3;height=480;width=640\n% geometry 640x480\n% end\n"
ADDR_Y, ADDR_X, BASE_X, VECT_12, VECT_8, LOW, HIGH, TRIGGER = (
    k << 12 for k in (0x0, 0x2, 0x3, 0x4, 0x5, 0x6, 0x8, 0xA)
)
Event = tuple[int, int, int, bool]


def pack(words: list[int]) -> bytes:
    return np.array(words, "<u2").tobytes()


def decode(decoder: Evt3Decoder, words: list[int]) -> EventArray:
    parts = list(decoder.decode(np.array(words, "<u2").view(np.uint8)))
    return np.concatenate(parts) if parts else np.empty(0, EVENT_DTYPE)


def word_by_word(words: list[int]) -> list[Event]:
    """The format's description, one word at a time, for streams without overflow."""
    out: list[Event] = []
    y = base = 0
    p = False
    t = high = -1
    for word in words:
        kind, value = word >> 12, word & 0xFFF
        if kind == 0x8:
            high = t = value << 12
        elif kind == 0x0:
            y = value & 0x7FF
        elif kind == 0x2:
            out.append((value & 0x7FF, y, t, bool(value >> 11)))
        elif kind == 0x3:
            base, p = value & 0x7FF, bool(value >> 11)
        elif kind in (0x4, 0x5):
            n = 12 if kind == 0x4 else 8
            out += [(base + i, y, t, p) for i in range(n) if value >> i & 1]
            base += n
        elif kind == 0x6 and high >= 0:
            t = high + value
    return out


TYPES = [0x0, 0x2, 0x3, 0x4, 0x5, 0x6, 0x7, 0x8, 0xA, 0xE, 0xF]
WORDS = st.lists(
    # Times that fall by almost their whole range are an overflow, which the plain decoder leaves out.
    st.builds(lambda k, v: k << 12 | (v & 0x7FF if k == 8 else v), st.sampled_from(TYPES), st.integers(0, 0xFFF)),
    max_size=60,
)


def test_golden_words(tmp_path: Path) -> None:
    words = [HIGH | 0x123, LOW | 0x45, ADDR_Y | 7, ADDR_X | 0x800 | 9, TRIGGER | 1, BASE_X | 100]
    words += [VECT_12 | 0b100000000001, VECT_8 | 0b10000010, LOW | 0x46, BASE_X | 0x800 | 20, VECT_12 | 0b10]
    path = tmp_path / "a.raw"
    path.write_bytes(HEADER + pack(words))
    t = 0x123045
    expected = [(9, 7, t, True), (100, 7, t, False), (111, 7, t, False), (113, 7, t, False), (119, 7, t, False)]
    assert drain_rows(path) == ([*expected, (21, 7, t + 1, True)], None)
    (packet,) = open_source(path).packets()
    assert (packet.width, packet.height) == (640, 480)


@settings(deadline=None)
@given(words=WORDS, cuts=st.lists(st.integers(0, 60), max_size=4))
def test_any_cutting_decodes_as_word_by_word(words: list[int], cuts: list[int]) -> None:
    decoder = Evt3Decoder()
    found: list[Event] = []
    for a, b in pairwise([0, *sorted(min(c, len(words)) for c in cuts), len(words)]):
        found += decode(decoder, words[a:b]).tolist()
    assert found == word_by_word(words)


def test_time_goes_on_when_its_24_bits_overflow() -> None:
    words = [HIGH | 0xFFF, LOW | 0xFFF, ADDR_X | 1, HIGH, LOW | 1, ADDR_X | 2]
    assert decode(Evt3Decoder(), words)["t"].tolist() == [2**24 - 1, 2**24 + 1]


def test_an_endless_vector_never_wraps_into_the_sensor() -> None:
    x = decode(Evt3Decoder(), [HIGH, LOW, BASE_X] + [VECT_12 | 0xFFF] * 20_000)["x"]
    assert (x[: 2**15] == np.arange(2**15)).all()
    assert len(x) == 240_000
    assert (x[2**15 :] == -1).all()


@pytest.mark.parametrize("kind", [0x1, 0x9, 0xB, 0xC, 0xD])
def test_words_of_unknown_types_are_counted_and_passed_over(tmp_path: Path, kind: int) -> None:
    """Cameras of other makers add some."""
    path = tmp_path / "a.raw"
    path.write_bytes(HEADER + pack([HIGH, LOW | 5, ADDR_X | 9, kind << 12 | 0xABC, *[ADDR_X | 10] * 20]))
    source = open_source(path)
    assert np.concatenate([p.events for p in source.packets()])["x"].tolist() == [9, *[10] * 20]
    assert source.describe()["unknown_words"] == 1


def test_too_many_words_of_unknown_types_are_an_error_after_the_events(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(HEADER + pack([HIGH, LOW | 5, ADDR_X | 9, 0x9000, ADDR_X | 10]))
    events, error = drain_rows(path)
    assert [x for x, *_ in events] == [9, 10]
    assert error is not None and "1 of 5 words are of types that EVT3 does not have" in str(error)


@pytest.mark.parametrize("after", [65_536 - 6, 65_536, 65_536 + 6])
def test_a_word_of_an_unknown_type_where_a_packet_is_full(after: int) -> None:
    decoder = Evt3Decoder()
    assert len(decode(decoder, [HIGH, LOW] + [ADDR_X | 1] * after + [0x1000, ADDR_X | 2])) == after + 1
    assert (decoder.unknown, decoder.words) == (1, after + 4)


def test_agrees_with_the_package_evt3_on_random_words() -> None:
    import evt3

    rng = np.random.default_rng(2)
    n = 200_000
    kinds = rng.choice(TYPES, n)
    words = kinds << 12 | rng.integers(0, 0x1000, n)
    highs = kinds == 8
    # Two overflows of time.
    words[highs] = 8 << 12 | np.arange(np.count_nonzero(highs)) // 2 & 0xFFF
    words[0] = 8 << 12
    theirs = evt3.Decoder().feed(words.astype("<u2").tobytes())
    ours = decode(Evt3Decoder(), words.tolist())
    assert (ours["t"] == theirs.timestamp).all()
    assert (ours["x"] == theirs.x).all()
    assert (ours["y"] == theirs.y).all()
    assert (ours["p"] == theirs.polarity).all()
    assert ours["t"].max() > 2**25


def test_agrees_with_what_faery_writes(tmp_path: Path) -> None:
    import faery

    rng = np.random.default_rng(1)
    n = 50_000
    events = np.zeros(n, faery.EVENTS_DTYPE)
    events["t"] = np.sort(rng.integers(0, 40_000_000, n))  # over two overflows of time
    events["x"], events["y"] = rng.integers(0, 1280, n), rng.integers(0, 720, n)
    events["on"] = rng.random(n) < 0.5
    path = tmp_path / "a.raw"
    faery.events_stream_from_array(events, (1280, 720)).to_file(path, version="evt3")
    ours = np.concatenate([p.events for p in open_source(path).packets()])
    assert (ours["t"] == events["t"] - events["t"][0]).all()  # faery notes the first time in the header
    for key, theirs in (("x", "x"), ("y", "y"), ("p", "on")):
        assert (ours[key] == events[theirs]).all()


def test_every_cut_yields_what_is_whole(tmp_path: Path) -> None:
    words = [HIGH, LOW | 5, ADDR_Y | 7, ADDR_X | 9, BASE_X | 3, VECT_8 | 0x81, TRIGGER, ADDR_X | 1]
    data = pack(words)
    path = tmp_path / "a.raw"
    for cut in range(len(data) + 1):
        path.write_bytes(HEADER + data[:cut])
        events, error = drain_rows(path)
        assert events == word_by_word(words[: cut // 2])
        assert (error is None) == (cut % 2 == 0)
        if error is not None:
            assert error.offset == len(HEADER) + cut - 1


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_flipped_bits_never_crash(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    words = [HIGH, LOW | 5, ADDR_Y | 7, ADDR_X | 9, BASE_X | 3, VECT_8 | 0x81, TRIGGER, ADDR_X | 1]
    whole = bytearray(HEADER + pack(words))
    for bit in data.draw(st.lists(st.integers(0, 8 * len(whole) - 1), min_size=1, max_size=4)):
        whole[bit // 8] ^= 1 << bit % 8
    path = tmp_path_factory.getbasetemp() / "flipped3.raw"
    path.write_bytes(whole)
    drain_rows(f"{path}?format=evt3&width=640&height=480")


def test_memory_is_bounded_when_every_word_is_twelve_events(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(HEADER + pack([HIGH, LOW]) + pack([BASE_X, VECT_12 | 0xFFF]) * (1 << 18))
    next(iter(open_source(path).packets()))  # numba, and the compiled loop, are in memory from now on
    tracemalloc.start()
    assert sum(len(p) for p in open_source(path).packets()) == 12 << 18
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20


@pytest.mark.parametrize(
    ("name", "sums"),
    [
        ("evk4_evt3.raw", (1218618, 10767997, 4875061980061, 606868036, 367486055, 553295)),
        ("gen3_evt3_triggers.raw", (343474, 2078178, 399250490464, 116731888, 80879209, 125183)),
    ],
)
def test_real_recordings(recordings: Path, name: str, sums: tuple[int, ...]) -> None:
    e = np.concatenate([p.events for p in open_source(recordings / name).packets()])
    t = e["t"] - e["t"][0]
    assert (len(e), t[-1], t.sum(), e["x"].sum(), e["y"].sum(), e["p"].sum()) == sums
