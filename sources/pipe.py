"""A recording that comes through a named pipe or from another program (``<(cat x.raw)``): read once, into a temporary
file, since most formats look around in theirs."""

from __future__ import annotations

import os
import select
import stat
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EventPacket
from stream_ottt.labels.timeline import LabelInterval
from stream_ottt.pipeline.source import BlockingSource, FileSource

CHUNK = 1 << 18
PATIENCE_S = 30.0
"""A pipe into which nobody writes for so long is given up."""


def is_pipe(path: Path) -> bool:
    """Whether this is a pipe or a socket: something that can be read only once.

    Raises:
        InputError: a device, which has no end.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    if stat.S_ISBLK(mode) or (stat.S_ISCHR(mode) and path.resolve() != Path(os.devnull)):
        raise InputError("is a device, not a recording; cameras are read with camera://", path=path)
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


class Spooled:
    """What came through a pipe, in a temporary file that is deleted with this object.

    Raises:
        InputError: nobody writes into the pipe, or there is no room for what comes.
    """

    def __init__(self, path: Path) -> None:
        file, name = tempfile.mkstemp(prefix="stream-ottt-", suffix=path.suffix)
        self.path = Path(name)
        weakref.finalize(self, self.path.unlink, missing_ok=True)
        try:
            with open(file, "wb") as out:  # noqa: PTH123 - a descriptor
                pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
                try:
                    while data := _next(pipe, path):
                        out.write(data)
                finally:
                    os.close(pipe)
        except OSError as e:
            raise InputError(f"cannot be read into {tempfile.gettempdir()}: {e.strerror}", path=path) from e


def _next(pipe: int, path: Path) -> bytes:
    """What comes next, empty at the end."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    if not poll.poll(PATIENCE_S * 1000):
        raise InputError(f"nobody has written into this pipe for {PATIENCE_S:g} s", path=path)
    return os.read(pipe, CHUNK)


class PipedSource(BlockingSource):
    """Any file source over what came through a pipe; messages name the pipe.

    Args:
        inner: the source, over the temporary file.
        spooled: the temporary file.
        path: the pipe.
    """

    name = "pipe"

    def __init__(self, inner: FileSource, spooled: Spooled, path: Path) -> None:
        super().__init__(inner.config)
        self._inner = inner
        self._spooled = spooled
        self._path = path

    def packets(self) -> Iterator[EventPacket]:
        """All events, as often as wanted."""
        yield from self._named(self._inner.packets())

    def excerpt(self) -> Iterator[EventPacket]:
        """The stream with the options of time applied."""
        yield from self._named(self._inner.excerpt())

    def _named(self, packets: Iterator[EventPacket]) -> Iterator[EventPacket]:
        with self._in_its_name():
            for packet in packets:
                self.size_from = self._inner.size_from
                yield packet

    @contextmanager
    def _in_its_name(self) -> Iterator[None]:
        try:
            yield
        except InputError as e:
            message = str(e).replace(str(self._spooled.path), str(self._path))
            raise InputError(message.removeprefix(f"{self._path}: "), path=self._path) from e

    @property
    def labels(self) -> Sequence[LabelInterval] | None:
        """The recording's own."""
        return self._inner.labels

    @property
    def class_names(self) -> dict[int, str]:
        """The recording's own."""
        return self._inner.class_names

    def describe(self) -> dict[str, Any]:
        """The format, and what it says."""
        with self._in_its_name():
            return {"format": self._inner.name, "input": "pipe", **self._inner.describe()}
