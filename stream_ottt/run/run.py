"""One run from the user's words to an exit code: settings, source, sinks, pipeline, outputs."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import Future
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from stream_ottt.errors import InputError, ModelError, StreamOtttError
from stream_ottt.live.inputs import LiveInputs
from stream_ottt.log import say, warn
from stream_ottt.outputs import write_somewhere
from stream_ottt.pipeline.outcome import Outcome
from stream_ottt.pipeline.pipeline import Pipeline
from stream_ottt.pipeline.sink import Sink
from stream_ottt.pipeline.source import Source
from stream_ottt.pipeline.view import RunFacts, RunSnapshot
from stream_ottt.run.assembly import Assembly
from stream_ottt.run.checkpoint_folder import CheckpointFolder
from stream_ottt.run.checkpointing import Checkpointing
from stream_ottt.run.config import RunConfig, merge, parse_every, sources_of, to_tables
from stream_ottt.run.going_on import go_on, note_end
from stream_ottt.run.learned_from import seen_before, streams_of
from stream_ottt.run.model_file import load_checkpoint, save_checkpoint, settings_to_keep
from stream_ottt.run.opening import open_source_of
from stream_ottt.run.presets import RUNS
from stream_ottt.run.problems import Problem, nothing_came, problems_of_input, problems_of_sinks, remarks
from stream_ottt.run.request import RunRequest
from stream_ottt.run.stopping import Stopping
from stream_ottt.run.summary import summarize, write_summary
from stream_ottt.run.watching import Watching
from stream_ottt.sinks.opening import open_sink


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
        preset = {} if request.preset is None else RUNS.read(request.preset)
        self.config = RunConfig.load(merge(learned_with, preset, request.overrides))
        uris = sources_of(request.source, self.config)
        begun = model or request.saved
        self.source: Source = open_source_of(uris, self.config, begun, say)
        self.sinks: list[Sink] = [open_sink(s) for s in request.sinks]
        request.check_outputs(self.sinks)
        self.folder = None if request.saved is None else request.saved.folder
        if request.checkpoints is not None and self.folder is None:
            self.folder = CheckpointFolder(request.checkpoints)
            if not request.force:
                self.folder.check_empty()
        before = request.saved.manifest.run.learned_from if request.saved is not None else None
        self.loaded_learned_from = before if model is None else model.facts.learned_from
        keeps = request.save is not None or self.loaded_learned_from is not None or self.folder is not None
        self.streams = streams_of(uris, self.source) if keeps else ()
        learned = self.loaded_learned_from
        seen = False if learned is None else seen_before(self.streams, learned)
        self.facts = RunFacts(" + ".join(uris), to_tables(self.config), seen_before=seen)
        self._takes_labels = self.source.gives_labels or any(sink.gives_labels for sink in self.sinks)
        self.assembly = Assembly(
            self.config,
            self.facts,
            self.source,
            checkpoint=begun,
            learn=request.learn,
            takes_labels=self._takes_labels,
            say=say,
        )
        self.keeping: Checkpointing | None = None

    async def go(self) -> int:
        """Open the sinks, run the pipeline, write what was asked for."""
        try:
            return await self._go()
        finally:
            if self.folder is not None:
                self.folder.close()

    async def _go(self) -> int:
        pipeline = self._make_pipeline()
        if self.request.saved is not None:
            go_on(self.request.saved, pipeline, force=self.request.force)
        inputs = LiveInputs(
            pipeline,
            key_span=self.config.labels.key_span,
            labels=self._takes_labels,
            save=None if self.request.save is None else partial(self._save_now, self.request.save),
            checkpoint=None if self.folder is None else self._checkpoint_now,
            status=lambda snapshot: self._summary(snapshot, None, "running"),
        )
        self.pipeline = pipeline
        self.watching = Watching(pipeline.view, live=type(self.source).live)
        try:
            # Ports first: whoever is refused one must not have touched a file.
            if self.config.stream.control is not None:
                say(f"commands are taken at {inputs.open_control(self.config.stream.control)}")
            if self.folder is not None:
                self._begin_checkpoints(self.folder, pipeline)
            await pipeline.writers.open(pipeline.view)
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
            note_end(self.folder, pipeline, outcome, code)
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

    def _begin_checkpoints(self, folder: CheckpointFolder, pipeline: Pipeline) -> None:
        folder.keep = self.config.stream.keep_checkpoints
        if self.request.saved is None:
            folder.open()
            folder.clear()
        self.keeping = Checkpointing(
            folder,
            every_s=parse_every(self.config.stream.checkpoint_every)[0],
            ask=pipeline.binner.mark,
            about=self._about,
            say=say,
        )
        pipeline.learning.keeper = self.keeping
        self.keeping.start()

    def _checkpoint_now(self) -> Future[str]:
        assert self.keeping is not None
        return self.keeping.now()

    def _about(self) -> dict[str, Any]:
        facts = self.pipeline.view.facts
        before = self.loaded_learned_from
        learned_from = None if before is None else [stream.model_dump(mode="json") for stream in before]
        asked = {**self.request.about(), "settings": facts.settings, "learned_from": learned_from}
        return {"run": asked, "classes": facts.classes, "class_names": facts.class_names}

    # --- at the end ------------------------------------------------------------------------------------------------

    async def _finish(self, outcome: Outcome) -> int:
        """Write model, summary and the sinks' ends; say in one line each what went wrong; raise a fault last."""
        fault = outcome.error if not isinstance(outcome.error, StreamOtttError) else None
        if not outcome.began and outcome.reason != "interrupted":
            await self.pipeline.writers.close(None)
            raise outcome.error or InputError(nothing_came(self.source, self.facts))
        problems: list[Problem] = []
        if isinstance(outcome.error, StreamOtttError):
            problems.append((outcome.error.exit_code, str(outcome.error)))
        elif fault is not None:
            problems.append((1, f"an error of the program itself: {type(fault).__name__}: {fault}"))
        self._write_model(problems)
        writers = self.pipeline.writers
        await writers.drain()
        snapshot = self.pipeline.snapshot()
        problems += problems_of_input(self.source, self.pipeline.view.facts, snapshot)
        code = self._exit_code(outcome, problems + problems_of_sinks(writers, snapshot))
        message = problems[0][1] if problems else None
        summary = self._summary(snapshot, code, outcome.reason, message)
        if self.request.summary is not None:
            problem = write_somewhere(self.request.summary, partial(write_summary, summary=summary))
            problems += [] if problem is None else [(problem.exit_code, str(problem))]
        await writers.close(summary if outcome.began else None)
        problems += problems_of_sinks(writers, self.pipeline.snapshot())
        for exit_code, text in problems if fault is None else problems[1:]:
            warn(text, "problem", code=exit_code)
        self.watching.journal.look(snapshot)
        if not outcome.began:
            unsaved = "" if self.request.save is None else f"; {self.request.save} was not written"
            warn(nothing_came(self.source, self.facts) + unsaved)
        labels = self.config.labels.file
        for text in remarks(self.facts, snapshot, labels=labels, takes_labels=self.source.gives_labels):
            warn(text)
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
        learned_from = [*(self.loaded_learned_from or ()), *(self.streams if self.request.learn else ())]
        save_checkpoint(
            path,
            self.assembly.learner,
            settings=facts.settings,
            class_names=facts.class_names,
            learned_from=dict.fromkeys(learned_from),
        )

    def _save_now(self, path: Path) -> str:
        """Write the model; returns the path."""
        self._save(path)
        return str(path)

    def _summary(self, seen: RunSnapshot, code: int | None, reason: str, message: str | None = None) -> dict[str, Any]:
        facts, seed = self.pipeline.view.facts, self.config.stream.seed
        found = summarize(facts, seen, seed=seed, code=code, reason=reason, message=message)
        if (learned := self.loaded_learned_from) is not None:
            known = {"learned_from": [stream.name for stream in learned]}
            found["model"] = {**known, "seen_before": facts.seen_before}
        if self.keeping is not None and self.folder is not None:
            gaps = [gap.model_dump() for gap in self.folder.gaps]
            state = self.keeping.state()
            found["checkpoints"] = {"written": state.written, "failed": state.failed, "gaps": gaps}
        return found
