"""What every event file writer is: opened on a path, fed packets, closed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from stream_ottt.errors import OutputError
from stream_ottt.events.packet import EventArray


class EventWriter(ABC):
    """Writes one event file, packet by packet, in bounded memory. Reading it back gives the same events
    exactly.

    Class attributes:
        name: the short name in the registry, also the format's name for ``?format=``.
        suffixes: file name endings that mean this format, with the dot.

    Args:
        path: the file to write; replaced when it exists.
        width: sensor width in pixels.
        height: sensor height in pixels.
    """

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]

    def __init__(self, path: Path, width: int, height: int) -> None:
        self.path = path
        self.width = width
        self.height = height
        try:
            self.file = path.open("w+b")
        except OSError as e:
            raise OutputError(f"{path}: cannot be written: {e.strerror}; check the folder and its rights") from e

    def columns_within(self, events: EventArray, side: int, time: int, *, called: str) -> list[npt.NDArray[np.int64]]:
        """The columns x, y and t, int64 [n] each, of events that the format can hold.

        Args:
            events: [n] of EVENT_DTYPE, n > 0.
            side: x and y must be below it.
            time: t must be below it, µs.
            called: the format's name for messages.

        Raises:
            OutputError: an event that the format cannot hold.
        """
        columns = [events[key].astype(np.int64) for key in ("x", "y", "t")]
        for key, column, limit in zip(("x", "y", "t"), columns, (side, side, time), strict=True):
            if column.min() < 0 or column.max() >= limit:
                worst = column[(column < 0) | (column >= limit)][0]
                raise OutputError(f"{self.path}: {called} holds {key} from 0 to {limit - 1}, not {worst}; write aedat4")
        return columns

    @abstractmethod
    def write(self, events: EventArray) -> None:
        """Append well-formed events [n] of EVENT_DTYPE, non-decreasing in t over the whole file.

        Raises:
            OutputError: an event that the format cannot hold (naming the limit), or a full disk.
        """

    def put(self, data: bytes) -> None:
        """Write bytes at the file's position. Raises OutputError when they cannot be."""
        try:
            self.file.write(data)
        except OSError as e:
            raise self.failed(e) from e

    def failed(self, error: OSError) -> OutputError:
        """An OutputError about this file, to be raised by the caller."""
        return OutputError(f"{self.path}: cannot be written: {error.strerror}")

    def close(self) -> None:
        """Finish the file: tables, trailers, buffers. Raises OutputError when what is left cannot be written."""
        try:
            self.file.close()
        except OSError as e:
            raise self.failed(e) from e

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
