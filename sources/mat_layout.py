"""What a MAT file of version 5 holds, looked through before scipy reads it, whose parser dies of some damage.

An element is a tag (type, bytes) and data; an array is an element of elements: flags, sizes, name, and then numbers,
text, or the arrays of a struct. Type and bytes may share four bytes with as many of data.
Format: "MAT-File Format", MathWorks, R2024a.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import BinaryIO, Literal

HEADER = 128
INT8, INT32, UINT32, MATRIX, COMPRESSED = 1, 5, 6, 14, 15
NUMBERS = frozenset({1, 2, 3, 4, 5, 6, 7, 9, 12, 13})
TEXTS = NUMBERS | {16, 17, 18}
"""Types of data."""
STRUCT, CHAR, NUMERIC = 2, 4, range(6, 16)
"""Classes of arrays."""
COMPLEX = 0x800
MAX_DIMENSIONS, MAX_NAME, MAX_DEPTH = 32, 4096, 8
MAX_FIELDS = 10_000
"""Arrays within a struct, over all its elements."""
STEP = 1 << 20

Order = Literal["little", "big"]


class LayoutError(ValueError):
    """It is not laid out as the format says; the text says where."""


class _OtherClass(Exception):
    """An array that is neither numbers, text nor a struct of such."""


class _Stream:
    """Bytes of one element, as they lie in the file or as they unpack.

    Args:
        read: gives at most so many bytes, and none at the end.
        order: of the bytes of a number.
    """

    def __init__(self, read: Callable[[int], bytes], order: Order) -> None:
        self._read = read
        self._order = order

    def take(self, n: int) -> bytes:
        """The next n bytes. Raises LayoutError where there are fewer."""
        found = b""
        while len(found) < n:
            if not (more := self._read(min(STEP, n - len(found)))):
                raise LayoutError("it ends within an array")
            found += more
        return found

    def skip(self, n: int) -> None:
        """Pass over n bytes. Raises LayoutError where there are fewer."""
        while n:
            n -= len(self.take(min(STEP, n)))

    def number(self, data: bytes) -> int:
        """An unsigned number."""
        return int.from_bytes(data, self._order)

    def tag(self) -> tuple[int, int, bytes | None]:
        """Type, bytes, and the data where they are in the tag."""
        data = self.take(8)
        word = self.number(data[:4])
        if word >> 16:
            if word >> 16 > 4:
                raise LayoutError("a short element is longer than four bytes")
            return word & 0xFFFF, word >> 16, data[4 : 4 + (word >> 16)]
        return word, self.number(data[4:]), None

    def element(self, kind: int, most: int) -> bytes:
        """The data of an element that must be of a type, and of at most so many bytes."""
        found, size, data = self.tag()
        if found != kind or size > most:
            raise LayoutError(f"an element of type {found} and {size} bytes, where one of type {kind} is expected")
        if data is None:
            data = self.take(size)
            self.skip(-size % 8)
        return data

    def pass_over(self, kinds: frozenset[int]) -> None:
        """An element of one of these types."""
        found, size, data = self.tag()
        if found not in kinds:
            raise LayoutError(f"data of type {found}, which the format does not have there")
        if data is None:
            self.skip(size + -size % 8)


def names_of(file: BinaryIO, most: int) -> list[str]:
    """The variables that are numbers, text, or structs of such.

    Args:
        file: at any place; it is left at another.
        most: bytes that it may unpack to.

    Raises:
        LayoutError: it is damaged.
        MemoryError: it unpacks to more.
    """
    file.seek(HEADER - 2)
    order: Order = "little" if file.read(2) == b"IM" else "big"
    good: list[str] = []
    other: set[str] = set()
    budget = [most]
    while len(tag := file.read(8)) == 8:
        kind, length = int.from_bytes(tag[:4], order), int.from_bytes(tag[4:], order)
        end = file.tell() + length
        stream = _Stream(_unpacked(file, length, budget) if kind == COMPRESSED else _plain(file, length, budget), order)
        if kind == COMPRESSED:
            kind, promised, _ = stream.tag()
            if promised > budget[0]:
                raise MemoryError
        if kind != MATRIX:
            raise LayoutError(f"an element of type {kind} stands where an array is expected")
        name, is_read = _variable(stream)
        if is_read:
            good.append(name)
        else:
            other.add(name)
        file.seek(end)
    return [name for name in good if name not in other]


def _variable(stream: _Stream) -> tuple[str, bool]:
    found: list[str] = []
    try:
        _array(stream, found)
    except _OtherClass:
        return found[0], False
    return found[0], True


def _array(stream: _Stream, names: list[str], depth: int = 0) -> None:
    """Pass over the elements of an array; its name is appended."""
    flags = stream.number(stream.element(UINT32, 8)[:4])
    sizes = stream.element(INT32, 4 * MAX_DIMENSIONS)
    names.append(stream.element(INT8, MAX_NAME).decode("latin1"))
    kind, values = flags & 0xFF, 2 if flags & COMPLEX else 1
    if kind in NUMERIC:
        for _ in range(values):
            stream.pass_over(NUMBERS)
    elif kind == CHAR:
        stream.pass_over(TEXTS)
    elif kind == STRUCT and depth < MAX_DEPTH:
        length = stream.number(stream.element(INT32, 4))
        fields = len(stream.element(INT8, MAX_FIELDS * max(length, 1))) // max(length, 1)
        count = fields * math.prod(stream.number(sizes[i : i + 4]) for i in range(0, len(sizes), 4))
        if count > MAX_FIELDS:
            raise LayoutError(f"a struct of {count} arrays")
        for _ in range(count):
            inner, size, _ = stream.tag()
            if inner != MATRIX:
                raise LayoutError(f"an element of type {inner} stands where an array is expected")
            if size:
                _array(stream, [], depth + 1)
    else:
        raise _OtherClass


def _plain(file: BinaryIO, length: int, budget: list[int]) -> Callable[[int], bytes]:
    left = [length]

    def read(n: int) -> bytes:
        data = file.read(min(n, left[0]))
        left[0] -= len(data)
        _spend(budget, len(data))
        return data

    return read


def _unpacked(file: BinaryIO, length: int, budget: list[int]) -> Callable[[int], bytes]:
    packed, unpack = _plain(file, length, [length]), zlib.decompressobj()

    def read(n: int) -> bytes:
        data = b""
        while not data and not unpack.eof:
            more = unpack.unconsumed_tail or packed(STEP)
            if not more:
                break
            try:
                data = unpack.decompress(more, n)
            except zlib.error as e:
                raise LayoutError(f"it cannot be unpacked: {e}") from e
        _spend(budget, len(data))
        return data

    return read


def _spend(budget: list[int], n: int) -> None:
    budget[0] -= n
    if budget[0] < 0:
        raise MemoryError
