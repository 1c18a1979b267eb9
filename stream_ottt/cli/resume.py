"""``stream-ottt resume``: go on with a run that was stopped."""

from __future__ import annotations

from pathlib import Path

from stream_ottt.errors import UsageError
from stream_ottt.log import say
from stream_ottt.run.checkpoint_folder import CheckpointFolder
from stream_ottt.run.resume import find
from stream_ottt.run.stopping import Stopping


def resume(folder: Path, *, force: bool, stopping: Stopping) -> int:
    """Go on to the end; the run's exit code, 0 for one that has finished already.

    Raises:
        StreamOtttError: there is nothing good to go on from; one line for the user.
    """
    found = find(folder, force=force)
    for line in found.remarks:
        say(line)
    if found.request is None:
        how = found.finished or {}
        say(f"{folder}: this run has finished ({how.get('reason')}, {how.get('timesteps')} timesteps); nothing is left")
        return 0
    from stream_ottt.run.run import run  # imports torch, which takes seconds

    return run(found.request, stopping)


def resumable(folder: Path | None) -> Path | None:
    """The folder, where a run has left checkpoints in it.

    Raises:
        UsageError: no folder was named.
    """
    if folder is None:
        raise UsageError("--resume: where from? name the folder with --checkpoint FOLDER")
    return folder if CheckpointFolder(folder).is_used() else None
