"""The wire format, against bytes written out by hand and a client that shares no code with it."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stream_ottt.events.packet import EVENT_DTYPE, EventPacket, make_events, split_well_formed
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.live import feed, topics
from stream_ottt.live.zmq_sender import Sender
from stream_ottt.live.zmq_socket import SocketOptions

ROOT = Path(__file__).resolve().parents[1]

HEADER = {
    "v": 1,
    "seq": 7,
    "n": 2,
    "t0": 1,
    "t1": 0x0102030405060708,
    "width": 640,
    "height": 480,
    "dtype": [["t", "<u8"], ["x", "<u2"], ["y", "<u2"], ["p", "?"]],
    "encoding": "raw",
    "eos": False,
}
PAYLOAD = bytes.fromhex("0100000000000000 0500 0600 00" + "0807060504030201 7f02 df01 01")


def header(**changes: object) -> bytes:
    return json.dumps({**HEADER, **changes}).encode()


def test_a_message_is_what_the_specification_says() -> None:
    events = make_events([5, 639], [6, 479], [1, 0x0102030405060708], [False, True])
    topic, head, payload = feed.pack_events("cam", 7, events, 640, 480)
    assert topic == b"events/cam"
    assert json.loads(bytes(head)) == HEADER
    assert bytes(payload) == PAYLOAD


def test_a_message_without_events_has_the_latest_time() -> None:
    empty = make_events([], [], [], [])
    _, head, payload = feed.pack_events("s", 3, empty, 8, 8, t=77, eos=True)
    found, events = feed.unpack_events(head, payload)
    assert (found.t0, found.t1, found.eos, len(events)) == (77, 77, True, 0)


def test_the_specified_bytes_are_read() -> None:
    parsed, events = feed.unpack_events(header(), PAYLOAD)
    assert parsed == feed.EventHeader(7, 2, 1, 0x0102030405060708, 640, 480)
    assert events.dtype == EVENT_DTYPE
    assert events.tolist() == [(5, 6, 1, False), (639, 479, 0x0102030405060708, True)]
    events["t"] += 1  # memory of their own, to be moved in time


@given(hnp.arrays(EVENT_DTYPE, st.integers(0, 300)))
def test_events_come_back_as_they_were(events: np.ndarray) -> None:
    events["t"] &= 2**63 - 1
    events["x"] &= 2**15 - 1
    events["y"] &= 2**15 - 1
    events["p"] = events["p"].view(np.uint8) != 0
    _, head, payload = feed.pack_events("a", 0, events, 32768, 32768)
    _, back = feed.unpack_events(bytes(head), bytes(payload))
    assert back.tobytes() == events.tobytes()


def test_a_part_of_an_array_is_packed() -> None:
    events = make_events(np.arange(10), np.arange(10), np.arange(10), np.ones(10))
    payload = feed.pack_events("a", 0, events[3:9:2], 10, 10)[2]
    assert np.frombuffer(payload, feed.WIRE_DTYPE)["x"].tolist() == [3, 5, 7]


def test_what_does_not_fit_turns_malformed_not_valid() -> None:
    records = np.array([(2**63, 1, 1, 1), (5, 32768, 1, 1), (5, 1, 65535, 1), (5, 1, 1, 1)], feed.WIRE_DTYPE)
    _, events = feed.unpack_events(header(n=4), records.tobytes())
    good, malformed = split_well_formed(EventPacket(events, 640, 480))
    assert malformed == 3
    assert good.tolist() == [(1, 1, 5, True)]


def test_any_polarity_byte_but_0_is_one_on() -> None:
    payload = bytearray(PAYLOAD)
    payload[12], payload[25] = 255, 2
    _, events = feed.unpack_events(header(), bytes(payload))
    assert events["p"].view(np.uint8).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("head", "payload", "complaint"),
    [
        (header(v=2), PAYLOAD, "v = '2'"),
        (header(n=3), PAYLOAD, "26 bytes, where n = 3 events take 39"),
        (header(n=2**62), PAYLOAD, "n = 4611686018427387904 events"),
        (header(n=-1), PAYLOAD, "n = '-1'"),
        (header(n=2.0), PAYLOAD, "n = '2.0'"),
        (header(n=True), PAYLOAD, "n = 'True'"),
        (header(seq=-1), PAYLOAD, "seq = '-1'"),
        (header(t0=2**63), PAYLOAD, "t0 = "),
        (header(width=0), PAYLOAD, "width = '0'"),
        (header(height=32769), PAYLOAD, "height = '32769'"),
        (header(dtype=[["t", ">u8"], ["x", "<u2"], ["y", "<u2"], ["p", "?"]]), PAYLOAD, ">u8"),
        (header(encoding="zstd"), PAYLOAD, "encoding 'zstd'"),
        (header(sender=7), PAYLOAD, "sender = 7"),
        (header(sender="x" * 65), PAYLOAD, "sender = "),
        (header(sender="\x1b[2J"), PAYLOAD, "sender = "),
        (header(), PAYLOAD[:-1], "25 bytes"),
        (header(), b"", "0 bytes"),
        (b"", PAYLOAD, "no JSON"),
        (b"\xff\xfe", PAYLOAD, "no JSON"),
        (b"[1]", PAYLOAD, "no JSON object"),
        (b"[" * 4000, PAYLOAD, "no JSON"),
        (b'{"v": 1, "n": ' + b"9" * 4070 + b"}", PAYLOAD, "n = "),
        (b" " * 5000, PAYLOAD, "5000 bytes"),
    ],
)
def test_a_wrong_message_is_refused_in_words(head: bytes, payload: bytes, complaint: str) -> None:
    with pytest.raises(topics.FeedError, match=re.escape(complaint)) as refusal:
        feed.unpack_events(head, payload)
    assert len(str(refusal.value)) < 400


@given(
    st.dictionaries(
        st.sampled_from(sorted(HEADER)), st.none() | st.booleans() | st.integers() | st.text() | st.floats()
    ),
    st.binary(max_size=60),
)
def test_whatever_comes_is_read_or_refused(changes: dict[str, object], payload: bytes) -> None:
    try:
        parsed, events = feed.unpack_events(header(**changes), payload)
    except topics.FeedError:
        return
    assert parsed.n == len(events) == len(payload) // 13


@given(st.binary(max_size=80))
def test_bytes_at_random_are_refused(data: bytes) -> None:
    for read in (feed.unpack_label, feed.unpack_json):
        with pytest.raises(topics.FeedError):
            read(data)


@given(st.integers(0, 2**62), st.integers(1, 2**61), st.integers(0, 10**6))
def test_labels_come_back_as_they_were(start: int, span: int, label: int) -> None:
    topic, head = feed.pack_label("a/b", LabelInterval(start, start + span, label))
    assert topics.split_topic(topic) == ("labels", "a/b")
    assert feed.unpack_label(head) == LabelInterval(start, start + span, label)
    _, head = feed.pack_label("a/b", LabelInterval(start, start + span, label, "bell"))
    assert (feed.unpack_label(head).label, feed.unpack_label(head).name) == (label, "bell")


def test_a_label_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(topics.FeedError, match="ends before it starts"):
        feed.unpack_label(b'{"v":1,"t0":5,"t1":5,"class":1}')
    for name in ('""', "7", '"' + 65 * "x" + '"', '"\\n"', "[]"):
        with pytest.raises(topics.FeedError, match="a class's name is text"):
            feed.unpack_label(f'{{"v":1,"t0":5,"t1":6,"class":1,"name":{name}}}'.encode())


@pytest.mark.parametrize("topic", [b"", b"events", b"other/x", b"\xff/x"])
def test_topics_of_no_kind_are_refused(topic: bytes) -> None:
    if topic == b"events":
        assert topics.split_topic(topic) == ("events", "")
        return
    with pytest.raises(topics.FeedError):
        topics.split_topic(topic)


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("zmq+sub://localhost:5555?topic=cam", "cam"),
        ("zmq+sub://localhost:5555", "localhost:5555"),
        ("/data/walk.aedat4?stream=1", "walk"),
        ("tcp://cam:7777", "cam:7777"),
        ("synthetic:?seed=1", "synthetic"),
    ],
)
def test_a_source_has_a_name(uri: str, name: str) -> None:
    assert topics.source_name(uri) == name


def documented_client() -> str:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "feed.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    assert len([line for line in blocks[0].splitlines() if line.strip()]) <= 15
    return blocks[0]


def test_the_documented_client_reads_the_feed() -> None:
    """A process with nothing but pyzmq and numpy, which sees a message go missing."""

    async def publish() -> str:
        sender = Sender("zmq+pub://127.0.0.1:0", SocketOptions(bind=True))
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-c", documented_client(), sender.endpoint, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            await sender.wait_for_readers(1, b"events/walk", 60)
            events = make_events([1, 2, 3], [4, 5, 6], [7, 8, 9], [0, 1, 0])
            for seq in (0, 1, 3):
                await sender.send(feed.pack_events("walk", seq, events, 10, 10))
            await sender.send_last(feed.pack_events("walk", 4, events[:1], 10, 10, eos=True), 5)
            out, error = await asyncio.wait_for(client.communicate(), 60)
        finally:
            if client.returncode is None:
                client.kill()
            await sender.close()
        assert client.returncode == 0, error.decode()
        return out.decode()

    assert asyncio.run(publish()) == "events/walk: 10 events, 1 messages lost\n"
