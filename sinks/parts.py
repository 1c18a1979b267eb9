"""A text file that is begun anew when it is large or old: ``p.jsonl`` now, ``p.000001.jsonl``, … before."""

from __future__ import annotations

import mmap
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from stream_ottt.errors import OutputError
from stream_ottt.outputs import sync_folder
from stream_ottt.settings import parse_duration_us

SIZES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_rotate(text: str) -> tuple[int | None, int | None]:
    """Bytes, or µs, after which a part ends: ``"100MB"`` or ``"1h"``.

    Raises:
        ValueError: neither.
    """
    if match := re.fullmatch(r"\s*(\d{1,12})\s*([kMGT]?B)\s*", text):
        if int(match[1]) < 1:
            raise ValueError("expected 1B or more")
        return int(match[1]) * SIZES[match[2]], None
    try:
        us = parse_duration_us(text)
    except ValueError:
        raise ValueError("expected a size such as '100MB', or a duration such as '1h'") from None
    if us < 1_000_000:
        raise ValueError("expected 1s or more")
    return None, us


class Parts:
    """The parts of one output, numbered from 1 in the order in which they ended; the one that grows has no number yet.

    Args:
        path: of the one that grows.
        rotate: when a part ends, as :func:`parse_rotate` reads it; None for never. Times are those of the wall clock:
            ``1h`` ends parts at full hours.
        keep: ended parts that stay; None for all.
    """

    def __init__(self, path: Path, rotate: str | None, keep: int | None) -> None:
        self.path = path
        self.ended = 0
        self._bytes, self._us = (None, None) if rotate is None else parse_rotate(rotate)
        self._keep = keep
        self._period = self._now()

    @property
    def rotates(self) -> bool:
        """Whether parts end at all."""
        return self._bytes is not None or self._us is not None

    def is_over(self, size: int) -> bool:
        """Whether the part that grows, of so many bytes, is to end before the next line."""
        if not size:
            self._period = self._now()
            return False
        return (self._bytes is not None and size >= self._bytes) or self._now() != self._period

    def end(self) -> None:
        """Number the part that grows, which is on the disk as a whole. Raises OSError where nothing has changed."""
        self.path.rename(self._file(self.ended + 1))
        self.ended += 1
        self._period = self._now()
        with suppress(OSError):  # the next end tries again
            for number in self.numbers():
                if self._keep is not None and number <= self.ended - self._keep:
                    self._file(number).unlink()
            sync_folder(self.path.parent)

    def numbers(self) -> list[int]:
        """Of the parts that ended and are there, ascending; none where nothing rotates."""
        if not self.rotates:
            return []
        pattern = re.compile(re.escape(self.path.stem) + r"\.(\d{6,})" + re.escape(self.path.suffix))
        found = (pattern.fullmatch(file.name) for file in self.path.parent.glob(f"*{self.path.suffix}"))
        return sorted(int(match[1]) for match in found if match)

    def clear(self) -> None:
        """Remove the parts of an earlier run. Raises OSError."""
        for number in self.numbers():
            self._file(number).unlink()

    def go_back(self, ended: int) -> None:
        """So many parts had ended: let the one after them grow on, and remove what came later. Raises OSError."""
        for number in reversed(self.numbers()):
            if number > ended:
                self._file(number).replace(self.path)
        self.ended = ended

    def file_after(self, ended: int) -> Path:
        """The part that grew when so many had ended."""
        return self._file(ended + 1) if self.numbers()[-1:] > [ended] else self.path

    def before(self, step: int, step_of: Callable[[bytes], int | None]) -> tuple[int, int]:
        """Where the first line of timestep ``step`` or a later one stands: parts that had ended, and bytes.

        Args:
            step: index of the timestep.
            step_of: that of a line; None for a line of none.

        Raises:
            OutputError: a file cannot be read.
        """
        ended = (self.numbers() or [0])[-1]
        while True:
            file = self.file_after(ended)
            try:
                size = bytes_before(file, step, step_of)
            except OSError as e:
                raise OutputError(f"{file}: cannot be read: {e.strerror}") from e
            if size or not ended or not self._file(ended).is_file():
                return ended, size
            ended -= 1

    def _file(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.stem}.{number:06}{self.path.suffix}")

    def _now(self) -> int:
        return 0 if self._us is None else int(time.time() * 1e6) // self._us


def bytes_before(path: Path, step: int, step_of: Callable[[bytes], int | None]) -> int:
    """Bytes of a file before its first line of timestep ``step`` or later; a line that is not whole goes, too.

    Raises:
        OSError: it cannot be read.
    """
    if not path.is_file() or not path.stat().st_size:
        return 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        end = text.rfind(b"\n") + 1
        while end:
            start = text.rfind(b"\n", 0, end - 1) + 1
            found = step_of(text[start:end])
            if found is not None and found < step:
                break
            end = start
        return end
