"""One run from the user's words to an exit code: settings, source, sinks, pipeline, outputs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stream_ottt.errors import INTERRUPTED, InputError, OutputError, StreamOtttError, UsageError
from stream_ottt.labels.evaluation import Evaluator
from stream_ottt.live.inputs import LiveInputs
from stream_ottt.pipeline.pipeline import Outcome, Pipeline
from stream_ottt.pipeline.progress import Progress
from stream_ottt.pipeline.sink import Sink
from stream_ottt.pipeline.source import Source
from stream_ottt.run.assembly import Assembly
from stream_ottt.run.config import RunConfig, merge, to_tables
from stream_ottt.run.model_file import load_checkpoint, save_checkpoint, settings_to_keep
from stream_ottt.run.presets import RUNS, Tables
from stream_ottt.run.summary import summarize, write_summary
from stream_ottt.sinks.opening import open_sink
from stream_ottt.sources.opening import open_source


@dataclass(slots=True)
class RunRequest:
    """What a user asks for.

    Attributes:
        source: URI or path.
        preset: name of a preset or path of a TOML file, or None.
        overrides: nested tables on top of it.
        sinks: sink URIs.
        load: model file to start from.
        save: model file to write at the end.
        summary: summary file to write at the end.
        learn: False only predicts and scores.
    """

    source: str
    preset: str | None = None
    overrides: Tables = field(default_factory=dict)
    sinks: list[str] = field(default_factory=lambda: ["terminal"])
    load: Path | None = None
    save: Path | None = None
    summary: Path | None = None
    learn: bool = True


def run(request: RunRequest) -> int:
    """Run to the end.

    Returns:
        The exit code: 0, 3 for damaged input (everything good was processed), 5 when an output could not be written,
        130 after Ctrl-C.

    Raises:
        StreamOtttError: before anything was processed; one line for the user.
    """
    return asyncio.run(Run(request).go())


class Run:
    """The parts of one run.

    Args:
        request: what the user asks for.

    Raises:
        StreamOtttError: settings, source, labels, model or outputs that cannot be used.
    """

    def __init__(self, request: RunRequest) -> None:
        self.request = request
        self.checkpoint = None if request.load is None else load_checkpoint(request.load)
        learned_with = {} if self.checkpoint is None else settings_to_keep(self.checkpoint)
        preset = {} if request.preset is None else RUNS.read(request.preset)
        self.config = RunConfig.load(merge(learned_with, preset, request.overrides))
        for path in (request.save, request.summary):
            if path is not None:
                check_writable(path)
        self.source: Source = open_source(request.source)
        self.progress = Progress(
            source=request.source, settings=to_tables(self.config), evaluation=Evaluator(self.config.evaluation)
        )
        self.sinks: list[Sink] = [open_sink(s) for s in request.sinks]
        self._takes_labels = self.source.gives_labels or any(sink.gives_labels for sink in self.sinks)
        self.progress.transport = self.source.statistics
        self.assembly = Assembly(
            self.config,
            self.source,
            self.progress,
            checkpoint=self.checkpoint,
            learn=request.learn,
            takes_labels=self._takes_labels,
        )

    async def go(self) -> int:
        """Open the sinks, run the pipeline, write what was asked for."""
        c = self.config.stream
        live = type(self.source).live
        policy = c.overflow if c.overflow != "auto" else ("drop-oldest" if live else "block")
        sinks = await self._open_sinks()
        pipeline = Pipeline(
            self.source,
            sinks,
            self.progress,
            self.assembly.prepare,
            passes=c.passes,
            speed=None if c.speed == "max" else c.speed,
            policy=policy,
            queue_events=c.queue_events,
            queue_span=None if policy == "block" else c.queue_span,
            max_steps=c.max_steps,
            threads=c.threads,
            patience=c.patience / 1e6 if live else None,
        )
        inputs = LiveInputs(
            pipeline,
            self.progress,
            key_span=self.config.labels.key_span,
            labels=self._takes_labels,
            save=self._save_now,
            status=lambda: self._summary(None, "running"),
        )
        outcome, failure = Outcome(), None
        try:
            if c.control is not None:
                print(f"stream-ottt: commands are taken at {inputs.open_control(c.control)}", file=sys.stderr)
            with _interruptible(pipeline.stop):
                outcome = await pipeline.run()
        except StreamOtttError as e:
            failure = e
        finally:
            await inputs.close()
        return await self._finish(outcome, failure)

    async def _open_sinks(self) -> list[Sink]:
        """Those sinks that could be opened; one that is not optional must be."""
        opened: list[Sink] = []
        for sink in self.sinks:
            try:
                await sink.open(self.progress)
            except OutputError as e:
                if not sink.optional:
                    raise
                print(f"stream-ottt: sink {sink.name}: {e}; carrying on without it", file=sys.stderr)
            else:
                opened.append(sink)
        self.sinks = opened
        return opened

    # --- at the end ------------------------------------------------------------------------------------------------

    async def _finish(self, outcome: Outcome, failure: StreamOtttError | None) -> int:
        """Write the model, the summary and the sinks' ends; say in one line each what went wrong."""
        request, progress = self.request, self.progress
        problems: list[tuple[int, str]] = []
        if failure is not None:
            problems.append((failure.exit_code, str(failure)))
        elif outcome.error is not None:
            problems.append((outcome.error.exit_code, str(outcome.error)))
        elif self.assembly.learner is None and outcome.reason == "end":
            problems.append((InputError.exit_code, f"{request.source}: the stream holds no events; nothing to do"))
        if progress.ledger.malformed or progress.ledger.late:
            problems.append((InputError.exit_code, self._unusable_events()))
        facts = self.source.statistics()
        if facts.get("malformed_messages"):
            problems.append((InputError.exit_code, self._unusable_messages(facts)))
        if request.save is not None and self.assembly.learner is not None:
            try:
                self._save_now()
            except OutputError as e:
                problems.append((e.exit_code, str(e)))
        code = INTERRUPTED if outcome.reason == "interrupted" else (problems[0][0] if problems else 0)
        reason = "failed" if failure is not None else outcome.reason
        message = problems[0][1] if problems else None
        summary = self._summary(code, reason, message)
        if request.summary is not None:
            try:
                write_summary(request.summary, summary)
            except OutputError as e:
                problems.append((e.exit_code, str(e)))
        for sink in self.sinks:
            try:
                await sink.close(summary)
            except Exception as e:  # a sink's own affair, reported below
                progress.sink_failures.setdefault(sink.name, str(e) or type(e).__name__)
        problems += [(OutputError.exit_code, f"sink {name}: {text}") for name, text in progress.sink_failures.items()]
        for text in [*(text for _, text in problems), *progress.warnings]:
            print(f"stream-ottt: {text}", file=sys.stderr)
        if facts.get("lost_messages"):
            print(
                f"stream-ottt: {request.source}: {facts['lost_messages']} messages never came; see the summary's gaps",
                file=sys.stderr,
            )
        if failure is None and self.assembly.learner is not None and progress.learning.startswith("nothing"):
            print(f"stream-ottt: {progress.learning}", file=sys.stderr)
        return INTERRUPTED if outcome.reason == "interrupted" else (problems[0][0] if problems else 0)

    def _save_now(self) -> str:
        """Write the model where the user wants it; returns the path."""
        path, learner = self.request.save, self.assembly.learner
        if path is None or learner is None:
            raise UsageError("no file to save the model in; start the run with --save FILE")
        save_checkpoint(path, learner, settings=self.progress.settings, class_names=self.progress.class_names)
        return str(path)

    def _summary(self, code: int | None, reason: str, message: str | None = None) -> dict[str, Any]:
        return summarize(self.progress, seed=self.config.stream.seed, code=code, reason=reason, message=message)

    def _unusable_messages(self, facts: dict[str, Any]) -> str:
        return (
            f"{self.request.source}: {facts['malformed_messages']} messages could not be read and were left out "
            f"(the first: {facts['malformed'][0]}); all others were used"
        )

    def _unusable_events(self) -> str:
        ledger = self.progress.ledger
        width, height = self.progress.sensor or (0, 0)
        parts = []
        if ledger.malformed:
            parts.append(f"{ledger.malformed} events outside the {width}×{height} sensor or before time zero")
        if ledger.late:
            parts.append(f"{ledger.late} events whose time runs backwards beyond the open timestep")
        return f"{self.request.source}: {' and '.join(parts)} were left out and counted; all others were used"


def check_writable(path: Path) -> None:
    """Find out before the run that an output cannot be written after it.

    Raises:
        OutputError: no such folder, no right to write, or a folder of that name.
    """
    folder = path.parent
    if path.is_dir():
        raise OutputError(f"{path}: cannot be written: it is a folder; name a file in it")
    if not folder.is_dir():
        raise OutputError(f"{path}: cannot be written: there is no folder {folder}; make it first")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise OutputError(f"{path}: cannot be written: no right to write there")


class _interruptible:
    """While open, the first Ctrl-C calls ``stop``; a second one ends the program at once."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self.stop = stop
        self.loop = asyncio.get_running_loop()

    def __enter__(self) -> None:
        def on_signal() -> None:
            self.loop.remove_signal_handler(signal.SIGINT)
            self.stop()

        try:
            self.loop.add_signal_handler(signal.SIGINT, on_signal)
            self.loop.add_signal_handler(signal.SIGTERM, on_signal)
        except (NotImplementedError, RuntimeError, ValueError):
            # Not the main thread, or a platform without: Ctrl-C then cancels the run.
            return

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self.loop.remove_signal_handler(number)
            except (NotImplementedError, RuntimeError, ValueError):
                return
