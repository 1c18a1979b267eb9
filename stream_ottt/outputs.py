"""Outputs of a run: refused before it where they cannot be written, and written somewhere after it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from stream_ottt.errors import OutputError

AGAIN_S = 0.5


def check_writable(path: Path, *, overwrite: bool) -> None:
    """Find out before the run that an output cannot be written after it.

    Args:
        path: the file.
        overwrite: whether a file that holds something may be written anew.

    Raises:
        OutputError: no such folder, no right to write, a folder of that name, or a file that would be lost.
    """
    folder = path.parent
    if path.is_dir():
        raise OutputError(f"{path}: cannot be written: it is a folder; name a file in it")
    if not folder.is_dir():
        raise OutputError(f"{path}: cannot be written: there is no folder {folder}; make it first")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise OutputError(f"{path}: cannot be written: no right to write there")
    if not overwrite and path.is_file() and path.stat().st_size:
        raise OutputError(f"{path}: exists already; name another file, or say --force to write it anew")


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that is never seen half-written, and outlasts a loss of power once this has returned.

    What is no regular file (a pipe, a device) is written directly.

    Raises:
        OSError: it cannot be written; a file that was there is as it was.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    partial = path.with_name(path.name + ".partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        try:
            _write_all(descriptor, memoryview(data))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        partial.replace(path)
        sync_folder(path.parent)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Make names in a folder outlast a loss of power: those that were given, and those that are gone.

    Raises:
        OSError: the disk refuses.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def write_somewhere(path: Path, write: Callable[[Path], None]) -> OutputError | None:
    """Write an output at the end of a run: where it was wanted, else, after a second attempt, in the temporary folder.

    Args:
        path: where it was wanted.
        write: writes it to a path; raises OutputError.

    Returns:
        None, or what to tell: why it is not where it was wanted, and where it is.
    """
    try:
        write(path)
        return None
    except OutputError:
        time.sleep(AGAIN_S)
    try:
        write(path)
        return None
    except OutputError as e:
        problem = e
    other = Path(tempfile.mkdtemp(prefix="stream-ottt-")) / path.name
    try:
        write(other)
    except (OutputError, OSError):
        return problem
    return OutputError(f"{problem}; it was written to {other} instead")
