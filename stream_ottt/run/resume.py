"""Going on with a run from its newest good checkpoint, as if it had never stopped."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream_ottt.errors import ModelError
from stream_ottt.run.checkpoint import SavedRun
from stream_ottt.run.checkpoint_folder import CheckpointFolder
from stream_ottt.run.request import RunRequest


@dataclass(frozen=True, slots=True)
class Resumable:
    """What there is in a folder of checkpoints.

    Attributes:
        request: what is to be run; None for a run that has finished.
        finished: how it has; None for one that has not.
        remarks: what a user should know first, a line each.
    """

    request: RunRequest | None
    finished: dict[str, Any] | None
    remarks: list[str]


def find(folder: Path, *, force: bool = False) -> Resumable:
    """What there is to go on with. The working folder becomes that of the run.

    Args:
        folder: the checkpoints.
        force: go on also where lines of an output are missing.

    Raises:
        ModelError: no such folder, or no checkpoint in it is good.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder}: there is no such folder of checkpoints")
    checkpoints = CheckpointFolder(folder.resolve())
    finished = checkpoints.finished()
    if finished is not None:
        return Resumable(None, finished, [])
    if checkpoints.is_used():  # else nothing is left in it
        checkpoints.open()
    saved, wrong = checkpoints.newest()
    manifest = saved.manifest
    remarks = [f"{line}; going on from the one before" for line in wrong]
    remarks.append(f"going on after {manifest.timesteps} timesteps, from {manifest.written}")
    return Resumable(_request(saved, force), None, remarks)


def _request(saved: SavedRun, force: bool) -> RunRequest:
    run = saved.manifest.run
    try:
        os.chdir(run.folder)
    except OSError as e:
        raise ModelError(
            f"{saved.folder.path}: the run's working folder {run.folder} is not there: {e.strerror}"
        ) from e
    return RunRequest(
        source=run.source,
        overrides=run.settings,
        sinks=list(run.sinks),
        save=None if run.save is None else Path(run.save),
        summary=None if run.summary is None else Path(run.summary),
        learn=run.learn,
        force=force,
        checkpoints=saved.folder.path,
        saved=saved,
    )
