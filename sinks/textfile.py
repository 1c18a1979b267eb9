"""What sinks that write lines of text share: one buffered file or stdout, flushed at most once a second."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator

from stream_ottt.errors import OutputError
from stream_ottt.pipeline.sink import Sink, SinkConfig

if TYPE_CHECKING:
    from stream_ottt.pipeline.progress import Progress

FLUSH_S = 1.0
"""Seconds between flushes: a reader of the file is at most this far behind."""


def _named(target: str) -> str:
    if not target:
        raise ValueError("name the file to write, as in NAME:predictions.txt")
    return target


FileTarget = Annotated[str, AfterValidator(_named)]
"""A target that must name a file."""


def _create(target: str) -> IO[str]:
    return Path(target).open("w", encoding="utf-8", newline="\n")


class TextFileConfig(SinkConfig):
    """Options of a sink that writes text.

    Attributes:
        target: the file, overwritten when it exists, or ``-`` for stdout.
    """

    target: FileTarget


class TextFileSink(Sink):
    """Writes lines of text. A failure is reported once, with the path, and the file is let go of."""

    Config = TextFileConfig

    def __init__(self, config: SinkConfig) -> None:
        super().__init__(config)
        self._file: IO[str] | None = None
        self._flushed = 0.0

    async def open(self, progress: Progress) -> None:
        try:
            if self.config.target == "-":
                self._file = sys.stdout
            else:
                self._file = await asyncio.to_thread(_create, self.config.target)
        except OSError as e:
            raise unwritable(self.config.target, e) from e

    def write(self, text: str) -> None:
        """Write ``text`` and flush when the last flush is a second old.

        Raises:
            OutputError: it cannot be written, as on a full disk.
        """
        if self._file is None:
            return
        try:
            self._file.write(text)
            now = time.monotonic()
            if now - self._flushed >= FLUSH_S:
                self._file.flush()
                self._flushed = now
        except OSError as e:
            self._let_go()
            raise unwritable(self.config.target, e) from e

    async def close(self, summary: dict[str, Any] | None) -> None:
        if self._file is None:
            return
        try:
            self._file.flush()
        except OSError as e:
            raise unwritable(self.config.target, e) from e
        finally:
            self._let_go()

    def _let_go(self) -> None:
        file, self._file = self._file, None
        if file is not None and file is not sys.stdout:
            with suppress(OSError):  # closing flushes once more, and what is wrong was already reported
                file.close()


def unwritable(target: str, error: OSError) -> OutputError:
    """The OutputError that says which output failed, why, and what to do."""
    name = "stdout" if target == "-" else target
    return OutputError(
        f"{name}: cannot be written: {error.strerror or error}; check the folder, its permissions and the disk's space"
    )
