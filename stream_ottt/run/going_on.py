"""From a saved run to one that goes on, and from one that has ended to a folder with nothing left to resume."""

from __future__ import annotations

from stream_ottt.errors import InputError, OutputError
from stream_ottt.log import say, warn
from stream_ottt.pipeline.outcome import Outcome
from stream_ottt.pipeline.pipeline import Pipeline
from stream_ottt.run.checkpoint import SavedRun
from stream_ottt.run.checkpoint_folder import CheckpointFolder
from stream_ottt.state import take


def go_on(saved: SavedRun, pipeline: Pipeline, *, force: bool) -> None:
    """Put everything where it was; a live source has gone on meanwhile.

    Raises:
        OutputError: lines of an output are gone, and nobody forces it.
    """
    live = type(pipeline.source).live
    saved.folder.go_on(saved, lost=live)
    text = f"going on after {saved.manifest.timesteps} timesteps"
    say(text, "gap", quiet=True, **saved.folder.gaps[-1].model_dump())
    pipeline.load_state_dict(saved.state, gap=live)
    for writer in pipeline.writers:
        state = saved.manifest.sinks.get(writer.name)
        if state is None:
            text = f"sink {writer.name}: had not come so far when the checkpoint was written; some may be missing"
            warn(text, "sink", sink=writer.name)
        try:
            writer.sink.go_on(state, take(saved.state, "stream/index"))
        except OutputError:
            if not force:
                raise


def note_end(folder: CheckpointFolder, pipeline: Pipeline, outcome: Outcome, code: int) -> None:
    """Note that nothing is left to resume, where that is so; a live source may always come back."""
    over = ("max-steps",) if type(pipeline.source).live else ("end", "max-steps", "damaged")
    if outcome.reason not in over or code not in (0, InputError.exit_code):
        return
    try:
        folder.finish({"reason": outcome.reason, "code": code, "timesteps": pipeline.learning.timesteps})
    except OSError as e:
        say(f"checkpoint: {folder.path}: the end of the run cannot be noted: {e.strerror}")
