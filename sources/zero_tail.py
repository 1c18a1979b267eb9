"""A file whose end was never written: a recorder that was cut off may leave zeros there, which some formats would read
as events of one pixel."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EVENT_DTYPE, PACKET_EVENTS, EventPacket

ZEROS = 4096
"""Bytes of zeros in a row, or rows of a table, at the end, that no events make."""
STEP = 1 << 20
NEVER_WRITTEN = "there are only zeros, as a recorder that was cut off leaves them"


def written_bytes(file: BinaryIO) -> int:
    """Where the zeros at a file's end begin, or its size where there are none to speak of. The place in it stays."""
    at = file.tell()
    size = end = file.seek(0, os.SEEK_END)
    while end:
        begin = max(0, end - (ZEROS if end == size else STEP))
        file.seek(begin)
        used = len(file.read(end - begin).rstrip(b"\0"))
        if used:
            end = begin + used
            break
        end = begin
    file.seek(at)
    return end if size - end >= ZEROS else size


def written_end(file: BinaryIO, record: int = 1) -> int:
    """The same, as the end of a record of ``record`` bytes, counted from the place in the file; one may end with 0."""
    at = file.tell()
    end = max(written_bytes(file), at)
    return end + -(end - at) % record


def written_rows(packets: Iterator[EventPacket], fail: Callable[[str], InputError]) -> Iterator[EventPacket]:
    """The packets of a table, whose last rows may never have been written.

    Raises:
        InputError: made by ``fail``, after the others, where there are ``ZEROS`` rows of zeros or more at the end.
    """
    begun, held, rows = False, 0, 0
    size = (1, 1)
    for packet in packets:
        e, size = packet.events, (packet.width, packet.height)
        used = len(e)
        begun = begun or bool(e["t"].any())
        if begun and used and not e["t"][-1]:
            others = np.flatnonzero((e["t"] != 0) | (e["x"] != 0) | (e["y"] != 0) | e["p"])
            used = int(others[-1]) + 1 if len(others) else 0
        if used:
            yield from _zeros(held, size)
            held = 0
            yield packet if used == len(e) else EventPacket(e[:used], *size, packet.well_formed)
        held += len(e) - used
        rows += len(e)
    if held >= ZEROS:
        raise fail(f"from event {rows - held} on {NEVER_WRITTEN}")
    yield from _zeros(held, size)


def _zeros(count: int, size: tuple[int, int]) -> Iterator[EventPacket]:
    for at in range(0, count, PACKET_EVENTS):
        yield EventPacket(np.zeros(min(PACKET_EVENTS, count - at), EVENT_DTYPE), *size)
