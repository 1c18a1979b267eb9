"""The run in a terminal: a live view with keys, or plain lines where stdout is no terminal, and a table at the end."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

from stream_ottt.events.timestep import StepResult
from stream_ottt.pipeline.sink import Sink, SinkConfig
from stream_ottt.sinks.passes import Passes
from stream_ottt.sinks.terminal_keys import TerminalKeys, has_keys
from stream_ottt.sinks.textfile import unwritable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

    from stream_ottt.pipeline.view import RunView
    from stream_ottt.sinks.keys import Keys
    from stream_ottt.sinks.meter import Meter
    from stream_ottt.sinks.terminal_account import Shown

LIVE_S = 0.1
"""Shortest time between two pictures of the live view."""

SLOWEST_S = 1.0
"""Longest time between two pictures, however slow they are, or little there is to show."""

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
    """Shows a run on stdout. Most calls of :meth:`consume` return after one look at the clock.

    Where a person sits at the terminal, the live view takes keys (:data:`stream_ottt.sinks.keys.KEYS`).
    """

    name = "terminal"
    Config = TerminalConfig
    config: TerminalConfig

    def __init__(self, config: SinkConfig) -> None:
        super().__init__(config)
        self.gives_labels = self.config.mode in ("auto", "live") and has_keys()
        self._run: RunView | None = None
        self._console: Console | None = None
        self._meter: Meter | None = None
        self._live: Live | None = None
        self._size = (0, 0)
        self._due = float("inf")
        self._task: asyncio.Task[None] | None = None
        self._latest: StepResult | None = None
        self._came_at = 0.0
        self._drawn: StepResult | None = None
        self._drawn_at = float("-inf")
        self._keys: Keys | None = None
        self._pressed: TerminalKeys | None = None
        self._news = True  # of the keys

    async def open(self, run: RunView) -> None:
        if self.config.mode == "quiet":
            return
        from rich.console import Console
        from rich.live import Live

        from stream_ottt.sinks.keys import Keys
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
        self._passes = Passes(run)
        self._due = 0.0 if live else time.perf_counter() + PLAIN_S
        if live:
            self._live = Live(console=console, auto_refresh=False, transient=True)
            if self.gives_labels:
                self._keys = Keys(run, self._tell)
                self._pressed = TerminalKeys(self._keys.press)
                self._pressed.start()
        else:
            with self._stdout():
                print(f"stream-ottt  {run.facts.source}", flush=True)
        self._came_at = time.perf_counter()
        self._task = asyncio.create_task(self._watch())

    async def consume(self, result: StepResult) -> None:
        self._latest = result
        if self._run is not None:
            self._passes.see(result)
        now = self._came_at = time.perf_counter()
        if self._task is not None and self._task.done():
            task, self._task = self._task, None
            await task  # raises what ended it
        if now < self._due:
            return
        if self._live is None:
            self._print_line(result, now)
        else:
            self._draw(now)
            await asyncio.sleep(0)  # what was typed is read

    async def close(self, summary: dict[str, Any] | None) -> None:
        self._due = float("inf")
        if self._task is not None:
            task, self._task = self._task, None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        try:
            self._finish(summary)
        finally:
            if self._pressed is not None:
                self._pressed.stop()

    def _finish(self, summary: dict[str, Any] | None) -> None:
        if self._console is None or self._run is None:
            return
        with self._stdout():
            if self._live is not None:
                self._live.stop()
            if summary is not None:
                from stream_ottt.sinks.terminal_report import report

                if self._console.is_terminal:
                    self._console.print(report(summary, self._console.width))
                else:  # blanks up to the right edge are nothing to a file
                    with self._console.capture() as drawn:
                        self._console.print(report(summary, self._console.width))
                    print("\n".join(line.rstrip() for line in drawn.get().splitlines()))
                sys.stdout.flush()

    def _tell(self) -> None:
        """There is something else to show of the keys; from any thread."""
        self._news = True

    async def _watch(self) -> None:
        """Draw also while no result comes: that the run waits, how long, and what became of a key."""
        if self._live is None:
            await asyncio.sleep(PLAIN_S)
            if self._latest is None:
                with self._stdout():
                    print("waiting for the first events …", flush=True)
            return
        while True:
            now = time.perf_counter()
            fresh = self._news or self._latest is not self._drawn or now - self._drawn_at >= SLOWEST_S
            if fresh and (self._news or now >= self._due):
                self._draw(now)
                if self._pressed is not None:
                    self._pressed.go_on()
            await asyncio.sleep(LIVE_S)

    def _print_line(self, result: StepResult, now: float) -> None:
        from stream_ottt.sinks.terminal_account import plain_line

        if (shown := self._shown(now)) is not None:
            with self._stdout():
                # A whole line for a log: where it is too long, that is for its reader to wrap.
                print(plain_line(shown, result), flush=True)
            self._due = now + PLAIN_S

    def _draw(self, now: float) -> None:
        from stream_ottt.sinks.terminal_view import live_view, waiting_view

        if self._run is None or self._console is None or self._meter is None or self._live is None:
            return
        self._news = False
        width, height = self._console.size
        shown, result = self._shown(now), self._latest
        if shown is None or result is None:
            waited = now - self._came_at
            view = waiting_view(self._run.facts, self._run.snapshot(), waited, width, self._keys)
        else:
            view = live_view(shown, result, self._meter, width, height, self._keys)
        with self._stdout():
            if self._size not in ((width, height), (0, 0)):
                # What stands there was wrapped anew by the terminal.
                self._live.stop()
                self._console.clear()
            self._size = (width, height)
            self._live.start()
            self._live.update(view, refresh=True)
        cost = time.perf_counter() - now
        self._drawn, self._drawn_at = result, now
        self._due = now + min(max(LIVE_S, cost / SHARE), SLOWEST_S)

    def _shown(self, now: float) -> Shown | None:
        """The run of now, once its session is there."""
        from stream_ottt.sinks.terminal_account import Shown

        assert self._run is not None and self._meter is not None
        snapshot = self._run.snapshot()
        if snapshot.session is None:
            return None
        rates = self._meter.measure(snapshot, now)
        return Shown(self._run.facts, snapshot, snapshot.session, rates, now - self._came_at, self._passes.text)

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
