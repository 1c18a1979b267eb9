"""What can be said of a run's request before torch is imported, which takes seconds."""

from __future__ import annotations

from pathlib import Path

from stream_ottt.errors import UsageError
from stream_ottt.labels.sidecar import read_label_csv
from stream_ottt.live.commands import check_address
from stream_ottt.registry import split_uri
from stream_ottt.run.config import RunConfig, merge, sources_of
from stream_ottt.run.presets import RUNS, Tables
from stream_ottt.run.request import RunRequest
from stream_ottt.sources.pipe import is_pipe


def check_run(request: RunRequest) -> None:
    """Read the settings, and find source, sinks, model file and room for outputs; nothing is begun.

    Raises:
        StreamOtttError: one line for the user.
    """
    model = None
    learned_with: Tables = {}
    if request.load is not None:
        from stream_ottt.run.model_file import load_checkpoint, settings_to_keep

        model = load_checkpoint(request.load)
        learned_with = settings_to_keep(model)
    preset = {} if request.preset is None else RUNS.read(request.preset)
    config = RunConfig.load(merge(learned_with, preset, request.overrides))
    if config.stream.control is not None:
        check_address(config.stream.control)
    labels = config.labels.file
    if labels is not None and not Path(labels).exists():
        raise UsageError(f"{labels}: no such file; check the path of the labels")
    if labels is not None and not is_pipe(Path(labels)):
        read_label_csv(labels)
    uris = sources_of(request.source, config)
    # Settings are right: only now is it worth importing what opens sources and sinks.
    from stream_ottt.run.opening import open_source_of
    from stream_ottt.sinks.opening import open_sink

    if not any(is_pipe(Path(split_uri(uri)[1])) for uri in uris):  # what came through a pipe would be gone
        open_source_of(uris, config, model).check()
    request.check_outputs([open_sink(sink) for sink in request.sinks])
