"""How far a recording has been seen: a bar with the time left on stderr, for a run without a view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stream_ottt.events.timestep import StepResult
from stream_ottt.pipeline.sink import Sink, SinkConfig
from stream_ottt.progress import Bar
from stream_ottt.sinks.passes import Passes

if TYPE_CHECKING:
    from stream_ottt.pipeline.view import RunView


class ProgressSink(Sink):
    """A bar on stderr while a recording is seen, where that is a terminal; nothing for what has no end."""

    name = "progress"
    optional = True

    def __init__(self, config: SinkConfig) -> None:
        super().__init__(config)
        self._bar: Bar | None = None
        self._shown = 0.0

    async def open(self, run: RunView) -> None:
        self._run = run
        self._passes = Passes(run)

    async def consume(self, result: StepResult) -> None:
        passes = self._passes
        passes.see(result)
        share = self._run.share_read(result.timestep.t_end)
        if share is None:
            return
        if self._bar is None:
            self._bar = Bar(self._run.facts.source)
            self._bar.__enter__()
        told = [passes.text, f"{result.prediction.step + 1:,} timesteps"]
        self._shown = max(self._shown, (passes.number + share) / passes.whole)
        self._bar.at(self._shown, ", ".join(filter(None, told)))

    async def close(self, summary: dict[str, Any] | None) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
