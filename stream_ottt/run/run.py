"""One run from the user's words to an exit code: settings, source, sinks, pipeline, outputs."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from stream_ottt.errors import InputError, ModelError, OutputError, StreamOtttError, UsageError
from stream_ottt.labels.alignment import unmet
from stream_ottt.live.inputs import LiveInputs
from stream_ottt.log import say, warn
from stream_ottt.outputs import check_writable, write_somewhere
from stream_ottt.pipeline.pipeline import Outcome, Pipeline
from stream_ottt.pipeline.sink import Sink
from stream_ottt.pipeline.source import Source
from stream_ottt.pipeline.verdict import CURE_OF_TIMES, unusable
from stream_ottt.pipeline.view import RunFacts, RunSnapshot
from stream_ottt.run.assembly import Assembly
from stream_ottt.run.checkpoint import SavedRun
from stream_ottt.run.checkpoint_folder import CheckpointFolder
from stream_ottt.run.checkpointing import Checkpointing
from stream_ottt.run.config import RunConfig, merge, parse_every, sources_of, to_tables
from stream_ottt.run.model_file import load_checkpoint, save_checkpoint, settings_to_keep
from stream_ottt.run.presets import RUNS, Tables
from stream_ottt.run.stopping import Stopping
from stream_ottt.run.summary import summarize, write_summary
from stream_ottt.run.watching import Watching
from stream_ottt.sinks.opening import open_sink
from stream_ottt.sources.merged.opening import open_sources
from stream_ottt.state import take

Problem = tuple[int, str]
"""Exit code and what to say."""


@dataclass(slots=True)
class RunRequest:
    """What a user asks for.

    Attributes:
        source: URI or path; None where all sources are in the settings.
        preset: name of a preset or path of a TOML file, or None.
        overrides: nested tables on top of it.
        sinks: sink URIs.
        load: model file to start from.
        save: model file to write at the end.
        summary: summary file to write at the end.
        learn: False only predicts and scores.
        force: True writes outputs anew that exist already.
        checkpoints: folder for checkpoints, or None.
        saved: the run to go on with, or None for a new one; its settings are all in ``overrides``.
    """

    source: str | None
    preset: str | None = None
    overrides: Tables = field(default_factory=dict)
    sinks: list[str] = field(default_factory=lambda: ["terminal"])
    load: Path | None = None
    save: Path | None = None
    summary: Path | None = None
    learn: bool = True
    force: bool = False
    checkpoints: Path | None = None
    saved: SavedRun | None = None


def run(request: RunRequest, stopping: Stopping | None = None) -> int:
    """Run to the end.

    Args:
        request: what is asked for.
        stopping: the signals that end it, where somebody watches them already.

    Returns:
        The exit code: 0, also after SIGTERM and SIGHUP; 3 for damaged input (everything good was processed); 5 when an
        output could not be written where it was wanted; 130 after Ctrl-C.

    Raises:
        StreamOtttError: before anything was processed; one line for the user.
        Exception: an error of the program itself, when everything that was asked for has been written.
    """
    with nullcontext(stopping) if stopping is not None else Stopping() as signals:
        return asyncio.run(Run(request, signals).go())


class Run:
    """The parts of one run.

    Args:
        request: what the user asks for.
        stopping: the signals that end it.

    Raises:
        StreamOtttError: settings, source, labels, model or outputs that cannot be used.
    """

    def __init__(self, request: RunRequest, stopping: Stopping | None = None) -> None:
        self.request = request
        self.stopping = stopping or Stopping()
        model = None if request.load is None else load_checkpoint(request.load)
        learned_with = {} if model is None else settings_to_keep(model)
        again = request.force or request.saved is not None
        preset = {} if request.preset is None else RUNS.read(request.preset)
        self.config = RunConfig.load(merge(learned_with, preset, request.overrides))
        if request.save is not None:
            check_writable(request.save, overwrite=again or request.save == request.load)
        if request.summary is not None:
            check_writable(request.summary, overwrite=again)
        uris = sources_of(request.source, self.config)
        stream = self.config.stream
        self.source: Source = open_sources(uris, wait=stream.merge_wait, plane=stream.plane, say=say)
        self.sinks: list[Sink] = [open_sink(s) for s in request.sinks]
        if request.saved is None:
            for sink in self.sinks:
                sink.check(overwrite=request.force)
        self.folder = None if request.saved is None else request.saved.folder
        if request.checkpoints is not None and self.folder is None:
            self.folder = CheckpointFolder(request.checkpoints)
            if not request.force:
                self.folder.check_empty()
        self.facts = RunFacts(" + ".join(uris), to_tables(self.config))
        self._takes_labels = self.source.gives_labels or any(sink.gives_labels for sink in self.sinks)
        self.assembly = Assembly(
            self.config,
            self.facts,
            self.source,
            checkpoint=model or request.saved,
            learn=request.learn,
            takes_labels=self._takes_labels,
            say=say,
        )
        self.keeping: Checkpointing | None = None

    async def go(self) -> int:
        """Open the sinks, run the pipeline, write what was asked for."""
        pipeline = self._make_pipeline()
        if self.request.saved is not None:
            self._go_on(self.request.saved, pipeline)
        inputs = LiveInputs(
            pipeline,
            key_span=self.config.labels.key_span,
            labels=self._takes_labels,
            save=self._save_now,
            can_save=self.request.save is not None,
            checkpoint=None if self.folder is None else self._checkpoint_now,
            status=lambda snapshot: self._summary(snapshot, None, "running"),
        )
        self.pipeline = pipeline
        self.watching = Watching(pipeline.view)
        try:
            # Ports first: whoever is refused one must not have touched a file.
            if self.config.stream.control is not None:
                say(f"commands are taken at {inputs.open_control(self.config.stream.control)}")
            if self.folder is not None:
                self._begin_checkpoints(self.folder, pipeline)
            await pipeline.open_sinks()
            self.stopping.act = pipeline.stop
            if type(self.source).live and sys.stderr.isatty():
                say(f"waiting for events of {self.facts.source}")
            async with self.watching:
                try:
                    outcome = await pipeline.run()
                except asyncio.CancelledError as e:
                    outcome = Outcome("failed", e, pipeline.learning.session is not None)
        finally:
            await inputs.close()
            if self.keeping is not None:
                await asyncio.to_thread(self.keeping.close, self.config.stream.grace / 1e6)
        if self.keeping is not None and type(self.source).live and pipeline.last is not None:
            await asyncio.to_thread(self.keeping.write, pipeline.last)
        code = await self._finish(outcome)
        if self.folder is not None:
            self._end_checkpoints(self.folder, outcome, code)
        return code

    def _make_pipeline(self) -> Pipeline:
        c = self.config.stream
        live = type(self.source).live
        policy = c.overflow if c.overflow != "auto" else ("drop-oldest" if live else "block")
        return Pipeline(
            self.source,
            self.sinks,
            self.facts,
            self.assembly,
            self.config.binning,
            passes=c.passes,
            speed=None if c.speed == "max" else c.speed,
            policy=policy,
            queue_events=c.queue_events,
            queue_span=None if policy == "block" else c.queue_span,
            max_steps=c.max_steps,
            threads=c.threads,
            patience=c.patience / 1e6 if live else None,
            grace=c.grace / 1e6,
            mark_every=None if self.folder is None else parse_every(c.checkpoint_every)[1],
            prepare=self.assembly.prepare if live or c.speed != "max" else None,
            say=say,
        )

    # --- checkpoints -----------------------------------------------------------------------------------------------

    def _go_on(self, saved: SavedRun, pipeline: Pipeline) -> None:
        """Put everything where it was; a live source has gone on meanwhile."""
        live = type(self.source).live
        saved.folder.go_on(saved, lost=live)
        gap = saved.folder.gaps[-1].model_dump()
        say(f"going on after {saved.manifest.timesteps} timesteps", "gap", quiet=True, **gap)
        pipeline.load_state_dict(saved.state, gap=live)
        for writer in pipeline.writers:
            if saved.manifest.sinks.get(writer.name) is None:
                text = f"sink {writer.name}: had not come so far when the checkpoint was written; some may be missing"
                warn(text, "sink", sink=writer.name)
            try:
                writer.sink.go_on(saved.manifest.sinks.get(writer.name), take(saved.state, "stream/index"))
            except OutputError:
                if not self.request.force:
                    raise

    def _begin_checkpoints(self, folder: CheckpointFolder, pipeline: Pipeline) -> None:
        folder.keep = self.config.stream.keep_checkpoints
        if self.request.saved is None:
            folder.open()
            folder.clear()
        self.keeping = Checkpointing(
            folder,
            every_s=parse_every(self.config.stream.checkpoint_every)[0],
            ask=pipeline.mark,
            about=self._about,
            say=say,
        )
        pipeline.learning.keeper = self.keeping
        self.keeping.start()

    def _checkpoint_now(self) -> Future[str]:
        assert self.keeping is not None
        return self.keeping.now()

    def _about(self) -> dict[str, Any]:
        facts, request = self.pipeline.view.facts, self.request
        asked = {
            "folder": str(Path.cwd()),
            "source": request.source,
            "sinks": request.sinks,
            "save": None if request.save is None else str(request.save),
            "summary": None if request.summary is None else str(request.summary),
            "learn": request.learn,
            "settings": facts.settings,
        }
        return {"run": asked, "classes": facts.classes, "class_names": facts.class_names}

    def _end_checkpoints(self, folder: CheckpointFolder, outcome: Outcome, code: int) -> None:
        """Note that nothing is left to resume, where that is so; a live source may always come back."""
        try:
            over = ("max-steps",) if type(self.source).live else ("end", "max-steps", "damaged")
            if outcome.reason in over and code in (0, InputError.exit_code):
                folder.finish({"reason": outcome.reason, "code": code, "timesteps": self.pipeline.learning.timesteps})
        except OSError as e:
            say(f"checkpoint: {folder.path}: the end of the run cannot be noted: {e.strerror}")
        finally:
            folder.close()

    # --- at the end ------------------------------------------------------------------------------------------------

    async def _finish(self, outcome: Outcome) -> int:
        """Write model, summary and the sinks' ends; say in one line each what went wrong; raise a fault last."""
        fault = outcome.error if not isinstance(outcome.error, StreamOtttError) else None
        if not outcome.began and outcome.reason != "interrupted":
            await self.pipeline.close_sinks(None)
            raise outcome.error or InputError(f"{self.facts.source}: the stream holds no events; nothing to do")
        problems: list[Problem] = []
        if isinstance(outcome.error, StreamOtttError):
            problems.append((outcome.error.exit_code, str(outcome.error)))
        elif fault is not None:
            problems.append((1, f"an error of the program itself: {type(fault).__name__}: {fault}"))
        self._write_model(problems)
        await self.pipeline.drain_sinks()
        snapshot = self.pipeline.snapshot()
        problems += self._problems_of_input(snapshot)
        code = self._exit_code(outcome, problems + self._problems_of_sinks(snapshot))
        message = problems[0][1] if problems else None
        summary = self._summary(snapshot, code, outcome.reason, message)
        if self.request.summary is not None:
            problem = write_somewhere(self.request.summary, partial(write_summary, summary=summary))
            problems += [] if problem is None else [(problem.exit_code, str(problem))]
        await self.pipeline.close_sinks(summary)
        problems += self._problems_of_sinks(self.pipeline.snapshot())
        for exit_code, text in problems if fault is None else problems[1:]:
            warn(text, "problem", code=exit_code)
        self.watching.journal.look(snapshot)
        self._say_the_rest(snapshot)
        code = self._exit_code(outcome, problems)
        timesteps = 0 if snapshot.session is None else snapshot.session.timesteps
        say(f"ended: {outcome.reason}", "end", quiet=True, reason=outcome.reason, code=code, timesteps=timesteps)
        if fault is not None:
            raise fault
        return code

    def _exit_code(self, outcome: Outcome, problems: list[Problem]) -> int:
        if outcome.reason == "interrupted" and self.stopping.signal is not None and self.stopping.exit_code:
            return self.stopping.exit_code
        return problems[0][0] if problems else 0

    def _write_model(self, problems: list[Problem]) -> None:
        if self.request.save is None or self.assembly.learner is None:
            return
        try:
            problem: StreamOtttError | None = write_somewhere(self.request.save, self._save)
        except ModelError as e:  # a model that must not replace a good one
            problem = e
        problems += [] if problem is None else [(problem.exit_code, str(problem))]

    def _save(self, path: Path) -> None:
        facts = self.pipeline.view.facts
        assert self.assembly.learner is not None
        save_checkpoint(path, self.assembly.learner, settings=facts.settings, class_names=facts.class_names)

    def _save_now(self) -> str:
        """Write the model where the user wants it; returns the path."""
        path = self.request.save
        if path is None or self.assembly.learner is None:
            raise UsageError("no file to save the model in; start the run with --save FILE")
        self._save(path)
        return str(path)

    def _summary(
        self, snapshot: RunSnapshot, code: int | None, reason: str, message: str | None = None
    ) -> dict[str, Any]:
        facts, seed = self.pipeline.view.facts, self.config.stream.seed
        found = summarize(facts, snapshot, seed=seed, code=code, reason=reason, message=message)
        keeping, folder = self.keeping, self.folder
        if keeping is not None and folder is not None:
            gaps = [gap.model_dump() for gap in folder.gaps]
            found["checkpoints"] = {"written": keeping.written, "failed": keeping.failed, "gaps": gaps}
        return found

    # --- what to say -----------------------------------------------------------------------------------------------

    def _problems_of_input(self, snapshot: RunSnapshot) -> list[Problem]:
        found = []
        ledger, source, facts = snapshot.ledger, self.facts.source, self.pipeline.view.facts
        parts = []
        clocks = [snapshot.clock, *(one["clock"] for one in snapshot.sources.values())]
        wrong = sum(clock.get("left_out", 0) for clock in clocks)
        if ledger.malformed:
            width, height = facts.sensor or (0, 0)
            outside = ledger.malformed - wrong
            if outside:
                parts.append(f"{outside} events outside the {width}×{height} sensor or outside the range of times")
            if wrong:
                parts.append(f"{wrong} events whose times run in no order")
        if ledger.late:
            parts.append(f"{ledger.late} events whose time runs backwards beyond the open timestep")
        if parts:
            text = f"{source}: {' and '.join(parts)} were left out and counted; all others were used"
            if wrong:
                copy = "" if type(self.source).live else "; `stream-ottt convert` writes a copy without them"
                text += f"; {CURE_OF_TIMES}{copy}"
            why = unusable(self.source, ledger.read, ledger.malformed - wrong, wrong, facts.sensor or (0, 0))
            found.append((InputError.exit_code, text if why is None else f"{source}: {why}"))
        if malformed := snapshot.transport.get("malformed_messages"):
            text = (
                f"{source}: {malformed} messages could not be read and were left out "
                f"(the first: {snapshot.transport['malformed'][0]}); all others were used"
            )
            found.append((InputError.exit_code, text))
        return found

    def _problems_of_sinks(self, snapshot: RunSnapshot) -> list[Problem]:
        """Sinks that did not get or keep everything; what failed was said when it did."""
        optional = {w.name for w in self.pipeline.writers if w.sink.optional}
        found = []
        for name, state in snapshot.sinks.items():
            if state.failure is not None and name not in optional and (state.missed or not state.working):
                found.append((OutputError.exit_code, f"sink {name}: {state.missed} results are missing"))
        return found

    def _say_the_rest(self, snapshot: RunSnapshot) -> None:
        session, source = snapshot.session, self.facts.source
        if snapshot.clock.get("epochs", 1) > 1:
            warn(
                f"{source}: the sensor's clock jumped {snapshot.clock['epochs'] - 1} times; times after a jump back go "
                "on after those before it; see the summary's clock"
            )
        if lost := snapshot.transport.get("lost_messages"):
            warn(f"{source}: {lost} messages never came; see the summary's gaps")
        if overflow := snapshot.ledger.dropped.get("overflow"):
            warn(f"{source}: {overflow} of {snapshot.ledger.read} events were dropped, since the learner was too slow")
        if session is not None and session.label_span and session.stream_span and not session.intervals_met:
            warn(unmet(session.label_span, session.stream_span, name=self.config.labels.file or source))
        if session is not None and session.learning == "no labels":
            how = (
                "no label has come with the stream"
                if self._takes_labels
                else "no label was given; give some with --labels FILE.csv (class,startTime_usec,endTime_usec)"
            )
            warn(f"nothing was learned: {how}")
