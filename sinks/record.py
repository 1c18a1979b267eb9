"""A folder with what a run did, for ``stream-ottt report`` and for whoever wants to look at it later.

| file | |
|---|---|
| ``predictions.jsonl`` | a line a timestep, as of the sink ``jsonl`` |
| ``curves.jsonl`` | a line every so many timesteps: scores so far, firing rates, memory, latency |
| ``settings.toml`` | every setting; ``run --config`` takes it |
| ``summary.json`` | the summary, at the end |
| ``events.aedat4`` | the events as they came, with ``events=true``; a resumed run goes on in ``events-2.aedat4`` |
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from stream_ottt.errors import OutputError
from stream_ottt.events.timestep import StepResult
from stream_ottt.outputs import write_atomically
from stream_ottt.pipeline.sink import Sink, SinkConfig
from stream_ottt.sinks.curves import Curves, Every
from stream_ottt.sinks.jsonl import JsonLinesSink
from stream_ottt.sinks.textfile import FileTarget, TextFileConfig
from stream_ottt.state import State, part, under

if TYPE_CHECKING:
    from stream_ottt.events.packet import EventArray
    from stream_ottt.learning.session import Session
    from stream_ottt.pipeline.view import RunView
    from stream_ottt.sinks.writers.aedat4 import Aedat4Writer

SUMMARY, PREDICTIONS, CURVES, SETTINGS = "summary.json", "predictions.jsonl", "curves.jsonl", "settings.toml"


class RecordConfig(SinkConfig):
    """Options of a record.

    Attributes:
        target: the folder; it is made where there is none.
        every: timesteps from one point of the curves to the next.
        events: also write the events as AEDAT4, before the filters.
    """

    target: FileTarget
    every: Every = 50
    events: bool = False


class LinesSink(JsonLinesSink):
    """Writes lines that it is given, one by one."""

    async def consume(self, result: StepResult) -> None:
        """Nothing follows from a result by itself."""


class RecordSink(Sink):
    """Keeps a run in a folder."""

    name = "record"
    Config = RecordConfig
    config: RecordConfig
    looks = True

    def __init__(self, config: SinkConfig) -> None:
        super().__init__(config)
        self.folder = Path(config.target)
        self.takes_events = self.config.events
        self._predictions = JsonLinesSink(TextFileConfig(target=str(self.folder / PREDICTIONS)))
        self._lines = LinesSink(TextFileConfig(target=str(self.folder / CURVES)))
        self._curves = Curves(self.config.every)
        self._events = Events(self.folder)
        self._resumed = False
        self._told = False

    def check(self, *, overwrite: bool) -> None:
        folder = self.folder
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder}: cannot hold a record: it is a file; name a folder")
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not os.access(there, os.W_OK):
            raise OutputError(f"{folder}: cannot be written: no right to write in {there}")
        found = [path.name for path in self._own_files()]
        if found and not overwrite:
            raise OutputError(f"{folder}: holds a record already ({found[0]}); name another folder, or say --force")

    def _own_files(self) -> list[Path]:
        named = [self.folder / name for name in (SUMMARY, PREDICTIONS, CURVES, SETTINGS)]
        return [path for path in named if path.exists()] + sorted(self.folder.glob("events*.aedat4"))

    async def open(self, run: RunView) -> None:
        import tomli_w

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in [] if self._resumed else self._own_files():
                path.unlink()
            write_atomically(self.folder / SETTINGS, tomli_w.dumps(run.facts.settings).encode(errors="replace"))
        except OSError as e:
            raise OutputError(f"{self.folder}: the record cannot be written: {e.strerror}") from e
        self._events.find_name()
        await self._predictions.open(run)
        await self._lines.open(run)

    def look(self, session: Session, result: StepResult) -> None:
        self._curves.look(session, result)

    def take_events(self, events: EventArray, size: tuple[int, int]) -> None:
        self._events.write(events, size)

    async def consume(self, result: StepResult) -> None:
        if self._events.failure is not None and not self._told:
            self._told = True
            raise self._events.failure
        await self._predictions.consume(result)
        self._write_points(result.timestep.index)

    def _write_points(self, step: int | None) -> None:
        for point in self._curves.take(step):
            self._lines.write(json.dumps(point, separators=(",", ":")) + "\n")

    async def settle(self) -> State:
        predictions, lines = await self._predictions.settle(), await self._lines.settle()
        return under("predictions", predictions) | under("curves", lines)

    def go_on(self, state: State | None, step: int) -> None:
        self._resumed = True
        for name, sink in (("predictions", self._predictions), ("curves", self._lines)):
            sink.go_on(None if state is None else part(state, name), step)

    async def close(self, summary: dict[str, Any] | None) -> None:
        try:
            self._write_points(None)
        finally:
            await self._predictions.close(summary)
            await self._lines.close(summary)
        if summary is not None:
            self._write_summary(summary)
        self._events.close()
        if self._events.failure is not None:
            raise self._events.failure

    def _write_summary(self, summary: dict[str, Any]) -> None:
        path = self.folder / SUMMARY
        text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
        try:
            write_atomically(path, text.encode(errors="backslashreplace"))
        except OSError as e:
            raise OutputError(f"{path}: the summary cannot be written: {e.strerror}") from e


class Events:
    """Writes the events, in the thread that bins them, until something fails.

    Args:
        folder: where to.

    Attributes:
        failure: why they are no longer written, or None.
    """

    def __init__(self, folder: Path) -> None:
        self.failure: OutputError | None = None
        self._folder = folder
        self._path = folder
        self._writer: Aedat4Writer | None = None
        self._closed = False
        self._lock = Lock()  # a source that does not come back in time may still give some

    def find_name(self) -> None:
        """Take a name that no file has yet."""
        names = (f"events-{n}.aedat4" if n > 1 else "events.aedat4" for n in range(1, 1_000_000))
        self._path = next(path for name in names if not (path := self._folder / name).exists())

    def write(self, events: EventArray, size: tuple[int, int]) -> None:
        """Append events [n] of a sensor of (width, height) pixels."""
        from stream_ottt.sinks.writers.aedat4 import Aedat4Writer

        with self._lock:
            if self.failure is not None or self._closed:
                return
            try:
                if self._writer is None:
                    self._writer = Aedat4Writer(self._path, *size)
                self._writer.write(events)
            except OutputError as e:
                self.failure = e
                if self._writer is not None:
                    with suppress(OutputError):
                        self._writer.close()

    def close(self) -> None:
        """Finish the file."""
        with self._lock:
            self._closed = True
            if self._writer is None or self.failure is not None:
                return
            try:
                self._writer.close()
            except OutputError as e:
                self.failure = e
