"""The run's figures for Prometheus, and whether it is well: ``metrics:9464`` (docs/deploy.md)."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from stream_ottt.errors import UsageError
from stream_ottt.events.timestep import StepResult
from stream_ottt.log import say
from stream_ottt.metrics.config import PORT, MetricsConfig
from stream_ottt.pipeline.sink import Sink, SinkConfig
from stream_ottt.web.address import bind, parse_address

if TYPE_CHECKING:
    from stream_ottt.metrics.server import MetricsServer
    from stream_ottt.pipeline.view import RunView


class MetricsSink(Sink):
    """Serves ``/metrics``, ``/healthz`` and ``/readyz`` while the run lasts. It reads snapshots; results pass it by."""

    name = "metrics"
    optional = True
    Config: ClassVar[type[SinkConfig]] = MetricsConfig
    config: MetricsConfig

    def __init__(self, config: SinkConfig) -> None:
        super().__init__(config)
        self._address = parse_address(self.config.target, PORT, option="--metrics")
        if find_spec("prometheus_client") is None:
            raise UsageError("--metrics: the package prometheus-client is missing; pip install 'stream-ottt[metrics]'")
        self._server: MetricsServer | None = None

    def check(self, *, overwrite: bool) -> None:
        bind(*self._address, option="--metrics").close()

    async def open(self, run: RunView) -> None:
        from stream_ottt.metrics.health import Health
        from stream_ottt.metrics.server import MetricsServer

        host, port = self._address
        self._server = MetricsServer(run, Health(run, self.config), host=host, port=port)
        await self._server.start()
        say(f"metrics are at {self._server.url}", "metrics", url=self._server.url)

    async def consume(self, result: StepResult) -> None:
        return

    async def close(self, summary: dict[str, Any] | None) -> None:
        if self._server is not None:
            await self._server.stop()
