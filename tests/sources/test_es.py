"""Event Stream: against a state machine byte by byte, golden bytes, and the same events as text; and damage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import drain_rows

from stream_ottt.sources.es import EventStreamSource
from stream_ottt.sources.opening import open_source

HEAD = b"Event Stream\x02\x00\x00\x01"


def header(width: int = 320, height: int = 240, *, atis: bool = False) -> bytes:
    return HEAD[:-1] + bytes([1 + atis]) + width.to_bytes(2, "little") + height.to_bytes(2, "little")


def byte_by_byte(body: bytes, height: int = 240) -> tuple[list[tuple[int, int, int, bool]], int]:
    """The events, and how many bytes of a last one there are."""
    t, out, event = 0, [], []
    for b in body:
        if not event and b >= 0xFE:
            t += 127 if b == 0xFF else 0
            continue
        event.append(b)
        if len(event) == 5:
            t += event[0] >> 1
            x, y = event[1] | event[2] << 8, height - 1 - (event[3] | event[4] << 8)
            out.append((x if x < 2**15 else -1, y if 0 <= y < 2**15 else -1, t, bool(event[0] & 1)))
            event = []
    return out, len(event)


def test_golden_bytes(tmp_path: Path) -> None:
    body = (
        bytes.fromhex("0b 0300 0000") + bytes.fromhex("ff fe ff 02 3f01 ef00") + bytes.fromhex("fd feff fefe") + b"\xff"
    )
    (tmp_path / "a").write_bytes(header() + body)
    source = open_source(tmp_path / "a")
    assert isinstance(source, EventStreamSource)
    events = [(3, 239, 5, True), (319, 0, 5 + 254 + 1, False), (-1, -1, 260 + 126, True)]
    assert drain_rows(source) == (events, None)
    packet = next(source.packets())
    assert (packet.width, packet.height) == (320, 240)


# Bytes that look like pauses are frequent, so that they fall everywhere in an event.
BODY = st.lists(st.one_of(st.sampled_from([0xFF, 0xFE, 0xFD, 0]), st.integers(0, 255)), max_size=200).map(bytes)


@settings(deadline=None, max_examples=150)
@given(body=BODY, chunk=st.integers(1, 40), height=st.sampled_from([1, 240, 40000]))
def test_decodes_as_a_state_machine_whatever_the_pieces(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, chunk: int, height: int
) -> None:
    path = tmp_path_factory.mktemp("e") / "a.es"
    path.write_bytes(header(height=height) + body)
    expected, left = byte_by_byte(body, height)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stream_ottt.sources.es.CHUNK", chunk)
        events, error = drain_rows(EventStreamSource.from_options(path=path))
    assert events == expected
    assert (error is not None) == (left > 0)
    if error:
        assert error.offset == 20 + len(body) - left and "truncated" in str(error)


def atis_byte_by_byte(body: bytes, height: int) -> tuple[list[tuple[int, int, int, bool]], int]:
    """The change-detection events, and how many bytes of a last event there are."""
    t, out, event = 0, [], []
    for b in body:
        if not event and b >> 2 == 63:
            t += 63 * (b & 3)
            continue
        event.append(b)
        if len(event) == 5:
            t += event[0] >> 2
            x, y = event[1] | event[2] << 8, height - 1 - (event[3] | event[4] << 8)
            if not event[0] & 1:
                out.append((x if x < 2**15 else -1, y if 0 <= y < 2**15 else -1, t, bool(event[0] >> 1 & 1)))
            event = []
    return out, len(event)


@settings(deadline=None, max_examples=100)
@given(body=BODY, chunk=st.integers(1, 40), height=st.sampled_from([1, 240, 40000]))
def test_an_atis_as_a_state_machine_whatever_the_pieces(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, chunk: int, height: int
) -> None:
    path = tmp_path_factory.mktemp("e") / "a.es"
    path.write_bytes(header(height=height, atis=True) + body)
    expected, left = atis_byte_by_byte(body, height)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stream_ottt.sources.es.CHUNK", chunk)
        events, error = drain_rows(EventStreamSource.from_options(path=path))
    assert events == expected and (error is not None) == (left > 0)


ENCODE = """
import sys
import event_stream, numpy as np
rng = np.random.default_rng(1)
events = np.zeros(5000, event_stream.atis_dtype)
events["t"] = np.cumsum(rng.integers(0, 300, len(events)))
events["x"], events["y"] = rng.integers(0, 304, len(events)), rng.integers(0, 240, len(events))
events["exposure"], events["polarity"] = rng.random((2, len(events))) < 0.5
with event_stream.Encoder(sys.argv[1] + ".es", "atis", 304, 240) as encoder:
    encoder.write(events)
np.save(sys.argv[1], np.stack([events[name].astype(int) for name in ("x", "y", "t", "polarity", "exposure")], axis=1))
"""


def test_an_atis_of_the_package_event_stream(tmp_path: Path) -> None:
    pytest.importorskip("event_stream", reason="has no wheels for this Python")
    # In a process of its own: its dtype leaves numpy's booleans with another name.
    subprocess.run([sys.executable, "-c", ENCODE, str(tmp_path / "a")], check=True)
    events, error = drain_rows(EventStreamSource.from_options(path=tmp_path / "a.es"))
    theirs = np.load(tmp_path / "a.npy").tolist()
    assert error is None
    assert events == [(x, 239 - y, t, bool(p)) for x, y, t, p, exposure in theirs if not exposure]


def test_every_truncation_of_the_header_and_every_flipped_bit_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.es"
    data = bytearray(header() + bytes(10))
    for n in range(20):
        path.write_bytes(data[:n])
        assert drain_rows(EventStreamSource.from_options(path=path))[1] is not None
    for bit in range(8 * 20):
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        events, error = drain_rows(EventStreamSource.from_options(path=path))
        # The minor versions and the sensor's size may be anything.
        assert (error is None) == (bit // 8 in (13, 14) or bit // 8 >= 16) and bool(events) == (error is None)
        data[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize(
    ("head", "message", "offset"),
    [
        (b"Event Stream\x01\x00\x00\x01", "version 1", 12),
        (b"Event Stream\x02\x00\x00\x00", "holds generic events", 15),
        (b"Event Stream\x02\x00\x00\x04", "holds colour events", 15),
        (b"Event Stream\x02\x00\x00\x09", "unknown type 9", 15),
        (header(0, 240), "a sensor of 0×240", 16),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, head: bytes, message: str, offset: int) -> None:
    (tmp_path / "a.es").write_bytes(head + bytes(20))
    _, error = drain_rows(EventStreamSource.from_options(path=tmp_path / "a.es"))
    assert message in str(error) and error is not None and error.offset == offset


def test_the_real_recording_and_its_twin_as_text_hold_the_same_events(recordings: Path) -> None:
    ours = [np.concatenate([p.events for p in open_source(recordings / name).packets()])  # type: ignore[attr-defined]
            for name in ("dvs.es", "dvs_es_twin.csv")]  # fmt: skip
    np.testing.assert_array_equal(ours[0], ours[1])
    events = ours[0]
    sums = [int((events["t"] - events["t"][0]).sum()), *(int(events[k].sum(dtype=np.int64)) for k in "xyp")]
    assert (len(events), sums) == (473225, [200862071000, 72946016, 56007796, 270001])
