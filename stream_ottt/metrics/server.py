"""The endpoint of a monitoring system: ``/metrics``, ``/healthz`` and ``/readyz``, beside the run."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from stream_ottt.metrics.figures import Figures
from stream_ottt.metrics.health import Health
from stream_ottt.metrics.spikes import SpikeRates
from stream_ottt.pipeline.view import RunView
from stream_ottt.web.access import Access, is_loopback
from stream_ottt.web.address import bind
from stream_ottt.web.serving import HttpServer

LOOK_S = 0.25
"""Time from one look at the run to the next, asked or not."""
MAX_CONNECTIONS = 32


class MetricsServer:
    """Answers from :meth:`start` to :meth:`stop`. Nothing here is waited for by the learner.

    Args:
        run: the run.
        health: looks at it.
        host: address or name to bind to.
        port: 0 for any free one.
    """

    def __init__(self, run: RunView, health: Health, *, host: str, port: int) -> None:
        self._run = run
        self._health = health
        self._spikes = SpikeRates()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(Figures(run, health, self._spikes))
        self._host, self.port = host, port
        self._server: HttpServer | None = None
        self._looking: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where the figures are."""
        return f"http://{f'[{self._host}]' if ':' in self._host else self._host}:{self.port}/metrics"

    async def start(self) -> None:
        """Bind and begin to answer.

        Raises:
            UsageError: the address cannot be bound.
        """
        listener = bind(self._host, self.port, option="--metrics")
        self.port = listener.getsockname()[1]
        routes = [Route("/metrics", self._metrics), Route("/healthz", self._healthz), Route("/readyz", self._readyz)]
        app: ASGIApp = Starlette(routes=routes)
        if is_loopback(self._host):  # no page of another site may read it by a name of its own
            app = Access(app, host=self._host, port=self.port, token=None)
        self._server = HttpServer(app, max_connections=MAX_CONNECTIONS)
        self._server.start(listener)
        self._looking = asyncio.create_task(self._look_regularly())

    async def stop(self) -> None:
        """Close all connections."""
        if self._server is None or self._looking is None:
            return
        self._looking.cancel()
        with suppress(asyncio.CancelledError):
            await self._looking
        await self._server.stop()
        self._server = None

    async def _look_regularly(self) -> None:
        while True:
            self._spikes.begin(self._run)
            self._health.look()
            await asyncio.sleep(LOOK_S)

    async def _metrics(self, request: Request) -> Response:
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self._registry), media_type=kind)

    async def _healthz(self, _: Request) -> Response:
        self._health.look()
        well, body = self._health.is_well()
        return JSONResponse(body, 200 if well else 503)

    async def _readyz(self, _: Request) -> Response:
        self._health.look()
        ready, body = self._health.is_ready()
        return JSONResponse(body, 200 if ready else 503)
