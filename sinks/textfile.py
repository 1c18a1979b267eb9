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
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, field_validator, model_validator

from stream_ottt.errors import OutputError
from stream_ottt.outputs import check_writable
from stream_ottt.pipeline.sink import Sink, SinkConfig
from stream_ottt.settings import Unit
from stream_ottt.sinks.parts import Parts, parse_rotate
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
        rotate: begin a new file after so many bytes, such as ``"100MB"``, or at each full ``"1h"``; the one before gets
            a number, as in ``out.000001.jsonl``.
        keep: numbered files that stay, the newest; None keeps all.
    """

    target: FileTarget
    rotate: Annotated[str | None, Unit("size or duration")] = None
    keep: int | None = Field(None, ge=1)

    @field_validator("rotate")
    @classmethod
    def _rotate(cls, value: str | None) -> str | None:
        if value is not None:
            parse_rotate(value)
        return value

    @model_validator(mode="after")
    def _rotates_a_file(self) -> TextFileConfig:
        if self.rotate is not None and self.target == "-":
            raise ValueError("stdout cannot rotate; name a file, or leave rotate= out")
        if self.keep is not None and self.rotate is None:
            raise ValueError("keep= says how many files stay that rotate= begins; say both")
        return self


class TextFileSink(Sink):
    """Writes lines of text. What could not be written is kept and written when it can be, from where it broke off."""

    Config: ClassVar[type[SinkConfig]] = TextFileConfig
    config: TextFileConfig

    def __init__(self, config: SinkConfig) -> None:
        super().__init__(config)
        self._parts = Parts(Path(self.config.target), self.config.rotate, self.config.keep)
        self._ended: int | None = None  # parts that had, of a run that goes on
        self._size = 0  # of the part that grows, with what is pending
        self._descriptor: int | None = None
        self._pending = bytearray()
        self._trouble = False
        self._flushed = 0.0
        self._flushing: asyncio.Task[None] | None = None
        self.begins_at = 0  # bytes that are kept of the file

    def header(self) -> str:
        """What each file begins with."""
        return ""

    def step_of(self, line: bytes) -> int | None:
        """Index of the timestep of a line; None for one that has none."""
        return None

    def check(self, *, overwrite: bool) -> None:
        if self.config.target == "-":
            return
        path = self._parts.path
        check_writable(path, overwrite=overwrite)
        if self._parts.rotates and path.exists() and not path.is_file():
            raise OutputError(f"{path}: is no file, and cannot rotate; leave rotate= out")
        if self._parts.numbers() and not overwrite:
            raise OutputError(f"{path}: numbered files of it exist already; name another file, or say --force")

    async def open(self, run: RunView) -> None:
        try:
            if self._ended is None:
                self._parts.clear()
            else:
                self._parts.go_back(self._ended)
            self._descriptor = _open(self.config.target, self.begins_at)
        except OSError as e:
            raise unwritable(self.config.target, e) from e
        self._size = self.begins_at + len(self._pending)
        if not self._size:
            self._begin()
        self._flushing = asyncio.create_task(self._flush_regularly())

    async def settle(self) -> State:
        """How long the file is, and what could not be written to it yet; nothing of a pipe or stdout."""
        with suppress(OutputError):
            self._flush()
        if self._descriptor is None and not self._parts.path.is_fifo():
            raise unwritable(self.config.target, OSError(errno.ENOENT, os.strerror(errno.ENOENT)))
        if self._descriptor is None or self._descriptor == STDOUT or not _is_file(self._descriptor):
            return {}
        os.fsync(self._descriptor)
        size = os.lseek(self._descriptor, 0, os.SEEK_CUR)
        return {"ended": self._parts.ended, "bytes": size, "pending": self._pending.decode()}

    def go_on(self, state: State | None, step: int) -> None:
        self._ended = 0
        if self.config.target == "-":
            return
        if not state:  # not known how far it had come, but each line says its timestep
            self._ended, self.begins_at = self._parts.before(step, self.step_of)
            return
        size, self._ended = take(state, "bytes"), take(state, "ended")
        path = self._parts.file_after(self._ended)
        found = path.stat().st_size if path.is_file() else 0
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
        if self._parts.rotates and self._parts.is_over(self._size):
            self._turn()
        self._take(text)
        if len(self._pending) >= ROOM or time.monotonic() - self._flushed >= FLUSH_S:
            with suppress(OutputError):
                self._flush()

    def _take(self, text: str) -> None:
        data = text.encode()
        self._pending += data
        self._size += len(data)

    def _begin(self) -> None:
        self._take(self.header())

    def _turn(self) -> None:
        """Begin a new file. Raises OutputError when the old one cannot be ended; it grows on then."""
        self._flush()
        try:
            if self._descriptor is not None:
                os.fsync(self._descriptor)
            self._parts.end()
            self._let_go()
            self.begins_at = self._size = 0
            self._begin()
            self._descriptor = _open(self.config.target, 0)
        except OSError as e:
            raise unwritable(self.config.target, e) from e

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
