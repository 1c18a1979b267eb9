"""The Zenoh source between two peers: what comes, what is refused, what finds no room, who is let in."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
import zenoh
from source_recipes import free_port

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import EventArray, EventPacket, make_events
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.live import feed
from stream_ottt.live.zenoh_peer import ZenohOptions, ZenohSender, open_peer
from stream_ottt.sources.opening import open_source
from stream_ottt.sources.zenoh import Waiting, ZenohSource

LIMIT = 60.0


def some_events(t0: int, n: int = 10) -> EventArray:
    return make_events(np.arange(n), np.arange(n), t0 + np.arange(n) * 10, np.arange(n) % 2)


def message(seq: int, t0: int, name: str = "cam", size: tuple[int, int] = (64, 64)) -> bytes:
    return feed.join_frames(feed.pack_events(name, seq, some_events(t0), *size))


def last(seq: int) -> bytes:
    return feed.join_frames(feed.pack_events("cam", seq, some_events(0, 0), 64, 64, eos=True))


async def collect(source: ZenohSource) -> list[EventPacket]:
    async with asyncio.timeout(LIMIT):
        return [packet async for packet in source]


def receive(
    send: Callable[[ZenohSender], Awaitable[None]], query: str = "", labels: list[LabelInterval] | None = None
) -> tuple[list[EventPacket], ZenohSource]:
    """What a source takes of what ``send`` sends; the reader is there first."""

    async def both() -> tuple[list[EventPacket], ZenohSource]:
        endpoint = f"tcp/127.0.0.1:{free_port()}"
        source = open_source(f"zenoh://cams/**?connect={endpoint}{query}")
        assert isinstance(source, ZenohSource)
        source.on_label = None if labels is None else labels.append
        reading = asyncio.create_task(collect(source))
        sender = ZenohSender("zenoh://cams/left", ZenohOptions(listen=endpoint))
        try:
            await sender.wait_for_readers(1, b"", LIMIT)
            await send(sender)
            return await reading, source
        finally:
            reading.cancel()
            await sender.close()

    return asyncio.run(both())


def raw(*payloads: bytes) -> Callable[[ZenohSender], Awaitable[None]]:
    """Puts payloads as they are, by Zenoh's own publisher."""

    async def send(sender: ZenohSender) -> None:
        for payload in payloads:
            await asyncio.to_thread(sender._publisher.put, payload)

    return send


def times(packets: list[EventPacket]) -> list[int]:
    return np.concatenate([p.events["t"] for p in packets]).tolist()


def test_events_and_labels_arrive_as_they_were_sent() -> None:
    interval = LabelInterval(0, 500, 3)
    labels: list[LabelInterval] = []

    async def send(sender: ZenohSender) -> None:
        for seq in range(50):
            await sender.send(feed.pack_events("cam", seq, some_events(seq * 1000, 10_000), 346, 260))
        await sender.send(feed.pack_label("cam", interval))
        await sender.send_last(feed.pack_events("cam", 50, some_events(0, 0), 346, 260, eos=True), LIMIT)

    packets, source = receive(send, labels=labels)
    expected = np.concatenate([some_events(seq * 1000, 10_000) for seq in range(50)])
    assert np.array_equal(np.concatenate([p.events for p in packets]), expected)
    assert {(p.width, p.height) for p in packets} == {(346, 260)}
    assert labels == [interval]
    facts = source.statistics()
    assert (facts["messages"], facts["malformed_messages"], facts["lost_messages"]) == (51, 0, 0)
    assert (facts["topic"], facts["dropped_messages"]) == ("cam", 0)


HOSTILE = {
    "nothing": b"",
    "no frames": b"\x01",
    "a length beyond the end": b"\xff\xff\xff\xff" + b"events/cam",
    "too many frames": feed.join_frames([b"events/cam"] * 4),
    "empty frames without end": bytes(4000),
    "another kind": feed.join_frames([b"secrets/cam", b"{}"]),
    "no text": feed.join_frames([b"\xff\xfe", b"{}"]),
    "no header": feed.join_frames([b"events/cam"]),
    "no JSON": feed.join_frames([b"events/cam", b"{", b""]),
    "a payload too short": message(1, 0)[:-26] + (117).to_bytes(4, "little"),
    "another sensor": message(1, 0, size=(32, 32)),
    "a label that ends before it starts": feed.join_frames([b"labels/cam", b'{"v":1,"t0":5,"t1":4,"class":1}']),
}


def test_what_is_malformed_is_counted_and_stops_nothing() -> None:
    packets, source = receive(raw(message(0, 0), *HOSTILE.values(), message(1, 1000), last(2)))
    assert times(packets) == [*range(0, 100, 10), *range(1000, 1100, 10)]
    facts = source.statistics()
    assert (facts["messages"], facts["malformed_messages"], facts["lost_messages"]) == (3, len(HOSTILE), 0)
    assert len(facts["malformed"]) == 10
    for name in ("no frames", "a length beyond the end", "too many frames", "empty frames without end"):
        assert "at most 3 frames" in facts["malformed"][list(HOSTILE).index(name)]


def test_a_message_that_is_too_large_is_lost_by_its_number() -> None:
    large = feed.join_frames(feed.pack_events("cam", 1, some_events(500, 20_000), 64, 64))
    packets, source = receive(raw(message(0, 0), large, message(2, 1000), last(3)), "&max_bytes=65536")
    assert times(packets) == [*range(0, 100, 10), *range(1000, 1100, 10)]
    assert source.statistics()["lost_messages"] == 1


def test_other_sources_are_left_alone() -> None:
    packets, source = receive(raw(message(0, 0, "other"), message(0, 1000), last(1)), "&topic=cam")
    assert times(packets) == list(range(1000, 1100, 10))
    assert source.statistics()["other_messages"] == 1


def test_silence_ends_it_where_it_is_asked_to() -> None:
    packets, _ = receive(raw(message(0, 0)), "&idle=300ms")
    assert times(packets) == list(range(0, 100, 10))


class Sample:
    def __init__(self, payload: bytes) -> None:
        self.payload = zenoh.ZBytes(payload)


@pytest.mark.parametrize(("room", "kept"), [((2, 1 << 20), 2), ((100, 25), 2), ((100, 9), 0)])
def test_what_waits_is_bounded_in_messages_and_bytes(room: tuple[int, int], kept: int) -> None:
    async def go() -> None:
        waiting = Waiting(*room)
        thread = threading.Thread(target=lambda: [waiting.put(Sample(bytes([i] * 10))) for i in range(5)])  # type: ignore[arg-type]
        thread.start()
        thread.join()
        assert waiting.dropped == 5 - kept
        assert [await waiting.get(LIMIT) for _ in range(kept)] == [bytes([i] * 10) for i in range(kept)]
        assert await waiting.get(0.01) is None
        if kept:
            waiting.put(Sample(b"room again"))  # type: ignore[arg-type]
            assert await waiting.get(LIMIT) == b"room again"

    asyncio.run(go())


def test_a_reader_that_is_left_has_left_the_network() -> None:
    async def go() -> None:
        endpoint = f"tcp/127.0.0.1:{free_port()}"
        sender = ZenohSender("zenoh://cams/left", ZenohOptions(listen=endpoint))
        reading = asyncio.create_task(collect(open_source(f"zenoh://cams/left?connect={endpoint}")))  # type: ignore[arg-type]
        try:
            await sender.wait_for_readers(1, b"", LIMIT)
            reading.cancel()
            assert await sender._until(False, LIMIT)
        finally:
            await sender.close()

    asyncio.run(go())


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("zenoh://cams/left", "nobody can be reached"),
        ("zenoh://cams//left?scout=true", "empty chunks"),
        ("zenoh://?scout=true", "write it as"),
        ("zenoh://cams?connect=127.0.0.1:7447", "tcp/127.0.0.1:7447"),
        ("zenoh://cams?connect=tcp/127.0.0.1:0", "no endpoint"),
        ("zenoh://cams?listen=tcp/127.0.0.1:70000", "no endpoint"),
        ("zenoh://cams?listen=tcp/0.0.0.0:7447", "insecure"),
        ("zenoh://cams?listen=tcp/[::]:7447", "insecure"),
        ("zenoh://cams?scout=true&max_bytes=100", "max_bytes"),
    ],
)
def test_addresses_that_cannot_be_used(uri: str, words: str) -> None:
    with pytest.raises(UsageError) as e:
        open_source(uri)
    assert words in str(e.value) and "\n" not in str(e.value)


def test_a_port_that_is_taken() -> None:
    options = ZenohOptions(listen=f"tcp/127.0.0.1:{free_port()}")
    session = open_peer("zenoh://a", options, writes=False)
    try:
        with pytest.raises(InputError, match=r"zenoh://a: cannot be opened: .*in use.*; choose another host or port$"):
            open_peer("zenoh://a", options, writes=False)
    finally:
        session.close()


def test_a_peer_listens_only_where_it_is_told_to() -> None:
    import psutil

    def ports() -> set[Any]:
        return {c.laddr for c in psutil.Process().net_connections() if c.status == "LISTEN" or c.type == 2}

    before = ports()
    session = open_peer("zenoh://a", ZenohOptions(connect=f"tcp/127.0.0.1:{free_port()}"), writes=False)
    try:
        assert ports() == before
    finally:
        session.close()


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zenoh", None)
    with pytest.raises(UsageError, match=r"pip install 'stream-ottt\[zenoh\]'$"):
        open_source("zenoh://cams?scout=true")
