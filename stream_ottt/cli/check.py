"""What can be said of a run's request before torch is imported, which takes seconds."""

from __future__ import annotations

from pathlib import Path

from stream_ottt.errors import UsageError
from stream_ottt.registry import split_uri
from stream_ottt.run.config import RunConfig, merge, sources_of
from stream_ottt.run.model_file import load_checkpoint, settings_to_keep
from stream_ottt.run.presets import RUNS, Tables
from stream_ottt.sinks.opening import open_sink
from stream_ottt.sources.merged.opening import open_sources
from stream_ottt.sources.pipe import is_pipe


def check_run(
    *, source: str | None, preset: str | None, overrides: Tables, sinks: list[str], load: Path | None
) -> None:
    """Read the settings, and find source, sinks and model file; nothing is begun.

    Raises:
        StreamOtttError: one line for the user.
    """
    learned_with = {} if load is None else settings_to_keep(load_checkpoint(load))
    config = RunConfig.load(merge(learned_with, {} if preset is None else RUNS.read(preset), overrides))
    labels = config.labels.file
    if labels is not None and not Path(labels).exists():
        raise UsageError(f"{labels}: no such file; check the path of the labels")
    uris = sources_of(source, config)
    if not any(is_pipe(Path(split_uri(uri)[1])) for uri in uris):  # what came through a pipe would be gone
        open_sources(uris)
    for sink in sinks:
        open_sink(sink)
