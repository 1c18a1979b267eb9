"""What sinks that write lines of text share: a file, a pipe or stdout, flushed at most once a second."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator

from stream_ottt.errors import OutputError
from stream_ottt.outputs import check_writable
from stream_ottt.pipeline.sink import Sink, SinkConfig
from stream_ottt.state import State, take

if TYPE_CHECKING:
    from stream_ottt.pipeline.view import RunView

FLUSH_S = 1.0
"""Seconds between flushes: a reader of the file is at most this far behind."""
ROOM = 1 << 16
"""Bytes that wait to be written, at most about."""


def _named(target: str) -> str:
    if not target:
        raise ValueError("name the file to write, as in NAME:predictions.txt")
    return target


FileTarget = Annotated[str, AfterValidator(_named)]
"""A target that must name a file."""


class TextFileConfig(SinkConfig):
    """Options of a sink that writes text.

    Attributes:
        target: the file, a named pipe, or ``-`` for stdout.
    """

    target: FileTarget


class TextFileSink(Sink):
    """Writes lines of text. What could not be written is kept and written when it can be, from where it broke off."""

    Config = TextFileConfig

    def __init__(self, config: SinkConfig) -> None:
        super().__init__(config)
        self._descriptor: int | None = None
        self._pending = bytearray()
        self._trouble = False
        self._flushed = 0.0
        self._flushing: asyncio.Task[None] | None = None
        self.begins_at = 0  # bytes that are kept of the file

    def check(self, *, overwrite: bool) -> None:
        if self.config.target != "-":
            check_writable(Path(self.config.target), overwrite=overwrite)

    async def open(self, run: RunView) -> None:
        try:
            self._descriptor = _open(self.config.target, self.begins_at)
        except OSError as e:
            raise unwritable(self.config.target, e) from e
        self._flushing = asyncio.create_task(self._flush_regularly())

    async def settle(self) -> State:
        """How long the file is, and what could not be written to it yet; nothing of a pipe or stdout."""
        with suppress(OutputError):
            self._flush()
        if self._descriptor is None or self._descriptor == STDOUT or not _is_file(self._descriptor):
            return {}
        os.fsync(self._descriptor)
        return {"bytes": os.lseek(self._descriptor, 0, os.SEEK_CUR), "pending": self._pending.decode()}

    def go_on(self, state: State | None) -> None:
        path = Path(self.config.target)
        found = path.stat().st_size if path.is_file() else 0
        if not state:
            self.begins_at = found
            return
        size = take(state, "bytes")
        self.begins_at = min(size, found)
        if found < size:
            raise OutputError(
                f"{path}: has {found} bytes, and {size} had been written to it: lines are missing; "
                "put it back as it was, or say --force to go on without them"
            )
        self._pending += take(state, "pending").encode()

    def write(self, text: str) -> None:
        """Take ``text``, and flush when the last flush is a second old.

        Raises:
            OutputError: what was taken before could not be written, nor can it now; ``text`` was not taken.
        """
        if self._trouble:
            self._flush()
        self._pending += text.encode()
        if len(self._pending) >= ROOM or time.monotonic() - self._flushed >= FLUSH_S:
            with suppress(OutputError):
                self._flush()

    async def close(self, summary: dict[str, Any] | None) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            await asyncio.gather(self._flushing, return_exceptions=True)
        try:
            self._flush()
        finally:
            self._let_go()

    async def _flush_regularly(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            with suppress(OutputError):
                self._flush()

    def _flush(self) -> None:
        self._flushed = time.monotonic()
        try:
            while self._pending:
                if self._descriptor is None:
                    self._descriptor = _open(self.config.target, self.begins_at)
                if self._descriptor is None:
                    raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
                del self._pending[: _write(self._descriptor, self._pending)]
        except OSError as e:
            self._trouble = True
            if e.errno == errno.EPIPE:
                self._let_go()  # another reader may come
            raise unwritable(self.config.target, e) from e
        self._trouble = False

    def _let_go(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None and descriptor > STDOUT:
            with suppress(OSError):  # what is wrong was already reported
                os.close(descriptor)


STDOUT = -1
"""Stands for ``sys.stdout``, whatever that is."""


def _is_file(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def _open(target: str, begins_at: int) -> int | None:
    """A descriptor to write to, behind so many bytes of a file; None for a pipe that nobody reads yet.

    Raises:
        OSError: it cannot be opened, or another program writes it.
    """
    if target == "-":
        return STDOUT
    try:
        # Without O_NONBLOCK a pipe that nobody reads would not even open.
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as e:
        if e.errno == errno.ENXIO:
            return None
        raise
    os.set_blocking(descriptor, True)
    if _is_file(descriptor):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise OSError(errno.EBUSY, "another program writes it") from None
        os.ftruncate(descriptor, begins_at)
        os.lseek(descriptor, begins_at, os.SEEK_SET)
    return descriptor


def _write(descriptor: int, data: bytearray) -> int:
    """Write some of ``data``; returns how much."""
    if descriptor != STDOUT:
        return os.write(descriptor, data)
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):  # no file
        sys.stdout.write(data.decode())
        return len(data)
    sys.stdout.flush()
    return os.write(number, data)


def unwritable(target: str, error: OSError) -> OutputError:
    """The OutputError that says which output failed, why, and what to do."""
    name = "stdout" if target == "-" else target
    reason = "nobody reads it" if error.errno in (errno.ENXIO, errno.EPIPE) else error.strerror or error
    return OutputError(f"{name}: cannot be written: {reason}; check the folder, its permissions and the disk's space")
