"""The page's server: uvicorn in the run's own event loop, a handful of files, one WebSocket a browser."""

from __future__ import annotations

import asyncio
import mimetypes
import socket
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from stream_ottt.errors import StreamOtttError
from stream_ottt.web.access import SECURITY_HEADERS, Access, is_loopback, new_token
from stream_ottt.web.address import bind
from stream_ottt.web.browser import Browser, Shown
from stream_ottt.web.message import MAX_BYTES, Command
from stream_ottt.web.serving import HttpServer

MAX_BROWSERS = 16
"""Browsers that may be connected at once."""

LAST_WORD_S = 0.5
"""Longest time that the end of a run waits for browsers to take the last figures."""


class PageServer:
    """Serves the page from :meth:`start` to :meth:`stop`.

    Args:
        shown: what the page shows.
        host: address or name to bind to.
        port: 0 for any free one.
        token: what a browser must know; None makes one where the address can be reached by others.
        names: further host names by which the page is reached.

    Attributes:
        failure: the first error that is the program's own, or None.
    """

    def __init__(
        self, shown: Shown, *, host: str, port: int, token: str | None = None, names: tuple[str, ...] = ()
    ) -> None:
        self._shown = shown
        self._host = host
        self._port = port
        self._token = token or (None if is_loopback(host) else new_token())
        self._names = names
        self._assets = {name: _response(file) for name, file in _walk(files("stream_ottt.web") / "assets")}
        self._browsers: set[Browser] = set()
        self._server: HttpServer | None = None
        self.failure: Exception | None = None

    @property
    def url(self) -> str:
        """Where a browser finds the page, with the token where one is needed."""
        host = socket.gethostname() if self._host in ("0.0.0.0", "::") else self._host
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self._port}/" + ("" if self._token is None else f"?token={quote(self._token)}")

    async def start(self) -> None:
        """Bind and begin to serve.

        Raises:
            UsageError: the address cannot be bound.
        """
        listener = bind(self._host, self._port, option="--web")
        self._port = listener.getsockname()[1]
        app = Starlette(
            routes=[
                WebSocketRoute("/live", self._live),
                Route("/{path:path}", self._asset, methods=["GET"]),
            ]
        )
        guarded = Access(app, host=self._host, port=self._port, token=self._token, names=self._names)
        self._server = HttpServer(guarded, max_message=MAX_BYTES)
        self._server.start(listener)

    async def stop(self) -> None:
        """Let the browsers take the last figures, then close all connections."""
        if self._server is None:
            return
        for browser in self._browsers:
            browser.finish()
        if self._browsers:
            waits = [asyncio.create_task(browser.gone.wait()) for browser in self._browsers]
            _, late = await asyncio.wait(waits, timeout=LAST_WORD_S)
            for wait in late:
                wait.cancel()
        await self._server.stop()
        self._server = None

    def draws(self) -> bool:
        """Whether any browser can be sent something."""
        return any(browser.draws for browser in self._browsers)

    def wishes(self) -> list[Any]:
        """What the connected browsers want to see."""
        return [browser.wish for browser in self._browsers]

    async def _asset(self, request: Request) -> Response:
        name = request.path_params["path"] or "index.html"
        return self._assets.get(name) or PlainTextResponse("not found\n", status_code=404, headers=SECURITY_HEADERS)

    async def _live(self, socket: WebSocket) -> None:
        if len(self._browsers) >= MAX_BROWSERS:
            full = f"{MAX_BROWSERS} browsers are connected already"
            await socket.send_denial_response(PlainTextResponse(full, status_code=503))
            return
        await socket.accept()
        browser = Browser(socket, self._shown, self._carry_out)
        self._browsers.add(browser)
        try:
            await browser.run()
        except Exception as e:  # told by the sink that owns this server
            self.failure = self.failure or e
            await socket.close(1011)
        finally:
            self._browsers.discard(browser)

    async def _carry_out(self, command: Command) -> dict[str, Any]:
        try:
            return {"ok": True, **await self._shown.carry_out(command)}
        except StreamOtttError as e:
            return {"ok": False, "error": str(e)}


def _walk(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        name = prefix + entry.name
        if entry.is_dir():
            yield from _walk(entry, f"{name}/")
        else:
            yield name, entry


def _response(file: Traversable) -> Response:
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    if file.name.endswith(".js"):
        kind = "text/javascript"  # whatever the machine's own tables say
    return Response(file.read_bytes(), media_type=kind, headers=SECURITY_HEADERS)
