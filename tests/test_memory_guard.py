"""A message that never ends: who sends it is cut off before it takes the machine's memory, and others go on."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import zmq
from test_control import asked, command

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EventPacket, make_events
from stream_ottt.live import control, feed
from stream_ottt.live.control import ControlServer
from stream_ottt.live.zmq_sender import Sender
from stream_ottt.live.zmq_socket import SocketOptions
from stream_ottt.memory import resident_bytes
from stream_ottt.sources.opening import open_source
from stream_ottt.sources.zmq import ZmqSource

MIB = 1 << 20
MOST = 512 * MIB
"""What the peer sends where nobody cuts it off."""


@contextmanager
def endless_message(endpoint: str, kind: bytes, frame: int) -> Iterator[threading.Event]:
    """A peer that speaks ZMTP 3.0 and says of each of its frames that another one follows; set once it is cut off."""
    host, port = endpoint.removeprefix("tcp://").split(":")
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
    ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind
    gone = threading.Event()

    def pour() -> None:
        with socket.create_connection((host, int(port))) as peer:
            peer.sendall(greeting + b"\x04" + bytes([len(ready)]) + ready)
            with suppress(OSError):
                for _ in range(MOST // frame):
                    peer.sendall(b"\x03" + struct.pack(">Q", frame) + bytes(frame))
                return
            gone.set()

    pouring = threading.Thread(target=pour)
    pouring.start()
    try:
        yield gone
    finally:
        pouring.join(60)


def test_a_reader_cuts_off_who_never_ends_a_message_and_hears_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> tuple[list[EventPacket], ZmqSource, int]:
        source = open_source(f"zmq+pull://127.0.0.1:0?bind&max_growth={32 * MIB}")
        assert isinstance(source, ZmqSource)

        async def collect() -> list[EventPacket]:
            return [packet async for packet in source]

        reading = asyncio.create_task(collect())
        while not source.endpoint:  # noqa: ASYNC110 - a few turns of the loop
            await asyncio.sleep(0)
        before = resident_bytes() or 0
        with endless_message(source.endpoint, b"PUSH", MIB) as gone:
            assert await asyncio.to_thread(gone.wait, 60)
            grown = (resident_bytes() or 0) - before
        sender = Sender(source.endpoint.replace("tcp", "zmq+push"), SocketOptions())
        await sender.send(feed.pack_events("cam", 0, make_events([1], [1], [5], [1]), 8, 8), 20)
        await sender.send(feed.pack_events("cam", 1, make_events([], [], [], []), 8, 8, eos=True), 20)
        packets = await reading
        await sender.close()
        return packets, source, grown

    packets, source, grown = asyncio.run(asyncio.wait_for(go(), 120))
    assert [len(packet) for packet in packets] == [1]
    assert source.statistics()["reopened"] >= 1 and grown < MOST // 2


def test_so_does_the_control_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MAX_GROWTH", 32 * MIB)

    async def go() -> dict[str, object]:
        async def status(_: dict[str, object]) -> dict[str, object]:
            return {"status": 1}

        server = ControlServer("zmq+rep://127.0.0.1:0", {"status": status})
        server.start()
        endpoint = server.endpoint
        with endless_message(endpoint, b"REQ", 1 << 15) as gone:
            assert await asyncio.to_thread(gone.wait, 60)
        answer = await asyncio.to_thread(asked, endpoint, command("status"))
        assert server.endpoint == endpoint
        await server.close()
        return answer

    assert asyncio.run(asyncio.wait_for(go(), 120)) == {"v": 1, "ok": True, "status": 1}


def test_a_control_socket_that_cannot_be_opened_anew_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its port is somebody else's for a while."""
    growths = iter([True])
    monkeypatch.setattr(control.MemoryGuard, "exceeded", lambda _: next(growths, False))
    monkeypatch.setattr(control, "RETRY_S", 0.01)
    tried: list[InputError] = []

    async def go() -> dict[str, object]:
        async def status(_: dict[str, object]) -> dict[str, object]:
            return {"status": 1}

        server = ControlServer("zmq+rep://127.0.0.1:0", {"status": status})
        endpoint, open_socket, other = server.endpoint, server._link._open, zmq.Context()
        thief, opened = other.socket(zmq.REP), asyncio.Event()

        def open_where_another_is(place: str) -> None:
            if not tried:
                thief.bind(place)
            elif len(tried) == 3:
                thief.close(0)
            try:
                open_socket(place)
            except InputError as e:
                tried.append(e)
                raise
            opened.set()

        server._link._open = open_where_another_is  # type: ignore[method-assign]
        server.start()
        await opened.wait()  # before that, who asks may ask the other
        answer = await asyncio.to_thread(asked, endpoint, command("status"))
        await server.close()
        other.term()
        return answer

    assert asyncio.run(asyncio.wait_for(go(), 60))["ok"] and len(tried) >= 3
