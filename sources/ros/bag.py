"""What the bags of ROS 1 and ROS 2 have in common: topics, messages in their order, and bounds.

What a file says of its sizes is not believed: no more is read than it holds, and no more unpacked than
:data:`UNPACKED_RATIO` times that.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stream_ottt.errors import InputError

MAX_CHUNK = 1 << 28
"""Bytes of a chunk or message; recorders write chunks of about 1 MiB."""
UNPACKED_RATIO = 32
UNPACKED_AT_LEAST = 1 << 25
"""A bag may unpack to so many bytes, or to so many times its size. Events pack to a half or a fifth."""

Fail = Callable[[str, int | None], InputError]


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic: its name and the type of its messages, as ROS 1 writes it."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        data: serialized content.
        cdr: whether it is serialized as ROS 2 does.
    """

    data: bytes
    cdr: bool


class Bag(ABC):
    """One bag file.

    Args:
        path: the file.
        fail: makes an error about it of a message and a byte offset.

    Attributes:
        at: byte offset of what is being read, where that is known.
        share: how much of it was read for the message that was given last, 0 … 1.
    """

    def __init__(self, path: Path, fail: Fail) -> None:
        self.path = path
        self.fail = fail
        self.size = path.stat().st_size
        self.at: int | None = None
        self.share = 0.0
        self._unpacked = 0

    @abstractmethod
    def topics(self) -> list[Topic]:
        """The topics in it. Raises InputError when the file is damaged."""

    @abstractmethod
    def span(self) -> tuple[int, int] | None:
        """When the first and the last message were recorded, ns; None where no index says it."""

    @abstractmethod
    def messages(self, topic: Topic, start: int = 0) -> Iterator[Message]:
        """The messages of a topic in the order of their recording.

        Args:
            start: ns; messages that were recorded before it may be passed over where there is an index.

        Raises:
            InputError: at the first damage, after what comes before it.
        """

    def unpacked(self, size: int) -> None:
        """Count bytes that were unpacked. Raises InputError when they are too many for the file."""
        self._unpacked += size
        if self._unpacked > max(UNPACKED_AT_LEAST, UNPACKED_RATIO * self.size):
            raise self.fail(
                f"it unpacks to more than {UNPACKED_RATIO} times its size, as no recording does; it is damaged, or was "
                "made to fill the memory",
                self.at,
            )

    @contextmanager
    def damage(self) -> Iterator[None]:
        """What is stumbled over in a damaged file, as an InputError."""
        try:
            yield
        except InputError:
            raise
        except Exception as e:
            reason = " ".join(str(e).split()) or type(e).__name__
            raise self.fail(
                f"cannot be read on: {reason[:200].rstrip('.')}; the bag is cut off or damaged", self.at
            ) from e


class WithinFile(io.BufferedReader):
    """A file of which no more can be asked than it holds, so that no memory is taken for sizes that are not true."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self.end = self.seek(0, io.SEEK_END)
        self.seek(0)

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file. Raises EOFError when more is asked for than there is."""
        left = max(self.end - self.tell(), 0)
        size = left if size is None or size < 0 else size
        if size > left:
            raise EOFError(f"expected {size} bytes, the file ends after {left}")
        return super().read(size)


def plain_type(name: str) -> str:
    """A message type as ROS 1 writes it: ``package/Name``."""
    return name.replace("/msg/", "/")
