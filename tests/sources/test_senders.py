"""Who is followed where several senders use one name: over sockets, and against a clock of the test's."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import numpy as np
import pytest

from stream_ottt.events.packet import EventPacket, make_events
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.live import feed, topics
from stream_ottt.live.zmq_sender import Sender
from stream_ottt.live.zmq_socket import SocketOptions
from stream_ottt.sources import senders
from stream_ottt.sources.opening import open_source
from stream_ottt.sources.senders import Senders
from stream_ottt.sources.zmq import ZmqSource

ONE, TWO = "1" * 16, "2" * 16


def message(sender: str, seq: int, t: int, *, n: int = 3) -> list[bytes | memoryview]:
    events = make_events([1] * n, [2] * n, [t] * n, [1] * n)
    return feed.pack_events("cam", seq, events, 8, 8, t=t, eos=not n, sender=sender)


def received(*messages: list[bytes | memoryview], query: str = "") -> tuple[list[int], ZmqSource]:
    """Times of the packets that a source gives of these messages, and the source."""

    async def both() -> tuple[list[EventPacket], ZmqSource]:
        sender = Sender("zmq+push://127.0.0.1:0", SocketOptions(bind=True))
        source = open_source(sender.endpoint.replace("tcp", "zmq+pull") + query)
        assert isinstance(source, ZmqSource)

        async def collect() -> list[EventPacket]:
            return [packet async for packet in source]

        reading = asyncio.create_task(collect())
        try:
            for frames in messages:
                await sender.send(frames, 20)
            return await reading, source
        finally:
            reading.cancel()
            await sender.close()

    packets, source = asyncio.run(asyncio.wait_for(both(), 30))
    return [int(packet.events["t"][0]) for packet in packets], source


@pytest.mark.parametrize("other", [TWO, ""])
def test_two_senders_of_one_name_are_not_mixed(other: str) -> None:
    """The second is no endless restart of the first, and its end is not the first one's."""
    mixed = [message(other, 500 + i, 10**9 + i) for i in range(50)]
    first = [message(ONE, i, 1000 * i) for i in range(50)]
    woven = [each for pair in zip(first, mixed, strict=True) for each in pair]
    times, source = received(*woven, message(other, 550, 10**9, n=0), message(ONE, 50, 50_000, n=0))
    assert times == [1000 * i for i in range(50)]
    facts = source.statistics()
    assert facts["refused_messages"] == 51
    assert (facts["lost_messages"], facts["interruptions"], facts["malformed_messages"]) == (0, 0, 0)


def test_senders_that_do_not_say_who_they_are_are_told_apart_by_their_numbers() -> None:
    woven = [each for i in range(50) for each in (message("", 100 + i, 1000 * i), message("", i, 10**9))]
    times, source = received(*woven, message("", 150, 50_000, n=0))
    assert times == [1000 * i for i in range(50)]
    assert source.statistics()["refused_messages"] == 50 and source.statistics()["lost_messages"] == 0


def test_a_sender_that_comes_back_is_followed_with_what_it_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(senders, "AWAY_S", 0.0)
    times, source = received(
        message(ONE, 0, 50_000), message(ONE, 1, 60_000), message(TWO, 4, 100), message(TWO, 5, 0, n=0)
    )
    assert len(times) == 3 and times[2] >= 60_000  # its clock began anew
    facts = source.statistics()
    assert (facts["interruptions"], facts["lost_messages"], facts["refused_messages"]) == (1, 4, 0)


def test_after_the_end_another_sender_is_followed_at_once() -> None:
    ended = message(ONE, 1, 0, n=0)
    times, source = received(
        message(ONE, 0, 0), ended, ended, message(TWO, 0, 90_000), message(TWO, 1, 0, n=0), query="?follow&idle=300ms"
    )
    assert times == [0, 90_000]
    assert source.statistics()["refused_messages"] == 0


def test_who_is_silent_for_a_while_gives_way() -> None:
    now = [0.0]
    followed = Senders(lambda: now[0])
    assert followed.takes("a") and not followed.takes("b")
    now[0] += senders.AWAY_S - 0.01
    assert not followed.takes("b") and followed.takes("a")
    now[0] += senders.AWAY_S
    assert followed.takes("b") and not followed.takes("a")
    assert followed.refused == 3


@pytest.mark.parametrize("sender", [7, None, "x" * 65, "\x1b[2J", "\ud800"])
def test_names_of_senders_are_short_text(sender: object) -> None:
    with pytest.raises(topics.FeedError, match="sender"):
        feed._sender(sender)


def test_datagrams_of_a_second_sender_are_not_mixed_in() -> None:
    def datagram(t: int) -> bytes:
        return feed.to_wire(make_events([1], [1], [t], [1])).tobytes()

    async def go() -> tuple[list[EventPacket], dict[str, int]]:
        source = open_source("udp://127.0.0.1:0?width=8&height=8&format=t64_x16_y16_on8&idle=300ms")
        stream = aiter(source)
        reading = asyncio.ensure_future(anext(stream))
        while not source.port:  # type: ignore[attr-defined]  # noqa: ASYNC110 - a few turns of the loop
            await asyncio.sleep(0)
        with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
            for each in (one, two):
                each.connect(("127.0.0.1", source.port))  # type: ignore[attr-defined]
            for i in range(20):
                one.send(datagram(i))
                two.send(datagram(10**9))
            packets = [await reading]
            packets += [packet async for packet in stream]
        return packets, source.statistics()

    packets, facts = asyncio.run(asyncio.wait_for(go(), 30))
    assert np.concatenate([packet.events["t"] for packet in packets]).tolist() == list(range(20))
    assert facts["refused_datagrams"] == 20 and facts["datagrams"] == 20


def test_labels_of_the_sender_that_is_not_followed_are_not_mixed_in() -> None:
    """Those that do not say whose they are may be anybody's who knows what is shown."""

    def label(sender: str, label: int) -> list[bytes]:
        return feed.pack_label("cam", LabelInterval(0, 10, label), sender=sender)

    async def go() -> tuple[list[int], dict[str, Any]]:
        sender = Sender("zmq+push://127.0.0.1:0", SocketOptions(bind=True))
        source = open_source(sender.endpoint.replace("tcp", "zmq+pull"))
        came: list[LabelInterval] = []
        source.on_label = came.append

        async def send() -> None:
            sent = [message(ONE, 0, 0), label(ONE, 1), label(TWO, 2), label("", 3), message(ONE, 1, 9, n=0)]
            for frames in sent:
                await sender.send(frames, 20)

        sending = asyncio.create_task(send())
        async for _ in source:
            pass
        await sending
        await sender.close()
        return [interval.label for interval in came], source.statistics()

    came, facts = asyncio.run(asyncio.wait_for(go(), 30))
    assert came == [1, 3] and (facts["label_messages"], facts["refused_messages"]) == (2, 1)


def test_what_was_refused_of_a_sender_that_is_followed_later_was_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both go on; then the first is gone."""
    source = open_source("zmq+pull://127.0.0.1:1")
    assert isinstance(source, ZmqSource)
    now = [0.0]
    source._senders = Senders(lambda: now[0])
    for i in range(10):
        source.take(message(ONE, i, 1000 * i))
        source.take(message(TWO, 3 + i, 10**6))  # it had begun before
    now[0] += senders.AWAY_S
    packet, _ = source.take(message(TWO, 13, 10**6))
    assert packet is not None
    facts = source.statistics()
    assert (facts["refused_messages"], facts["lost_messages"], facts["interruptions"]) == (10, 3, 1)
