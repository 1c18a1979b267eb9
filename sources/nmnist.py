"""N-MNIST's .bin files: five bytes an event, alone or as a folder ``<digit>/NNNNN.bin``.

An event: x, y, then polarity (1 bit) and time in µs (23 bits, big-endian). A record with y = 240 is no event:
it says that 2^13 µs must be added to all times after it. There is no header, so such files are recognised by
what their first records say, after all other formats were tried: 34×34 pixels are N-MNIST's, 240×180 N-Caltech101's.

Not read: labels from elsewhere than the folders' names.

Traps of other readers: records with y = 240 are no events; times begin again after 2^23 µs without them; N-Caltech101
is not 34×34 but up to 240×180.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from stream_ottt.errors import InputError
from stream_ottt.events.packet import PACKET_EVENTS, EventArray, EventPacket, make_events
from stream_ottt.pipeline.source import FileSource
from stream_ottt.sources.samples import LabelledStream, SampleConfig, SampleSource
from stream_ottt.sources.zero_tail import NEVER_WRITTEN, written_end

RECORD = 5
SIZES = ((34, 34), (240, 180))
"""Of N-MNIST and N-Caltech101."""
ENOUGH = 16
"""Events on the larger sensor that are taken for no accident."""
LOOKED_AT = 4096
"""Bytes from which the size is told."""
OVERFLOW_ROW = 240
OVERFLOW_US = 1 << 13


class NmnistConfig(SampleConfig):
    """Options of N-MNIST files.

    Attributes:
        width: sensor width in pixels; None tells N-MNIST from N-Caltech101 by the first events.
        height: sensor height in pixels; None likewise.
        limit: the first so many files of each digit of a folder.
    """

    width: int | None = Field(default=None, ge=1, le=256)
    height: int | None = Field(default=None, ge=1, le=256)
    limit: int | None = Field(default=None, ge=1)


def decode(records: npt.NDArray[np.uint8], base: int = 0) -> tuple[EventArray, int]:
    """Decode whole records.

    Args:
        records: uint8 [n, 5].
        base: µs added so far by overflow records.

    Returns:
        The events [m ≤ n], and the µs added by overflow records after these.
    """
    x, y, high = records[:, 0], records[:, 1], records[:, 2]
    t = (high & 127).astype(np.int64) << 16 | records[:, 3].astype(np.int64) << 8 | records[:, 4]
    overflow = y == OVERFLOW_ROW
    if overflow.any():
        added = base + np.cumsum(overflow) * OVERFLOW_US
        keep = ~overflow
        return make_events(x[keep], y[keep], (t + added)[keep], high[keep] >> 7), int(added[-1])
    return make_events(x, y, t + base, high >> 7), base


def read_bin(path: Path, width: int, height: int) -> Iterator[EventPacket]:
    """The packets of one .bin file.

    Raises:
        InputError: it cannot be read, or ends within a record.
    """
    try:
        file = path.open("rb")
    except OSError as e:
        raise InputError(f"cannot be read: {e.strerror}; check the path", path=path) from e
    with file:
        base = offset = 0
        end = written_end(file, RECORD)
        while data := file.read(min(RECORD * PACKET_EVENTS, max(end - offset, 0))):
            whole = len(data) // RECORD
            events, base = decode(np.frombuffer(data, np.uint8, whole * RECORD).reshape(whole, RECORD), base)
            if len(events):
                yield EventPacket(events, width, height)
            offset += whole * RECORD
            if len(data) % RECORD:
                raise InputError(
                    f"the last record has {len(data) % RECORD} of its {RECORD} bytes; the file is truncated",
                    path=path,
                    offset=offset,
                )
        if end < path.stat().st_size:
            raise InputError(f"from here on {NEVER_WRITTEN}", path=path, offset=end)


def size_of(head: bytes) -> tuple[int, int] | None:
    """(width, height) of the data set whose files begin like this, or None for other files."""
    if len(head) < RECORD or not any(head):
        return None
    records = np.frombuffer(head, np.uint8, len(head) // RECORD * RECORD).reshape(-1, RECORD)
    events, _ = decode(records)
    if (np.diff(events["t"]) < 0).any():
        return None
    fits = [s for s in SIZES if bool(((events["x"] < s[0]) & (events["y"] < s[1])).all())]
    return fits[0] if fits and (fits[0] == SIZES[0] or len(events) >= ENOUGH) else None


class NmnistSource(SampleSource, FileSource):
    """Events of one N-MNIST file, or the samples of a folder of them as one labelled stream."""

    name = "nmnist"
    Config = NmnistConfig
    config: NmnistConfig

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        """Whole records on one of the two sensors whose times never fall; or a folder of digits with .bin files."""
        if path.is_dir():
            return any(next(folder.glob("*.bin"), None) for folder in _digits(path))
        return path.stat().st_size % RECORD == 0 and size_of(head) is not None

    @property
    def class_names(self) -> dict[int, str]:
        """The digits of a folder."""
        return {int(d.name): d.name for d in _digits(self.path)} if self.path.is_dir() else {}

    def packets(self) -> Iterator[EventPacket]:
        """Decode from the beginning; see the base class."""
        if not self.path.is_dir():
            self.config.refuse("one N-MNIST file")
            if self.path.is_file() and not self.path.stat().st_size:
                raise self.fail("the file is empty; expected a recording", 0)
            with self.open() as file:
                size = self._size(file.read(LOOKED_AT))
            yield from read_bin(self.path, *size)
            return
        yield from super().packets()

    def _size(self, head: bytes) -> tuple[int, int]:
        known = size_of(head)
        given = self.config.width or self.config.height
        self.size_from = "option" if given else "camera" if known else "guess"
        width, height = known or SIZES[0]
        return self.config.width or width, self.config.height or height

    def open_stream(self) -> LabelledStream:
        size = self._size(b"")
        self.size_from = "camera" if self.size_from == "guess" else self.size_from
        files = [f for d in _digits(self.path) for f in sorted(d.glob("*.bin"))[: self.config.limit]]
        if not files:
            raise self.fail("no files <digit>/NNNNN.bin in this folder")
        return LabelledStream(
            [int(f.parent.name) for f in files],
            lambda i: read_bin(files[i], *size),
            lambda i, message: InputError(message, path=files[i]),
            self.config,
            size,
        )


def _digits(path: Path) -> list[Path]:
    return sorted(
        d for d in path.iterdir() if len(d.name) == 1 and d.name.isdecimal() and d.name.isascii() and d.is_dir()
    )
