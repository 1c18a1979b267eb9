"""Recordings packed as a whole by gzip, bzip2, xz, Zstandard, or in a ZIP archive: unpacked piece by piece, into
bounded room. What was packed before a damage is given."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from stream_ottt.errors import InputError

CHUNK = 1 << 18
ZSTD_CHUNK = 1 << 11
"""Bytes given to Zstandard at once, of which it may make 32768 times as many."""
MAX_RATIO = 200
BESIDE = re.compile(r"\..*|thumbs\.db|desktop\.ini|(readme|licen[sc]e|copying|changelog)(\..*)?|.*\.md", re.IGNORECASE)
"""Names of files that people and systems add to recordings."""
UNPACKED_AT_LEAST = 1 << 28
"""A file may unpack to so many bytes, or to so many times its size. Text packs to a tenth."""


@dataclass(frozen=True, slots=True)
class Packing:
    """How a file is packed.

    Attributes:
        name: as in messages.
        inside: name of what is in it.
        pieces: yields it.
    """

    name: str
    inside: str
    pieces: Callable[[Path], Iterator[bytes]]


def packing_of(path: Path) -> Packing | None:
    """How a file is packed, or None for one that is not, or that cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(6)
    except (OSError, ValueError):
        return None
    for sign, (name, pieces) in STREAMS.items():
        if head.startswith(sign):
            return Packing(name, path.stem, pieces)
    if head.startswith(b"PK\3\4") and (member := _only_member(path)):
        return Packing("ZIP", member, partial(_of_member, member=member))
    return None


def unpacked(path: Path, packing: Packing, shown: Path) -> Iterator[bytes]:
    """What is in a packed file, in pieces; messages name ``shown``.

    Raises:
        InputError: at damage, after what comes before it; or where it is more than any recording packs to.
    """
    size, total = path.stat().st_size, 0
    limit = max(UNPACKED_AT_LEAST, MAX_RATIO * size)
    try:
        for data in packing.pieces(path):
            total += len(data)
            if total > limit:
                raise InputError(f"it unpacks to more than {limit >> 20} MiB, as no recording does", path=shown)
            yield data
    except DAMAGE as e:
        reason = " ".join(str(e).split())[:100]
        if "password" in reason:
            raise InputError(
                "it is encrypted; unpack it first with 'unzip', which asks for the password", path=shown
            ) from e
        raise InputError(
            f"its {packing.name} data is cut off or damaged after {total} unpacked bytes ({reason}); copy it again",
            path=shown,
        ) from e


def _in_pieces(path: Path, *, opened: Callable[[Path], Any]) -> Iterator[bytes]:
    with opened(path) as file:
        while data := file.read1(CHUNK):
            yield data


def _of_member(path: Path, *, member: str) -> Iterator[bytes]:
    with zipfile.ZipFile(path) as archive:
        yield from _in_pieces(path, opened=lambda _: archive.open(member))


def _zstd(path: Path) -> Iterator[bytes]:
    import zstandard

    with path.open("rb") as file:
        frame, begun = zstandard.ZstdDecompressor().decompressobj(), False
        while data := file.read(ZSTD_CHUNK):
            while data:
                if frame.eof:
                    frame, begun = zstandard.ZstdDecompressor().decompressobj(), False
                try:
                    yield frame.decompress(data)
                except zstandard.ZstdError as e:
                    raise OSError(str(e)) from e
                begun = True
                data = frame.unused_data if frame.eof else b""
        if begun and not frame.eof:
            raise EOFError("the last frame ends early")


def _only_member(path: Path) -> str | None:
    """The one file in a ZIP archive, but for what people and systems add, or the one named events.

    None without one, or for NumPy's.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if not n.endswith("/") and not n.startswith("__MACOSX/")]
            names = [n for n in names if not BESIDE.fullmatch(PurePosixPath(n).name)]
    except DAMAGE:
        return None
    if len(names) > 1:  # as in the data sets of RPG, with images and ground truth beside it
        names = [n for n in names if PurePosixPath(n).stem.lower() == "events"]
    return names[0] if len(names) == 1 and not names[0].endswith(".npy") else None


STREAMS: dict[bytes, tuple[str, Callable[[Path], Iterator[bytes]]]] = {
    b"\x1f\x8b\x08": ("gzip", partial(_in_pieces, opened=gzip.open)),
    b"BZh": ("bzip2", partial(_in_pieces, opened=bz2.open)),
    b"\xfd7zXZ\0": ("xz", partial(_in_pieces, opened=lzma.open)),
    b"\x28\xb5\x2f\xfd": ("Zstandard", _zstd),
}
"""How a packed file begins → the packing's name, and what unpacks it."""
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
)
