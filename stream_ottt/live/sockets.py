"""What sockets of every kind need: whether an address is this machine's own, and waiting for one in asyncio."""

from __future__ import annotations

import asyncio
import ipaddress
import select
import socket


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def keep_alive(connection: socket.socket, idle: int) -> None:
    """Have the system ask a TCP peer that is silent for ``idle`` µs whether it is there; 0 never asks."""
    if not idle:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    seconds = max(1, idle // 1_000_000)
    for name, value in (("TCP_KEEPIDLE", seconds), ("TCP_KEEPINTVL", seconds), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):  # not on each system
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def readable(descriptor: int, within: float | None = None) -> bool:
    """Until a file descriptor can be read; False after ``within`` seconds."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def on_readable() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(descriptor, on_readable)
    try:
        async with asyncio.timeout(within):
            await ready
    except TimeoutError:
        # Where the event loop was held up for so long, there may be something all the same.
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(0))
    finally:
        loop.remove_reader(descriptor)
    return True
