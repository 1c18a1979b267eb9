"""The ZeroMQ source with real sockets: what comes, what is lost, who is let in."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from stream_ottt.cli.keys import new
from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import EventArray, EventPacket, make_events
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.live import feed
from stream_ottt.live.zmq_sender import Sender
from stream_ottt.live.zmq_socket import SocketOptions
from stream_ottt.sources.opening import open_source
from stream_ottt.sources.zmq import ZmqSource

LIMIT = 60.0

# Another process, with another encoder: pyzmq and struct.
PLAIN_SENDER = """
import json, struct, sys, zmq
socket = zmq.Context().socket(getattr(zmq, sys.argv[1]))
port = socket.bind_to_random_port("tcp://127.0.0.1")
print(port, flush=True)
if sys.argv[1] == "XPUB":
    while socket.recv() != b"\\x01events/cam":
        pass
t = 0
for seq in range(int(sys.argv[2])):
    payload = b""
    for i in range(100):
        t += 3
        payload += struct.pack("<QHHB", t, t % 346, t % 260, t % 2)
    head = dict(v=1, seq=seq, n=100, t0=t - 297, t1=t, width=346, height=260, encoding="raw", eos=False,
                dtype=[["t", "<u8"], ["x", "<u2"], ["y", "<u2"], ["p", "?"]])
    socket.send_multipart([b"events/cam", json.dumps(head).encode(), payload])
head.update(seq=seq + 1, n=0, eos=True)
socket.send_multipart([b"events/cam", json.dumps(head).encode(), b""])
socket.close(linger=20000)
"""


def some_events(t0: int, n: int = 10) -> EventArray:
    return make_events(np.arange(n), np.arange(n), t0 + np.arange(n) * 10, np.arange(n) % 2)


def message(seq: int, t0: int, name: str = "cam", size: tuple[int, int] = (64, 64)) -> list[Any]:
    return feed.pack_events(name, seq, some_events(t0), *size)


def last(seq: int, name: str = "cam", t: int = 0) -> list[Any]:
    return feed.pack_events(name, seq, some_events(0, 0), 64, 64, t=t, eos=True)


async def collect(source: ZmqSource) -> list[EventPacket]:
    async with asyncio.timeout(LIMIT):
        return [packet async for packet in source]


def receive(send: Callable[[Sender], Awaitable[None]], query: str = "") -> tuple[list[EventPacket], ZmqSource]:
    """What a source takes of what ``send`` sends over PUSH and PULL."""

    async def both() -> tuple[list[EventPacket], ZmqSource]:
        sender = Sender("zmq+push://127.0.0.1:0", SocketOptions(bind=True))
        source = open_source(sender.endpoint.replace("tcp", "zmq+pull") + query)
        assert isinstance(source, ZmqSource)
        reading = asyncio.create_task(collect(source))
        try:
            await send(sender)
            return await reading, source
        finally:
            reading.cancel()
            await sender.close()

    return asyncio.run(both())


def send_all(*messages: list[Any]) -> Callable[[Sender], Awaitable[None]]:
    async def send(sender: Sender) -> None:
        for frames in messages:
            await sender.send(frames, LIMIT)

    return send


def times(packets: list[EventPacket]) -> list[int]:
    return np.concatenate([p.events["t"] for p in packets]).tolist()


@pytest.mark.parametrize(("theirs", "ours"), [("PUSH", "zmq+pull"), ("XPUB", "zmq+sub")])
def test_another_process_with_another_encoder(theirs: str, ours: str) -> None:
    count = 200
    process = subprocess.Popen([sys.executable, "-c", PLAIN_SENDER, theirs, str(count)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        source = open_source(f"{ours}://127.0.0.1:{port}?topic=cam")
        packets = asyncio.run(collect(source))
        assert process.wait(LIMIT) == 0
    finally:
        process.kill()
        process.communicate()
    events = np.concatenate([p.events for p in packets])
    t = 3 * np.arange(1, 100 * count + 1)
    assert {(p.width, p.height) for p in packets} == {(346, 260)}
    assert np.array_equal(events, make_events(t % 346, t % 260, t, t % 2))
    facts = source.statistics()
    assert (facts["messages"], facts["lost_messages"], facts["malformed_messages"]) == (count + 1, 0, 0)


def test_lost_messages_are_counted_with_their_span() -> None:
    packets, source = receive(
        send_all(message(5, 0), message(6, 1000), message(9, 5000), message(10, 6000), last(12, t=9000))
    )
    assert len(packets) == 4
    facts = source.statistics()
    assert facts["first_seq"] == 5  # joined late: nothing is lost by that
    assert facts["lost_messages"] == 3
    assert facts["interruptions"] == 2  # the end tells of one more, before it
    gaps = [(gap["t0"], gap["t1"], gap["lost_messages"]) for gap in facts["gaps"]]
    assert gaps == [(1090, 5000, 2), (6090, 9000, 1)]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who begins anew is believed without a pause before."""
    monkeypatch.setattr("stream_ottt.sources.senders.AWAY_S", 0.0)


def test_a_source_that_begins_anew_goes_on_in_time() -> None:
    labels: list[LabelInterval] = []

    async def send(sender: Sender) -> None:
        for frames in (message(0, 50_000), message(1, 60_000), last(2), message(0, 100), message(1, 1100)):
            await sender.send(frames, LIMIT)
        await sender.send(feed.pack_label("cam", LabelInterval(100, 200, 1)), LIMIT)
        await sender.send(message(2, 2100), LIMIT)

    async def both() -> tuple[list[EventPacket], ZmqSource]:
        sender = Sender("zmq+push://127.0.0.1:0", SocketOptions(bind=True))
        source = open_source(sender.endpoint.replace("tcp", "zmq+pull") + "?follow")
        assert isinstance(source, ZmqSource)
        source.on_label = labels.append
        sending = asyncio.create_task(send(sender))
        packets = []
        try:
            async with asyncio.timeout(LIMIT), aclosing(aiter(source)) as stream:
                async for packet in stream:
                    packets.append(packet)
                    if len(packets) == 5:
                        return packets, source
        finally:
            await sending
            await sender.close()
        raise AssertionError("the stream ended, though it is followed")

    packets, source = asyncio.run(both())
    assert np.all(np.diff(times(packets)) > 0)
    facts = source.statistics()
    assert facts["interruptions"] == 1
    assert facts["lost_messages"] == 0
    (gap,) = facts["gaps"]
    assert gap["t0"] == 60_090
    assert gap["t1"] == times(packets)[20]
    assert times(packets)[30] - times(packets)[20] == 1000  # all of it is moved by the same amount
    shift = times(packets)[20] - 100
    assert labels == [LabelInterval(100 + shift, 200 + shift, 1)]


@pytest.mark.usefixtures("at_once")
def test_a_clock_that_runs_on_over_a_restart_is_left_alone() -> None:
    packets, _ = receive(send_all(message(0, 0), message(1, 1000), message(0, 9000), last(1)))
    assert times(packets)[::10] == [0, 1000, 9000]


@pytest.mark.usefixtures("at_once")
def test_a_publisher_that_goes_away_and_comes_back_is_followed_again() -> None:
    async def both() -> tuple[list[EventPacket], dict[str, Any]]:
        sender = Sender("zmq+pub://127.0.0.1:0", SocketOptions(bind=True))
        address = sender.endpoint.replace("tcp", "zmq+pub")
        source = open_source(address.replace("pub", "sub") + "?topic=cam&reconnect=20ms&reconnect_max=20ms")
        reading = asyncio.create_task(collect(source))
        await sender.wait_for_readers(1, b"events/cam", LIMIT)
        await sender.send(message(0, 1000))
        await sender.close()
        sender = Sender(address, SocketOptions(bind=True))
        await sender.wait_for_readers(1, b"events/cam", LIMIT)
        await sender.send(message(0, 1000))
        await sender.send_last(last(1), LIMIT)
        packets = await reading
        await sender.close()
        return packets, source.statistics()

    packets, facts = asyncio.run(both())
    assert len(packets) == 2
    assert times(packets)[10] > times(packets)[9]
    assert facts["interruptions"] == 1


def test_malformed_messages_are_counted_and_the_rest_is_read() -> None:
    wrong: list[list[bytes]] = [
        [b""],
        [b"nonsense/x", b"{}"],
        [b"events/cam"],
        [b"events/cam", b"{}", b""],
        [b"events/cam", b"{}", b"", b""],
        [b"labels/cam", b"{}"],
        [bytes(f) for f in message(1, 0)[:2]] + [b"short"],
        [bytes(f) for f in message(1, 0, size=(128, 128))],
    ]
    packets, source = receive(send_all(message(0, 0), *wrong, message(1, 1000), last(2)))
    assert times(packets)[::10] == [0, 1000]
    facts = source.statistics()
    assert facts["malformed_messages"] == len(wrong)
    assert len(facts["malformed"]) == len(wrong)
    assert "128×128" in facts["malformed"][-1]
    assert facts["lost_messages"] == 0


def test_only_one_source_is_followed() -> None:
    sent = (message(0, 0, "b"), message(0, 0, "ab"), message(1, 1000, "b"), last(1, "ab"), last(2, "b"))
    packets, source = receive(send_all(*sent), "?topic=b")
    assert times(packets)[::10] == [0, 1000]
    assert source.statistics()["other_messages"] == 2
    packets, source = receive(send_all(message(3, 0, "ab"), message(0, 0, "b"), last(1, "b"), last(4, "ab")))
    assert source.statistics()["topic"] == "ab"  # the first that was heard
    assert len(packets) == 1


def test_a_subscriber_gets_no_other_topic_with_the_same_beginning() -> None:
    async def both() -> list[EventPacket]:
        sender = Sender("zmq+pub://127.0.0.1:0", SocketOptions(bind=True))
        reading = asyncio.create_task(collect(open_source(sender.endpoint.replace("tcp", "zmq+sub") + "?topic=a")))
        await sender.wait_for_readers(1, b"events/a", LIMIT)
        for frames in (message(0, 0, "ab"), last(1, "ab"), message(0, 500, "a"), last(1, "a")):
            await sender.send(frames)
        packets = await reading
        await sender.close()
        return packets

    assert times(asyncio.run(both()))[0] == 500


def test_silence_ends_the_stream_where_the_user_says_so() -> None:
    packets, _ = receive(send_all(message(0, 0)), "?idle=300ms")
    assert len(packets) == 1


def test_a_frame_that_is_too_large_is_not_read() -> None:
    async def both() -> list[EventPacket]:
        source = open_source("zmq+pull://127.0.0.1:0?bind&max_bytes=10000")
        assert isinstance(source, ZmqSource)
        reading = asyncio.create_task(collect(source))
        while not source.endpoint:  # noqa: ASYNC110 - a few turns of the loop
            await asyncio.sleep(0)
        address = source.endpoint.replace("tcp", "zmq+push")
        with zmq.Context() as context, context.socket(zmq.PUSH) as giant:
            monitor = giant.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            giant.linger = 0
            giant.connect(source.endpoint)
            giant.send_multipart([b"events/cam", b"{}", bytes(20_000)])
            assert await asyncio.to_thread(monitor.poll, LIMIT * 1000)  # it is shown the door
            giant.disable_monitor()
            monitor.close(0)
        sender = Sender(address, SocketOptions())
        await sender.send(message(0, 0), LIMIT)
        await sender.send(last(1), LIMIT)
        packets = await reading
        await sender.close()
        return packets

    assert len(asyncio.run(both())) == 1


def test_a_reader_that_was_too_slow_hears_of_the_end_all_the_same() -> None:
    """PUB drops without a word what a reader has no room for, and the last message as any other."""

    async def both() -> tuple[list[EventPacket], dict[str, Any]]:
        sender = Sender("zmq+pub://127.0.0.1:0", SocketOptions(bind=True, hwm=1))
        source = open_source(sender.endpoint.replace("tcp", "zmq+sub") + "?topic=cam&hwm=1")
        stream = aiter(source)
        first = asyncio.create_task(anext(stream))
        await sender.wait_for_readers(1, b"events/cam", LIMIT)
        await sender.send(message(0, 0))
        packets = [await asyncio.wait_for(first, LIMIT)]
        sent = 1

        async def send_one() -> None:
            nonlocal sent
            await sender.send(feed.pack_events("cam", sent, some_events(sent * 100_000, 10_000), 64, 64))
            sent += 1

        while sent < 500:  # while nobody reads
            await send_one()

        async def read_on() -> None:
            while packets[-1].events["t"][0] < 500 * 100_000:
                packets.append(await anext(stream))

        reading = asyncio.create_task(read_on())
        async with asyncio.timeout(LIMIT):
            while not reading.done():  # until something comes after what was lost
                await send_one()
                await asyncio.sleep(0)
            await reading
            for _ in range(500):  # and again nobody reads
                await send_one()
            ending = asyncio.create_task(sender.send_last(last(sent), LIMIT))
            async for packet in stream:
                packets.append(packet)
            await ending
        await sender.close()
        return packets, {**source.statistics(), "sent": sent}

    packets, facts = asyncio.run(both())
    assert 0 < facts["lost_messages"] == facts["sent"] - len(packets)
    assert facts["gaps"][-1]["lost_messages"] > 0


# --- who is let in -------------------------------------------------------------------------------------------------


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    assert new(tmp_path / "keys") == 0
    return tmp_path / "keys"


def test_with_the_right_keys_events_come(keys: Path) -> None:
    async def both() -> list[EventPacket]:
        sender = Sender("zmq+push://127.0.0.1:0", SocketOptions(bind=True, keys=keys))
        reading = asyncio.create_task(collect(open_source(f"{sender.endpoint.replace('tcp', 'zmq+pull')}?keys={keys}")))
        await sender.send(message(0, 0), LIMIT)
        await sender.send(last(1), LIMIT)
        packets = await reading
        await sender.close()
        return packets

    assert len(asyncio.run(both())) == 1


@pytest.mark.parametrize("how", ["other keys", "no keys"])
def test_without_the_right_key_nothing_comes(keys: Path, tmp_path: Path, how: str) -> None:
    """Until its handshake has failed; then a client with the right key still gets everything."""
    new(tmp_path / "others")

    async def both() -> tuple[int, list[EventPacket]]:
        sender = Sender("zmq+push://127.0.0.1:0", SocketOptions(bind=True, keys=keys))
        with zmq.Context() as context, context.socket(zmq.PULL) as stranger:
            stranger.linger = 0
            if how == "other keys":
                public, secret = zmq.auth.load_certificate(tmp_path / "others" / "client.key_secret")
                stranger.curve_publickey, stranger.curve_secretkey = public, secret
                # It knows the server's public key, which is no secret, and is still not let in.
                stranger.curve_serverkey = zmq.auth.load_certificate(keys / "server.key")[0]
                wanted = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
            else:
                wanted = zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            monitor = stranger.get_monitor_socket(wanted | zmq.EVENT_DISCONNECTED)
            stranger.connect(sender.endpoint)
            assert await asyncio.to_thread(monitor.poll, LIMIT * 1000)
            reading = asyncio.create_task(
                collect(open_source(f"{sender.endpoint.replace('tcp', 'zmq+pull')}?keys={keys}"))
            )
            await sender.send(message(0, 0), LIMIT)
            await sender.send(last(1), LIMIT)
            packets = await reading
            got = stranger.poll(0)
            stranger.disable_monitor()
            monitor.close(0)
        await sender.close()
        return got, packets

    got, packets = asyncio.run(both())
    assert got == 0
    assert len(packets) == 1


def test_keys_are_for_their_owner_and_not_overwritten(keys: Path) -> None:
    assert {p.name: p.stat().st_mode & 0o777 for p in keys.glob("*_secret")} == {
        "client.key_secret": 0o600,
        "server.key_secret": 0o600,
    }
    with pytest.raises(UsageError, match="is there already"):
        new(keys)


@pytest.mark.parametrize("host", ["*", "0.0.0.0", "192.0.2.7", "[::]", "example.org"])
def test_nobody_is_let_in_from_elsewhere_without_consent(host: str, keys: Path) -> None:
    with pytest.raises(UsageError, match="keys new"):
        open_source(f"zmq+sub://{host}:5555?bind")
    open_source(f"zmq+sub://{host}:5555?bind&insecure")
    open_source(f"zmq+sub://{host}:5555?bind&keys={keys}")
    if host != "*":
        open_source(f"zmq+sub://{host}:5555")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.8.8.8"])
def test_this_machine_may_bind(host: str) -> None:
    open_source(f"zmq+sub://{host}:5555?bind")


@pytest.mark.parametrize(
    ("uri", "complaint"),
    [
        ("zmq+pub://localhost:5555", "unknown source|no source|received with"),
        ("zmq+sub://localhost", "no address of the feed"),
        ("zmq+sub://localhost:99999", "no address of the feed"),
        ("zmq+sub://localhost:5555?topik=a", "did you mean 'topic'"),
        ("zmq+sub://localhost:5555?topic=", "at least one character"),
        ("zmq+sub://localhost:5555?hwm=0", "hwm"),
    ],
)
def test_wrong_addresses_are_refused_in_words(uri: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        open_source(uri)


def test_what_cannot_be_used_is_said_when_it_is_opened(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nobody can be reached"):
        asyncio.run(collect(open_source("zmq+sub://127.0.0.1:0")))
    with pytest.raises(UsageError, match="cannot read the key"):
        asyncio.run(collect(open_source(f"zmq+sub://127.0.0.1:5555?keys={tmp_path}")))
    with zmq.Context() as context, context.socket(zmq.PULL) as other:
        port = other.bind_to_random_port("tcp://127.0.0.1")
        with pytest.raises(InputError, match="cannot be bound"):
            asyncio.run(collect(open_source(f"zmq+pull://127.0.0.1:{port}?bind")))


def test_statistics_are_json() -> None:
    _, source = receive(send_all(message(0, 0), [b""], message(5, 1000), last(6)))
    json.dumps(source.statistics(), allow_nan=False)
