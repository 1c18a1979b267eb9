"""The run on a page in a browser: what it sees, says and learns, and buttons that teach it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import field_validator

from stream_ottt.events.timestep import StepResult
from stream_ottt.log import say
from stream_ottt.pipeline.sink import Sink, SinkConfig
from stream_ottt.web.address import bind, parse_address
from stream_ottt.web.rest import Rest

if TYPE_CHECKING:
    from stream_ottt.pipeline.view import RunView
    from stream_ottt.web.run_page import RunPage
    from stream_ottt.web.server import PageServer

PORT = 8765


class WebConfig(SinkConfig):
    """Options of the page.

    Attributes:
        target: ``HOST:PORT``, ``HOST`` or ``:PORT``; 127.0.0.1:8765 unless told otherwise. Port 0 means any free one.
        token: what a browser must know, 8 letters, digits, dots, dashes, underscores or more; None makes one where
            others can reach the address, and asks for none where only this machine can.
        names: further host names by which the page is reached, with commas between them.
    """

    token: str | None = None
    names: str = ""

    @field_validator("token")
    @classmethod
    def _is_token(cls, token: str | None) -> str | None:
        if token is not None and not re.fullmatch("[A-Za-z0-9._-]{8,}", token):
            raise ValueError("expected 8 or more of letters, digits, dots, dashes and underscores")
        return token

    def address(self) -> tuple[str, int]:
        """Host and port.

        Raises:
            UsageError: it is no address.
        """
        return parse_address(self.target, PORT, option="--web")


class WebSink(Sink):
    """Serves a page while the run lasts. Browsers take the latest result when they can."""

    name = "web"
    gives_labels = True
    optional = True
    Config: ClassVar[type[SinkConfig]] = WebConfig
    config: WebConfig

    def __init__(self, config: SinkConfig) -> None:
        super().__init__(config)
        self._address = self.config.address()
        self._page: RunPage | None = None
        self._server: PageServer | None = None
        self._rest = Rest(time.perf_counter())

    def check(self, *, overwrite: bool) -> None:
        bind(*self._address, option="--web").close()

    async def open(self, run: RunView) -> None:
        from stream_ottt.web.run_page import RunPage
        from stream_ottt.web.server import PageServer

        self._page = RunPage(run)
        host, port = self._address
        names = tuple(name.strip() for name in self.config.names.split(",") if name.strip())
        self._server = PageServer(self._page, host=host, port=port, token=self.config.token, names=names)
        await self._server.start()
        say(f"the page is at {self._server.url}", "page", url=self._server.url)

    async def consume(self, result: StepResult) -> None:
        assert self._page is not None and self._server is not None
        self._page.take(result)
        if self._server.failure is not None:
            failure, self._server.failure = self._server.failure, None
            raise failure
        self._rest.took()

    def rest(self) -> float:
        return self._rest.due(time.perf_counter(), drawn=self._server is not None and self._server.draws())

    async def close(self, summary: dict[str, Any] | None) -> None:
        if self._page is None or self._server is None:
            return
        self._page.end("never began" if summary is None else summary["exit"]["reason"])
        await self._server.stop()
