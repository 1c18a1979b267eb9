"""An HTTP server in the event loop of whoever starts it: uvicorn, without its signals and its logging."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from contextlib import suppress

import uvicorn
from starlette.types import ASGIApp


class HttpServer:
    """Serves ``app`` from :meth:`start` to :meth:`stop`.

    Args:
        app: what answers.
        max_message: largest WebSocket message that is taken, bytes.
        max_connections: those beyond are answered with 503; None for no limit of its own.
    """

    def __init__(self, app: ASGIApp, *, max_message: int = 4096, max_connections: int | None = None) -> None:
        self._server = _Server(
            uvicorn.Config(
                app,
                http="h11",
                ws="websockets-sansio",
                ws_max_size=max_message,
                ws_per_message_deflate=False,
                lifespan="off",
                log_config=None,
                log_level="critical",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=max_connections,
                timeout_graceful_shutdown=1,
            )
        )
        self._task: asyncio.Task[None] | None = None

    def start(self, listener: socket.socket) -> None:
        """Begin to serve at a socket that listens."""
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))

    async def stop(self) -> None:
        """End in order; what a client does not take in time is cut off."""
        if self._task is None:
            return
        self._server.end()
        await self._task
        self._task = None
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)


TICK_S = 1.0
"""How often the headers' date is set anew."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = asyncio.Event()

    def end(self) -> None:
        self.should_exit = True
        self._ending.set()

    async def main_loop(self) -> None:
        """As uvicorn's, which wakes ten times a second to look whether it is to end: a run beside it pays for that."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._ending.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the run's to handle."""
        yield
