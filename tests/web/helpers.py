"""A page that shows what a test puts there, served from a thread of its own."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any

import numpy as np
from websockets.sync.client import ClientConnection, connect

from stream_ottt.errors import UsageError
from stream_ottt.web.message import Command, Wish, decode_parts, encode_part
from stream_ottt.web.server import PageServer
from stream_ottt.web.slot import Slot


class Board:
    """Shows numbers; ``value`` is the newest, and ``encoded`` counts how often one was encoded."""

    def __init__(self, *, size: int = 4) -> None:
        self.value: int | None = None
        self.encoded = 0
        self.commands: list[Command] = []
        self.wishes: list[Wish] = []
        self._size = size
        self._slot = Slot(lambda: self.value, self._encode, 0.0)

    def slots(self, wish: Wish) -> list[Slot]:
        self.wishes.append(wish)
        return [self._slot]

    async def carry_out(self, command: Command) -> dict[str, Any]:
        if command.name == "save":
            raise UsageError("no file to save the model in")
        self.commands.append(command)
        return {"did": command.name}

    def _encode(self, value: int) -> bytes:
        self.encoded += 1
        return encode_part("number", {"value": value}, {"filler": np.zeros(self._size, np.uint8)})


class Served:
    """A page server at work, seen from another thread."""

    def __init__(self, server: PageServer, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self.url = server.url
        self.port = int(server.url.split(":")[-1].split("/")[0])
        self._loop = loop

    def call(self, act: Any) -> Any:
        """The result of a coroutine in the server's loop."""
        return asyncio.run_coroutine_threadsafe(act, self._loop).result(60)

    def get(self, path: str = "/", **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of a page."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request("GET", path, headers=named)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def connect(self, **options: Any) -> ClientConnection:
        """A browser's WebSocket."""
        options = {
            "origin": f"http://127.0.0.1:{self.port}",
            "compression": None,
            "max_size": None,
            "open_timeout": 60,
        } | options
        return connect(f"ws://127.0.0.1:{self.port}/live", **options)

    @contextmanager
    def sleeper(self) -> Iterator[socket.socket]:
        """The connection of a browser that shakes hands and from then on reads nothing."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            host = f"127.0.0.1:{self.port}"
            raw.sendall(
                f"GET /live HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
            )
            assert raw.recv(12) == b"HTTP/1.1 101"
            yield raw


@contextmanager
def served(shown: Any, **options: Any) -> Iterator[Served]:
    """Serve ``shown`` on a free port while the block runs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        server = PageServer(shown, **{"host": "127.0.0.1", "port": 0} | options)
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(60)
        page = Served(server, loop)
        try:
            yield page
        finally:
            page.call(server.stop())
        if server.failure is not None:
            raise server.failure
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def say(socket: ClientConnection, **message: Any) -> None:
    """Send one message as a browser does."""
    socket.send(json.dumps(message))


def hear(socket: ClientConnection, *, ready: bool = True) -> list[dict[str, Any]]:
    """The parts of the next message, which is acknowledged unless told otherwise."""
    message = socket.recv(60)
    assert isinstance(message, bytes)
    if ready:
        say(socket, kind="ready")
    return decode_parts(message)
