"""A recording that comes through a named pipe or from another program (``<(cat x.raw)``), or is packed: read once,
into a temporary file, since most formats look around in theirs."""

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
from stream_ottt.sources.packed import packing_of, unpacked

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
    """What came in pieces, in a temporary file that is deleted with this object.

    Args:
        pieces: of the recording.
        path: of what they come from, for messages.
        suffix: of the recording's name.

    Attributes:
        damage: what ended it early, after at least one piece; None for a whole one.

    Raises:
        InputError: nothing could be read, or there is no room for what comes.
    """

    def __init__(self, pieces: Iterator[bytes], path: Path, suffix: str) -> None:
        file, name = tempfile.mkstemp(prefix="stream-ottt-", suffix=suffix)
        self.path = Path(name)
        self.damage: InputError | None = None
        weakref.finalize(self, self.path.unlink, missing_ok=True)
        try:
            with open(file, "wb") as out:  # noqa: PTH123 - a descriptor
                try:
                    for data in pieces:
                        out.write(data)
                except InputError as e:
                    if not out.tell():
                        raise
                    self.damage = e
        except OSError as e:
            raise InputError(f"cannot be read into {tempfile.gettempdir()}: {e.strerror}", path=path) from e


def spool(pieces: Iterator[bytes], path: Path) -> Spooled:
    """A recording that comes once, unpacked where it is packed. Raises InputError as :class:`Spooled`."""
    spooled = Spooled(pieces, path, path.suffix)
    if packing := packing_of(spooled.path):
        return Spooled(unpacked(spooled.path, packing, path), path, path.suffix)
    return spooled


def from_pipe(path: Path) -> Iterator[bytes]:
    """What comes through a pipe, to its end. Raises InputError where nobody writes into it."""
    pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while data := _next(pipe, path):
            yield data
    finally:
        os.close(pipe)


def _next(pipe: int, path: Path) -> bytes:
    """What comes next, empty at the end."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    if not poll.poll(PATIENCE_S * 1000):
        raise InputError(f"nobody has written into this pipe for {PATIENCE_S:g} s", path=path)
    return os.read(pipe, CHUNK)


class SpooledSource(BlockingSource):
    """Any file source over what came through a pipe or was packed; messages name that.

    Args:
        inner: the source, over the temporary file.
        spooled: the temporary file.
        path: the pipe, or the packed file.
        kind: ``pipe``, or the packing's name.
    """

    name = "spooled"

    def __init__(self, inner: FileSource, spooled: Spooled, path: Path, kind: str) -> None:
        super().__init__(inner.config)
        self._kind = kind
        self._inner = inner
        self._spooled = spooled
        self._path = path

    def packets(self) -> Iterator[EventPacket]:
        """All events, as often as wanted."""
        yield from self._named(self._inner.packets())

    def excerpt(self) -> Iterator[EventPacket]:
        """The stream with the options of time applied."""
        yield from self._named(self._inner.excerpt())

    def share_read(self, t: int = 0) -> float | None:
        """The recording's own."""
        return self._inner.share_read(t)

    def _named(self, packets: Iterator[EventPacket]) -> Iterator[EventPacket]:
        with self._in_its_name():
            try:
                for packet in packets:
                    self.take_notes(self._inner)
                    yield packet
            except InputError as e:
                raise self._spooled.damage or e from e
        if self._spooled.damage is not None:
            raise self._spooled.damage

    @contextmanager
    def _in_its_name(self) -> Iterator[None]:
        try:
            yield
        except InputError as e:
            where = "" if e.path is None else str(InputError("", path=e.path, offset=e.offset))
            message = str(e).removeprefix(where).replace(str(self._spooled.path), str(self._path))
            raise InputError(message, path=self._path, offset=e.offset if where else None) from e

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
            return {"format": self._inner.name, "input": self._kind, **self._inner.describe()}
