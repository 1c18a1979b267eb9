"""EVT 2.1 against a decoder written word by word, in both orders of its halves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_ottt.errors import InputError
from stream_ottt.sources.opening import open_source

SIZE = b"%% evt 2.1\n%% format EVT21;height=480;width=640%s\n%% end\n"
Event = tuple[int, int, int, bool]


def word_by_word(words: list[tuple[int, int]]) -> list[Event]:
    """Events of pairs (head, pixels)."""
    out: list[Event] = []
    time, last, wraps = -1, 0, 0
    for head, pixels in words:
        kind = head >> 28
        if kind == 8:
            high = head & 0xFFFFFFF
            wraps += last - high >= 2**28 * 15 // 16
            last = high
            time = (high + (wraps << 28)) << 6
        elif kind <= 1:
            x, y, low = head >> 11 & 0x7FF, head & 0x7FF, head >> 22 & 0x3F
            out += [(x + i, y, time | low, kind == 1) for i in range(32) if pixels >> i & 1]
    return out


def pack(words: list[tuple[int, int]], legacy: bool) -> bytes:
    return b"".join(
        b"".join(half.to_bytes(4, "little") for half in (pair if legacy else reversed(pair))) for pair in words
    )


def drain(path: Path) -> tuple[list[Event], InputError | None]:
    events: list[Event] = []
    try:
        for packet in open_source(path).packets():  # type: ignore[attr-defined]
            assert (packet.width, packet.height) == (640, 480)
            inside = (packet.events["x"] < 640) & (packet.events["y"] < 480) & (packet.events["t"] >= 0)
            assert not packet.well_formed or inside.all()
            events += packet.events.tolist()
    except InputError as e:
        return events, e
    return events, None


def high(t: int) -> tuple[int, int]:
    return 8 << 28 | t, 0


WORDS = st.one_of(
    st.tuples(st.integers(0, 2**29 - 1), st.integers(0, 2**32 - 1)),
    st.tuples(st.sampled_from([0xA, 0xE, 0xF]).map(lambda kind: kind << 28 | 5), st.integers(0, 2**32 - 1)),
    st.integers(0, 2**28 - 1).map(high),
)


@settings(max_examples=100)
@given(st.lists(WORDS, max_size=40), st.booleans())
@pytest.mark.parametrize("says", [True, False])
def test_as_word_by_word(
    tmp_path_factory: pytest.TempPathFactory, says: bool, words: list[tuple[int, int]], legacy: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "a.raw"
    # Where the header does not say the order, words of time tell it: cameras send them all the time.
    words = [pair if pair[1] else (pair[0], 1) if pair[0] >> 28 != 8 else pair for pair in words]
    words = [high(1)] + [w for pair in words for w in (pair, high(2), high(2))]
    order = (b";endianness=legacy" if legacy else b";endianness=little") if says else b""
    path.write_bytes(SIZE % order + pack(words, legacy))
    assert drain(path) == (word_by_word(words), None)


def test_no_more_than_a_packets_worth_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(SIZE % b"" + pack([high(1), *[(1 << 28 | 5, 2**32 - 1)] * 10_000], legacy=False))
    lengths = [len(p) for p in open_source(path).packets()]  # type: ignore[attr-defined]
    assert sum(lengths) == 320_000 and max(lengths) <= 2 << 16


def test_every_cut_yields_what_is_whole(tmp_path: Path) -> None:
    words = [high(3), (1 << 28 | 9, 5), high(4), (7 << 11 | 3, 1 << 31)]
    path = tmp_path / "a.raw"
    for cut in range(33):
        path.write_bytes(SIZE % b"" + pack(words, legacy=False)[:cut])
        events, error = drain(path)
        assert events == word_by_word(words[: cut // 8]) and (error is None) == (cut % 8 == 0)


def test_an_order_of_bytes_that_is_not_known(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(SIZE % b";endianness=big" + pack([high(3)], legacy=False))
    _, error = drain(path)
    assert error is not None and "byte order 'big'" in str(error) and error.offset == len(b"% evt 2.1\n")


def test_words_of_time_are_believed_before_the_header(tmp_path: Path) -> None:
    words = [w for k in range(9) for w in (high(k), (1 << 28 | 9 << 11 | 5, 5))]
    path = tmp_path / "a.raw"
    for legacy in (False, True):
        path.write_bytes(SIZE % (b";endianness=little" if legacy else b";endianness=legacy") + pack(words, legacy))
        assert drain(path) == (word_by_word(words), None)


def test_random_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    for seed in range(20):
        path.write_bytes(SIZE % b"" + np.random.default_rng(seed).bytes(1000))
        drain(path)
