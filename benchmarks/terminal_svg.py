"""A picture of the terminal's live view for the README: a sink that draws what the terminal would show, as SVG.

pipeline sinks: [TerminalSvgSink.from_options(target="docs/terminal.svg", step=1500)]
"""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

from stream_ottt.events.timestep import StepResult
from stream_ottt.pipeline.sink import Sink, SinkConfig

if TYPE_CHECKING:
    from stream_ottt.pipeline.progress import Progress
    from stream_ottt.sinks.meter import Meter


class TerminalSvgConfig(SinkConfig):
    """Options of the picture.

    Attributes:
        target: the SVG file.
        step: the timestep that is drawn.
        width: columns.
        height: rows.
    """

    step: int = 1000
    width: int = 80
    height: int = 24


class TerminalSvgSink(Sink):
    """Draws one timestep's live view and nothing else."""

    name = "terminal-svg"
    Config = TerminalSvgConfig
    config: TerminalSvgConfig

    async def open(self, progress: Progress) -> None:
        from stream_ottt.sinks.meter import Meter

        self._progress = progress
        self._meter: Meter = Meter()
        self._measured = 0.0

    async def consume(self, result: StepResult) -> None:
        now = time.perf_counter()
        last = result.timestep.index == self.config.step
        if now - self._measured < 0.1 and not last:
            return
        self._measured = now
        rates = self._meter.measure(self._progress, now)
        if last:
            from rich.console import Console

            from stream_ottt.sinks.terminal_view import live_view

            width, height = self.config.width, self.config.height
            console = Console(
                file=io.StringIO(),
                record=True,
                width=width,
                height=height,
                force_terminal=True,
                color_system="truecolor",
            )
            console.print(live_view(self._progress, result, rates, self._meter, width, height))
            console.save_svg(self.config.target, title="stream-ottt")
