"""Waiting for a socket: a busy event loop is not taken for a silent peer."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
import zmq

from stream_ottt.live.sockets import is_loopback, readable
from stream_ottt.live.zmq_socket import FeedSocket, SocketOptions

WITHIN = 0.05


async def hold_up() -> None:
    """The event loop does nothing else for longer than is waited."""
    time.sleep(2 * WITHIN)  # noqa: ASYNC251


def test_what_came_while_the_loop_was_held_up_is_there() -> None:
    async def go() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            assert not await readable(ours.fileno(), WITHIN)
            waiting = asyncio.create_task(readable(ours.fileno(), WITHIN))
            await asyncio.sleep(0)
            theirs.send(b"x")
            await hold_up()
            assert await waiting

    asyncio.run(go())


def test_so_is_a_message_of_the_feed() -> None:
    async def go() -> None:
        ours = FeedSocket("zmq+pull://127.0.0.1:0", SocketOptions(bind=True))
        theirs = FeedSocket(ours.endpoint.replace("tcp", "zmq+push"), SocketOptions())
        assert await theirs.wait(zmq.POLLOUT, 60)
        assert not await ours.wait(zmq.POLLIN, WITHIN)
        waiting = asyncio.create_task(ours.wait(zmq.POLLIN, WITHIN))
        await asyncio.sleep(0)
        theirs.socket.send(b"x")
        assert ours.socket.poll(60_000)  # this holds the loop up, too, until it has come
        await hold_up()
        assert await waiting
        theirs.close()
        ours.close()

    asyncio.run(go())


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("127.5.0.1", True), ("localhost", True), ("[::1]", True), ("::1", True), ("*", False),
     ("0.0.0.0", False), ("192.168.1.5", False), ("example.org", False)],
)  # fmt: skip
def test_which_hosts_are_this_machine(host: str, own: bool) -> None:
    assert is_loopback(host) is own
