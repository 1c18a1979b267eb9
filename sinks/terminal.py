"""The run in a terminal: a live view, or plain lines where stdout is no terminal, and a table at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

from stream_ottt.events.timestep import StepResult
from stream_ottt.pipeline.sink import Sink, SinkConfig
from stream_ottt.sinks.textfile import unwritable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

    from stream_ottt.pipeline.view import RunView
    from stream_ottt.sinks.meter import Meter

LIVE_S = 0.1
"""Shortest time between two pictures of the live view."""

SLOWEST_S = 1.0
"""Longest time between two pictures, however slow they are."""

PLAIN_S = 2.0
"""Time between two plain lines."""

SHARE = 0.05
"""Largest share of the wall time that drawing may take: a slow terminal or machine is drawn to less often."""

PLAIN_WIDTH = 80
"""Columns of the final table where stdout is no terminal."""


class TerminalConfig(SinkConfig):
    """Options of the terminal.

    Attributes:
        mode: ``live`` draws a view in place, ``plain`` prints a line every two seconds, both end with a
            table; ``auto`` is live where stdout is a terminal and plain elsewhere; ``quiet`` prints nothing.
    """

    mode: Literal["auto", "live", "plain", "quiet"] = "auto"


class TerminalSink(Sink):
    """Shows a run on stdout. Most calls of :meth:`consume` return after one look at the clock."""

    name = "terminal"
    Config = TerminalConfig
    config: TerminalConfig

    def __init__(self, config: SinkConfig) -> None:
        super().__init__(config)
        self._run: RunView | None = None
        self._console: Console | None = None
        self._meter: Meter | None = None
        self._live: Live | None = None
        self._due = float("inf")

    async def open(self, run: RunView) -> None:
        if self.config.mode == "quiet":
            return
        from rich.console import Console
        from rich.live import Live

        from stream_ottt.sinks.meter import Meter

        reconfigure = getattr(sys.stdout, "reconfigure", None)
        if reconfigure is not None:
            # A stdout that is not UTF-8 gets question marks, not an exception.
            reconfigure(errors="replace")
        is_terminal = sys.stdout.isatty()
        asked = self.config.mode == "live"
        console = Console(width=None if is_terminal else PLAIN_WIDTH, force_terminal=asked or None, highlight=False)
        live = asked or (self.config.mode == "auto" and is_terminal and not console.is_dumb_terminal)
        self._run, self._console, self._meter = run, console, Meter(run.facts.started)
        self._due = 0.0 if live else time.perf_counter() + PLAIN_S
        if live:
            self._live = Live(console=console, auto_refresh=False, transient=True)
        else:
            with self._stdout():
                print(f"stream-ottt  {run.facts.source}", flush=True)

    async def consume(self, result: StepResult) -> None:
        now = time.perf_counter()
        if now < self._due:
            return
        from stream_ottt.sinks.terminal_view import Shown, live_view, plain_line

        assert self._run is not None and self._console is not None and self._meter is not None
        snapshot = self._run.snapshot()
        if snapshot.session is None:
            return
        shown = Shown(self._run.facts, snapshot, snapshot.session, self._meter.measure(snapshot, now))
        if self._live is None:
            with self._stdout():
                # A whole line for a log: where it is too long, that is for its reader to wrap.
                print(plain_line(shown, result), flush=True)
            self._due = now + PLAIN_S
            return
        width, height = self._console.size
        view = live_view(shown, result, self._meter, width, height)
        with self._stdout():
            self._live.start()
            self._live.update(view, refresh=True)
        cost = time.perf_counter() - now
        self._due = now + min(max(LIVE_S, cost / SHARE), SLOWEST_S)

    async def close(self, summary: dict[str, Any] | None) -> None:
        self._due = float("inf")
        if self._console is None or self._run is None:
            return
        with self._stdout():
            if self._live is not None:
                self._live.stop()
            if summary is not None:
                from stream_ottt.sinks.terminal_report import report

                self._console.print(report(summary))
                sys.stdout.flush()

    @contextmanager
    def _stdout(self) -> Iterator[None]:
        """Writing to stdout: the first failure is raised as OutputError and ends all showing."""
        try:
            yield
        except OSError as e:
            live, self._live, self._console = self._live, None, None
            self._due = float("inf")
            if live is not None:
                with suppress(OSError):
                    live.stop()  # gives sys.stdout and sys.stderr back
            raise unwritable("-", e) from e
