"""The few flatbuffer reads that AEDAT4 needs, each checked against the buffer's length.

A flatbuffer table begins with the (signed) distance to its vtable, which lists for each field where in the
table its value stands, or 0 when it is left out. See https://flatbuffers.dev/internals/.
"""

from __future__ import annotations

import struct

Buffer = bytes | bytearray | memoryview

_U16 = struct.Struct("<H")
_I32 = struct.Struct("<i")
_U32 = struct.Struct("<I")
_I64 = struct.Struct("<q")
# Distance to the table; padding, vtable (its size, the table's, the field's place), distances to vtable and vector.
_USUAL_BEFORE, _USUAL_AFTER = struct.pack("<I", 16), struct.pack("<2xHHHiI", 6, 8, 4, 6, 4)


class FlatbufferError(ValueError):
    """A position or size that leads out of the buffer, or another kind of buffer than expected."""


def _read(kind: struct.Struct, buffer: Buffer, position: int) -> int:
    if position < 0 or position + kind.size > len(buffer):
        raise FlatbufferError(f"position {position} lies outside its {len(buffer)} bytes")
    value: int = kind.unpack_from(buffer, position)[0]
    return value


class Table:
    """One table inside a buffer.

    Args:
        buffer: the bytes that hold it.
        position: where in the buffer it begins.

    Raises:
        FlatbufferError: the table or its vtable does not lie inside the buffer.
    """

    __slots__ = ("buffer", "fields", "position", "vtable")

    def __init__(self, buffer: Buffer, position: int) -> None:
        self.buffer = buffer
        self.position = position
        self.vtable = position - _read(_I32, buffer, position)
        self.fields = (_read(_U16, buffer, self.vtable) - 4) // 2

    @classmethod
    def root(cls, buffer: Buffer, identifier: bytes) -> Table:
        """The root table of a size-prefixed flatbuffer of the kind ``identifier`` (4 bytes).

        Raises:
            FlatbufferError: another identifier, or a size beyond the buffer.
        """
        size = _read(_U32, buffer, 0)
        if size > len(buffer) - 4:
            raise FlatbufferError(f"its size field says {size} bytes, {len(buffer) - 4} are there")
        found = bytes(buffer[8:12])
        if found != identifier:
            raise FlatbufferError(f"expected a {identifier.decode()!r} buffer, found {found!r}")
        return cls(buffer, 4 + _read(_U32, buffer, 4))

    def _at(self, index: int) -> int:
        """Position of field ``index``, 0 when it is left out."""
        if index >= self.fields:
            return 0
        offset = _read(_U16, self.buffer, self.vtable + 4 + 2 * index)
        return self.position + offset if offset else 0

    def int32(self, index: int, default: int) -> int:
        """The 32-bit integer in field ``index``."""
        position = self._at(index)
        return _read(_I32, self.buffer, position) if position else default

    def int64(self, index: int, default: int) -> int:
        """The 64-bit integer in field ``index``."""
        position = self._at(index)
        return _read(_I64, self.buffer, position) if position else default

    def vector(self, index: int, itemsize: int) -> tuple[int, int]:
        """(position of the first item, number of items) of the vector in field ``index``; (0, 0) without one.

        Raises:
            FlatbufferError: the items do not lie inside the buffer.
        """
        position = self._at(index)
        if not position:
            return 0, 0
        start = position + _read(_U32, self.buffer, position)
        count = _read(_U32, self.buffer, start)
        if count * itemsize > len(self.buffer) - start - 4:
            raise FlatbufferError(f"a vector of {count} items of {itemsize} bytes leads out of its buffer")
        return start + 4, count

    def string(self, index: int) -> str | None:
        """The UTF-8 text in field ``index``, None without one.

        Raises:
            FlatbufferError: it does not lie inside the buffer, or is not UTF-8.
        """
        start, count = self.vector(index, 1)
        if not start:
            return None
        try:
            return bytes(self.buffer[start : start + count]).decode()
        except UnicodeDecodeError as e:
            raise FlatbufferError("a text is not UTF-8") from e


def one_vector(buffer: Buffer, identifier: bytes, itemsize: int) -> tuple[int, int]:
    """:meth:`Table.vector` of the first field of a size-prefixed buffer's root table.

    All known writers lay such a buffer out in the same way, which is recognised at once.

    Raises:
        FlatbufferError: as :meth:`Table.root` and :meth:`Table.vector` do.
    """
    if len(buffer) >= 32 and buffer[4:28] == _USUAL_BEFORE + identifier + _USUAL_AFTER:
        size, count = _U32.unpack_from(buffer)[0], _U32.unpack_from(buffer, 28)[0]
        if size <= len(buffer) - 4 and count * itemsize <= len(buffer) - 32:
            return 32, count
    return Table.root(buffer, identifier).vector(0, itemsize)
