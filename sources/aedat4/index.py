"""The table at the end of a finished AEDAT4 file: where each packet lies, and the times of what is in it.

A ``FileDataTable`` flatbuffer: a vector of tables with the fields byte offset (int64), packet header (struct: stream
and size, int32 each), number of elements, first time and last time (µs, int64 each).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stream_ottt.sources.aedat4.flatbuffer import Buffer, FlatbufferError, Table

HEADER_BYTES = 8
"""Stream and size, before each packet's body."""
MAX_LAYOUTS = 64
"""A field of value 0 may be left out of its table, so that tables have some layouts, but not many."""
FIELDS = (("offset", 0, "<i8", 0), ("stream", 1, "<i4", 0), ("size", 1, "<i4", 4), ("last", 4, "<i8", 0))
"""What is read of each entry: name, field of its table, type, and place in the field."""

Index = dict[str, npt.NDArray[np.int64]]


def read_index(table: Buffer) -> Index:
    """Columns [n] of the entries: ``offset`` of the packet's header or body, ``stream``, ``size``, ``last`` time (µs).

    Raises:
        FlatbufferError: the table is damaged.
    """
    start, n = Table.root(table, b"FTAB").vector(0, 4)
    places = start + 4 * np.arange(n) + _numbers(table, "<u4", start + 4 * np.arange(n))
    layouts = places - _numbers(table, "<i4", places)
    found = np.unique(layouts)
    if len(found) > MAX_LAYOUTS:
        raise FlatbufferError(f"its entries have more than {MAX_LAYOUTS} layouts")
    index = {name: np.zeros(n, np.int64) for name, *_ in FIELDS}
    for layout in found.tolist():
        own = np.flatnonzero(layouts == layout)
        fields = (_number(table, "<u2", layout) - 4) // 2
        for name, field, kind, place in FIELDS:
            at = _number(table, "<u2", layout + 4 + 2 * field) if field < fields else 0
            if at:
                index[name][own] = _numbers(table, kind, places[own] + at + place)
    return index


def checked(index: Index, first: int, end: int) -> Index:
    """The entries in the order of their packets.

    Args:
        index: as :func:`read_index` gives it.
        first: byte offset of the first packet's body.
        end: byte offset of the last packet's end.

    Raises:
        FlatbufferError: the packets are not all that lies between, or the times of a stream do not ascend: events
            would be passed over.
    """
    order = np.argsort(index["offset"], kind="stable")
    index = {name: column[order] for name, column in index.items()}
    begins, ends = index["offset"], index["offset"] + index["size"]
    if not len(begins) or begins[0] != first or ends[-1] != end or np.any(begins[1:] != ends[:-1] + HEADER_BYTES):
        raise FlatbufferError("it does not list every packet")
    for stream in np.unique(index["stream"]):
        if np.any(np.diff(index["last"][index["stream"] == stream]) < 0):
            raise FlatbufferError("its times do not ascend")
    return index


def place_of(index: Index, stream: int, start: int) -> int:
    """Byte offset of the body from which a stream is read to find all of its events of ``start`` (µs) or later: one
    packet before the first that holds some, so that a single wrong time in the table costs nothing.

    Args:
        index: as :func:`checked` gives it.

    Raises:
        FlatbufferError: the stream has no packets.
    """
    own = np.flatnonzero(index["stream"] == stream)
    if not len(own):
        raise FlatbufferError(f"it lists no packets of stream {stream}")
    at = int(np.searchsorted(index["last"][own], start))
    return int(index["offset"][own[max(min(at, len(own) - 1) - 1, 0)]])


def _numbers(table: Buffer, kind: str, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The integers at some places, which need not be multiples of their size."""
    last = len(table) - np.dtype(kind).itemsize
    if len(places) and not (places.min() >= 0 and places.max() <= last):
        raise FlatbufferError("an entry leads out of its buffer")
    everywhere: npt.NDArray[Any] = np.ndarray((max(last + 1, 0),), kind, table, 0, (1,))
    return everywhere[places].astype(np.int64)


def _number(table: Buffer, kind: str, place: int) -> int:
    return int(_numbers(table, kind, np.array([place]))[0])
