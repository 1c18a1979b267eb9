"""The archive behind an NPZ file: pieces of its members, in bounded memory whatever they unpack to."""

from __future__ import annotations

import shutil
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt

from stream_ottt.errors import InputError
from stream_ottt.sources.npy import NpyArray, open_array

DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    NotImplementedError,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
    OverflowError,
)
"""What zipfile raises on archives that are none, are damaged, or are packed in a way it does not know."""

DEFLATE_MAX_RATIO = 1032
"""Deflate makes no more than this many bytes out of one."""

SPOOL_RATIO = 64
SPOOL_FLOOR = 64 << 20
"""So many bytes for each packed one, and so many besides, are unpacked into a temporary file; events need far less."""

STEP = 1 << 20


class Member:
    """One array of the archive. Reading forward is cheap; going back unpacks again from its start, unless
    spooled.

    Args:
        archive: the open archive.
        info: the member.
        path: for messages.
    """

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> None:
        self._archive = archive
        self._info = info
        self._path = path
        self._file: IO[bytes] | None = None
        self._at = 0
        self._spooled = False

    def array(self) -> NpyArray:
        """Its array, the header parsed.

        Raises:
            InputError: it is damaged, packed in an unknown way, or not as long as its header or its packed
                size allows.
        """
        info = self._info
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise self._fail("is neither stored nor deflated; save it with numpy.savez or savez_compressed")
        if info.file_size > DEFLATE_MAX_RATIO * info.compress_size + STEP:
            raise self._fail(f"{info.compress_size} packed bytes cannot hold the {info.file_size} that are promised")
        array = open_array(self.read_at, self._path, info.header_offset)
        if array.data + array.nbytes != info.file_size:
            raise self._fail(
                f"an array {array.dtype} {list(array.shape)} takes {array.data + array.nbytes} bytes, "
                f"not {info.file_size}; the file is damaged"
            )
        return array

    def read_at(self, offset: int, count: int) -> bytes:
        """Up to ``count`` unpacked bytes from ``offset``. Raises InputError where the archive is damaged."""
        count = max(0, min(count, self._info.file_size - offset))
        try:
            if self._file is not None and self._spooled:
                self._file.seek(offset)
                return self._file.read(count)
            if self._file is None or offset < self._at:
                self.close()
                self._file, self._at = self._archive.open(self._info), 0
            while self._at < offset:
                self._next(self._file, min(STEP, offset - self._at))
            data = self._next(self._file, count) if count else b""
            if self._at == self._info.file_size:
                self._file.read(1)  # compares the checksum
            return data
        except DAMAGE as e:
            raise self._fail(f"cannot be unpacked: {e or type(e).__name__}") from e

    def _next(self, file: IO[bytes], count: int) -> bytes:
        data = file.read(count)
        self._at += len(data)
        if not data:
            raise EOFError("it ends early")
        return data

    def spool(self) -> None:
        """Unpack into an unnamed temporary file, for reading in any order.

        Raises:
            InputError: the archive is damaged, it unpacks to far too much, or the folder for temporary files is full.
        """
        if self._spooled:
            return
        size = self._info.file_size
        if size > SPOOL_RATIO * self._info.compress_size + SPOOL_FLOOR:
            raise self._fail(f"unpacks to {size:,} bytes, which is no recording; save it with numpy.savez")
        if size > shutil.disk_usage(tempfile.gettempdir()).free // 2:
            raise self._fail(
                f"needs {size:,} bytes in {tempfile.gettempdir()}, where too few are free; save it with numpy.savez"
            )
        file = tempfile.TemporaryFile()  # noqa: SIM115 - lives until close()
        try:
            for offset in range(0, self._info.file_size, STEP):
                file.write(self.read_at(offset, STEP))
            file.flush()
        except OSError as e:
            file.close()
            raise self._fail(f"cannot be unpacked into {tempfile.gettempdir()}: {e.strerror}") from e
        except InputError:
            file.close()
            raise
        self.close()
        self._file, self._spooled = file, True

    def close(self) -> None:
        """Let go of what is open."""
        if self._file is not None:
            self._file.close()
        self._file, self._spooled = None, False

    def _fail(self, message: str) -> InputError:
        return InputError(f"{self._info.filename} {message}", path=self._path, offset=self._info.header_offset)


class NpzArchive:
    """The arrays of an NPZ file by name, none of them unpacked. A context manager.

    Raises:
        InputError: no archive, or a damaged one.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._archive = zipfile.ZipFile(path)
        except DAMAGE as e:
            raise InputError(
                f"no NPZ archive, or one that was cut off: what it holds is listed at its end ({e}); copy it again",
                path=path,
            ) from e
        self.members = {
            info.filename.removesuffix(".npy"): Member(self._archive, info, path)
            for info in self._archive.infolist()
            if info.filename.endswith(".npy")
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in self.members.values():
            member.close()
        self._archive.close()

    def __contains__(self, name: str) -> bool:
        return name in self.members

    def array(self, name: str) -> NpyArray:
        """The array of that name. Raises InputError when it is damaged."""
        return self.members[name].array()

    def spool(self, names: list[str]) -> None:
        """Unpack these arrays into temporary files, for reading in any order.

        Raises:
            InputError: as :meth:`Member.spool`.
        """
        for name in names:
            self.members[name].spool()

    def values(self, name: str, most: int) -> npt.NDArray[Any]:
        """A small array [n] or scalar as a whole, [n] or [1].

        Raises:
            InputError: it is damaged, has more than one dimension, or more than ``most`` bytes.
        """
        array = self.array(name)
        if len(array.shape) > 1 or array.nbytes > most:
            raise InputError(
                f"{name} is {array.dtype} {list(array.shape)}; expected one dimension, at most {most} bytes",
                path=array.path,
            )
        return array.rows(0, len(array)) if array.nbytes else np.empty(0, array.dtype)
