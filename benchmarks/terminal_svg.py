"""A picture of the terminal's live view for the README: the built-in scene, as it stands at one timestep, as SVG.

python benchmarks/terminal_svg.py docs/terminal.svg
"""

from __future__ import annotations

import asyncio
import io
import sys
import time
from typing import Any

from rich.console import Console

from stream_ottt.events.timestep import StepResult
from stream_ottt.pipeline.sink import Sink, SinkConfig
from stream_ottt.pipeline.view import RunView
from stream_ottt.run.request import RunRequest
from stream_ottt.run.run import Run
from stream_ottt.sinks.keys import Keys
from stream_ottt.sinks.meter import Meter
from stream_ottt.sinks.terminal_account import Shown
from stream_ottt.sinks.terminal_view import live_view

SOURCE = "synthetic:?presentations=120&classes=6&duration=500ms"
STEP = 2700
WIDTH, HEIGHT = 100, 30
MEASURE_S = 0.1


class TerminalSvgSink(Sink):
    """Draws the view of one timestep, as a person at a terminal would see it."""

    name = "terminal-svg"
    gives_labels = True

    async def open(self, run: RunView) -> None:
        self._run, self._meter, self._due = run, Meter(run.facts.started), 0.0

    async def consume(self, result: StepResult) -> None:
        now, last = time.perf_counter(), result.timestep.index == STEP
        snapshot = self._run.snapshot()
        if snapshot.session is None or (now < self._due and not last):
            return
        self._due = now + MEASURE_S
        rates = self._meter.measure(snapshot, now)
        if last:
            shown = Shown(self._run.facts, snapshot, snapshot.session, rates)
            self._save(live_view(shown, result, self._meter, WIDTH, HEIGHT, Keys(self._run)))

    def _save(self, view: Any) -> None:
        console = Console(
            file=io.StringIO(), record=True, width=WIDTH, height=HEIGHT, force_terminal=True, color_system="truecolor"
        )
        console.print(view)
        console.save_svg(self.config.target, title="stream-ottt")


if __name__ == "__main__":
    run = Run(RunRequest(SOURCE, preset="demo", sinks=[]))
    run.sinks.append(TerminalSvgSink(SinkConfig(target=sys.argv[1])))
    sys.exit(asyncio.run(run.go()))
