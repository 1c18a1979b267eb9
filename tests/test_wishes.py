"""A reader that subscribes without end, or to a topic without end, is cut off; the others get every message."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest
import zmq
from zmq.utils.monitor import recv_monitor_message

from stream_ottt.live.wishes import LONGEST, MOST
from stream_ottt.live.zmq_sender import Sender
from stream_ottt.live.zmq_socket import SocketOptions

WITHIN_S = 60


def with_a_sender(act: Callable[[Sender], Awaitable[None]]) -> None:
    async def go() -> None:
        sender = Sender("zmq+pub://127.0.0.1:0", SocketOptions(bind=True))
        await sender.wait_for_readers(0, b"", 0)
        try:
            await act(sender)
        finally:
            await sender.close(0)

    asyncio.run(asyncio.wait_for(go(), 60))


def cut_off(client: zmq.Socket[bytes]) -> Callable[[], bool]:
    """Waits until the client has lost its connection; False where it keeps it."""
    monitor = client.get_monitor_socket(zmq.EVENT_DISCONNECTED)

    def wait() -> bool:
        gone = bool(monitor.poll(WITHIN_S * 1000))
        if gone:
            recv_monitor_message(monitor)
        client.disable_monitor()
        monitor.close()
        return gone

    return wait


@contextmanager
def hostile_peer(sender: Sender) -> Iterator[tuple[zmq.Socket[bytes], asyncio.Task[bool]]]:
    """A subscriber that stays away once it is cut off, and whether it was."""
    with zmq.Context() as context, context.socket(zmq.SUB) as hostile:
        hostile.linger, hostile.reconnect_ivl, hostile.sndhwm = 0, -1, 0
        hostile.connect(sender.endpoint)
        yield hostile, asyncio.create_task(asyncio.to_thread(cut_off(hostile)))


def test_a_peer_that_never_stops_subscribing_is_cut_off_and_others_lose_nothing() -> None:
    async def act(sender: Sender) -> None:
        with zmq.Context() as context, context.socket(zmq.SUB) as good, context.socket(zmq.SUB) as hostile:
            good.linger = hostile.linger = 0
            hostile.reconnect_ivl, hostile.sndhwm = -1, 0
            for client in (good, hostile):
                client.connect(sender.endpoint)
            good.subscribe(b"predictions/")
            await sender.wait_for_readers(1, b"predictions/x", WITHIN_S)
            gone = asyncio.create_task(asyncio.to_thread(cut_off(hostile)))
            most = 0
            for i in range(5 * MOST):
                hostile.subscribe(b"%06d" % i + b"x" * 100)
                if i % 100 == 0:
                    await sender.send([b"predictions/x", b"%d" % i])
                    most = max(most, len(sender.wishes))
            assert await gone
            await sender.send([b"predictions/x", b"last"])
            got = []
            while not got or got[-1] != b"last":
                assert await asyncio.to_thread(good.poll, WITHIN_S * 1000)
                got.append(good.recv_multipart()[1])
            assert len(got) == 5 * MOST // 100 + 1
            assert most <= 2 * MOST + 1
            while len(sender.wishes) > 1:  # ZeroMQ takes its wishes back
                await sender._link.wait(zmq.POLLIN, WITHIN_S)
                sender.wishes.take()
            assert sender.wishes.readers(b"predictions/x") == 1

    with_a_sender(act)


def test_one_that_subscribes_and_unsubscribes_for_ever_is_cut_off_too() -> None:
    async def act(sender: Sender) -> None:
        with hostile_peer(sender) as (hostile, gone):
            for _ in range(MOST):
                hostile.subscribe(b"a")
                hostile.unsubscribe(b"a")
            assert await gone and len(sender.wishes) <= 1

    with_a_sender(act)


def test_a_topic_without_end_is_not_read() -> None:
    async def act(sender: Sender) -> None:
        with hostile_peer(sender) as (hostile, gone):
            hostile.subscribe(b"x" * (LONGEST + 1))
            assert await gone and not len(sender.wishes)

    with_a_sender(act)


def test_another_sockets_descriptor_is_left_alone() -> None:
    """A descriptor may have become another connection's before it is cut."""

    async def act(sender: Sender) -> None:
        one, other = socket.socketpair(socket.AF_UNIX)
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_connection(server.getsockname()) as client,
            server.accept()[0] as accepted,
            one,
            other,
        ):
            for descriptor in (one.fileno(), accepted.fileno()):
                sender.wishes._cut_off(descriptor, "127.0.0.1")
            other.sendall(b"still")
            client.sendall(b"there")
            assert (one.recv(5), accepted.recv(5)) == (b"still", b"there")

    with_a_sender(act)


@pytest.mark.parametrize("count", [1, 3])
def test_readers_are_counted(count: int) -> None:
    async def act(sender: Sender) -> None:
        with zmq.Context() as context:
            clients = [context.socket(zmq.SUB) for _ in range(count)]
            for client in clients:
                client.linger = 0
                client.connect(sender.endpoint)
                client.subscribe(b"events/")
            await sender.wait_for_readers(count, b"events/x", WITHIN_S)
            assert sender.wishes.readers(b"events/x") == count and not sender.wishes.readers(b"labels/x")
            for client in clients:
                client.close()
            while sender.wishes.readers(b"events/x"):
                await sender._link.wait(zmq.POLLIN, WITHIN_S)

    with_a_sender(act)
