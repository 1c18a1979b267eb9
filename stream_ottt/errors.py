"""The errors a user can meet, each with its exit code.

Every message is one line that names the place (file and byte offset, or configuration key), what was expected there,
and what to do about it. Anything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations

from pathlib import Path


class StreamOtttError(Exception):
    """Base of all errors that a user can correct. ``exit_code`` is what the command line returns."""

    exit_code = 1


class UsageError(StreamOtttError):
    """A wrong option, configuration key or value; a label file that cannot be used. Exit code 2."""

    exit_code = 2


class InputError(StreamOtttError):
    """An input that cannot be read, or is damaged from some point on. Exit code 3.

    A source raises it *after* yielding everything that was good before the damage.

    Args:
        message: what was expected and what was found, with the fix.
        path: the file or address.
        offset: byte offset of the damage, when there is one.
    """

    exit_code = 3

    def __init__(self, message: str, *, path: str | Path | None = None, offset: int | None = None) -> None:
        where = "" if path is None else str(path)
        if offset is not None:
            where += f", byte {offset}" if where else f"byte {offset}"
        super().__init__(f"{where}: {message}" if where else message)
        self.path = path
        self.offset = offset


class ModelError(StreamOtttError):
    """A model file that is no model, or one for another network. Exit code 4."""

    exit_code = 4


class OutputError(StreamOtttError):
    """An output that cannot be written. Exit code 5."""

    exit_code = 5


INTERRUPTED = 130
"""Exit code after Ctrl-C: the current step was finished and everything asked for was written."""
