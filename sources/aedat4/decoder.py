"""AEDAT4 bytes in, events out: the same decoder for a file, for one that still grows, and for a socket.

After the header come packets: stream number (int32), size (int32), and a body of that size, which is a
compressed ``EventPacket`` flatbuffer holding 16-byte events (int64 t, int16 x, int16 y, bool on, 3 bytes of
padding). A finished file ends with a table of its packets, which is not needed here.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from stream_ottt.errors import InputError
from stream_ottt.events.packet import EVENT_DTYPE, PACKET_EVENTS, EventArray
from stream_ottt.sources.aedat4.flatbuffer import Buffer, FlatbufferError, Table, one_vector
from stream_ottt.sources.aedat4.header import (
    MAGIC,
    Header,
    StreamInfo,
    choose_stream,
    header_size,
    listed,
    parse_header,
)
from stream_ottt.sources.decompress import DecompressError, ZstdFrames, lz4_frame
from stream_ottt.sources.reach import Reach

PACKET_HEADER = struct.Struct("<ii")
RECORD_BYTES = 16
"""int64 t, int16 x, int16 y, bool on, 3 bytes of padding."""
MIN_READ, MAX_READ = 1 << 19, 1 << 20
BATCH_BYTES = PACKET_EVENTS * RECORD_BYTES
MAX_PACKET_BYTES = 256 << 20
"""Sixteen million events unpacked; the usual recorders put some thousands into a packet."""
FRAME_MAGICS = (0x184D2204, 0xFD2FB528 - (1 << 32))
"""How an LZ4 and a Zstandard frame begin, as int32; in a stream number's place they begin the data table."""


def _as_it_is(data: memoryview) -> memoryview:
    return data


def unpacker(compression: int) -> Callable[[memoryview], bytes | bytearray | memoryview]:
    """What unpacks the packets of a file of this compression."""
    return (_as_it_is, lz4_frame, lz4_frame, *(ZstdFrames(),) * 2)[compression]


class Aedat4Decoder:
    """Decodes the events of one stream from bytes that come in pieces of any size.

    Args:
        where: file or address, for messages.
        stream: number of the event stream to decode; None for the first.

    Attributes:
        header: None until it has come in whole.
        stream: the stream being decoded, None until the header is there.
        packets: stream number → packets seen.
        position: byte offset up to which everything was decoded: the start of the next packet, or of one underway.
        finished: the data table has been reached; whatever is fed then is taken as part of it.
        reach: how far the events of the array yielded last go.
    """

    def __init__(self, where: str, stream: int | None = None, max_bytes: int = MAX_PACKET_BYTES) -> None:
        from stream_ottt.sources.aedat4.kernel import copy_events

        self.where = where
        self.max_bytes = max_bytes
        self.header: Header | None = None
        self.stream: StreamInfo | None = None
        self.packets: Counter[int] = Counter()
        self.position = 0
        self.finished = False
        self._wanted = stream
        self._end = 0  # offset of the data table, 0 while unknown
        self._pieces: list[bytes | memoryview] = []
        self._held = 0  # bytes in _pieces
        self._needed = len(MAGIC) + 4  # no progress is possible with fewer held
        self._body: int | None = None  # size of the event packet whose header was taken
        self._skip = 0  # bytes of an unwanted packet still to come
        self._size = 0  # of the packet underway, with its header
        self._known: frozenset[int] = frozenset()  # the header's stream numbers
        self._unpack: Callable[[memoryview], bytes | bytearray | memoryview] = _as_it_is
        self.reach = Reach()
        self._copy = copy_events

    @property
    def lacking(self) -> int:
        """How many bytes are best fed next, so that little has to be put together; any number will do."""
        return min(max(self._skip or self._needed - self._held, MIN_READ), MAX_READ)

    def feed(self, data: bytes) -> Iterator[EventArray]:
        """Take the next bytes of the stream and yield the events of every packet that they complete.

        Yields:
            Arrays [n ≤ PACKET_EVENTS] of EVENT_DTYPE, in the order of the stream.

        Raises:
            InputError: at damage, with the offset of the packet; everything before it was yielded.
            UsageError: the header has no event stream of the wanted number.
        """
        batch: list[Buffer] = []
        size = 0
        damage: InputError | None = None
        try:
            for records in self._records(data):
                batch.append(records)
                size += len(records)
                if size >= BATCH_BYTES:
                    yield from self._events(batch)
                    batch, size = [], 0
        except InputError as e:
            damage = e
        yield from self._events(batch)
        if damage:
            raise damage

    def _records(self, data: bytes) -> Iterator[Buffer]:
        """The records of each event packet that ``data`` completes."""
        more = memoryview(data)
        # What was begun before is completed first, so that only this much has to be put together.
        while self._held and not self.finished and 0 < (lack := self._needed - self._held) < len(more):
            yield from self._records_in(more[:lack])
            more = more[lack:]
        yield from self._records_in(more)

    def _records_in(self, data: memoryview) -> Iterator[Buffer]:
        self._pieces.append(data)
        self._held += len(data)
        if self.finished and self._held > MAX_PACKET_BYTES:
            raise self._fail(f"all events were read, but the data table is beyond {_mib(MAX_PACKET_BYTES)}")
        if self.finished or (self._held < self._needed and not self._skip):
            return
        whole = memoryview(b"".join(self._pieces)) if len(self._pieces) > 1 else data
        used = 0
        try:
            while (taken := self._take(whole[used:])) is not None:
                used += taken[0]
                if len(taken[1]):
                    yield taken[1]
        finally:
            rest = bytes(whole[used:])
            self._pieces = [rest] if rest else []
            self._held = len(rest)

    def _events(self, batch: list[Buffer]) -> Iterator[EventArray]:
        """The events of some packets' records, small packets put together and large ones cut."""
        out = np.empty(sum(map(len, batch)) // RECORD_BYTES, EVENT_DTYPE)
        done = 0
        self.reach.clear()
        for records in batch:
            n = len(records) // RECORD_BYTES
            self._copy(records, out[done : done + n], self.reach)
            done += n
        for start in range(0, done, PACKET_EVENTS):
            yield out[start : start + PACKET_EVENTS]

    def finish_at(self, position: int) -> None:
        """The data table is now known to begin at byte ``position``; ≤ 0 tells nothing."""
        self._end = max(position, 0)
        self.finished = self.finished or 0 < self._end <= self.position

    def close(self) -> None:
        """No more bytes will come.

        Raises:
            InputError: the stream ends in the middle of a packet or of the data table, or before them.
        """
        if self.header is None:
            raise self._fail(f"the AEDAT4 header is cut short at byte {self._held}; copy the file again")
        if self.finished:
            self._check_table(memoryview(b"".join(self._pieces)))
        elif self._size or self._held:
            raise self._fail("the packet that begins here is cut short; copy the file again")
        elif self._end:
            raise self._fail(f"the file ends here, before its data table at byte {self._end}; copy it again")

    def _fail(self, message: str) -> InputError:
        return InputError(message, path=self.where, offset=self.position)

    def _take(self, data: memoryview) -> tuple[int, Buffer] | None:
        """Decode the next part of the stream from the start of ``data``.

        Returns:
            How many bytes were used, and the event records found; None when nothing can be done without more.
        """
        if self.header is None:
            return self._take_header(data)
        if self.finished:
            return None
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            if not self._skip:
                self._next()
            return (skipped, b"") if skipped else None
        if self._body is None:
            return self._take_packet_header(data)
        if len(data) < self._body:
            self._needed = self._body
            return None
        records = self._unpacked(data[: self._body])
        used = self._body
        self._next()
        return used, records

    def _unpacked(self, body: memoryview) -> memoryview:
        """The records [n × 16 bytes] in an event packet's body."""
        try:
            raw = self._unpack(body)
            start, count = one_vector(raw, b"EVTS", RECORD_BYTES)
        except (DecompressError, FlatbufferError) as e:
            raise self._fail(f"the event packet that begins here is damaged: {e}; copy the file again") from e
        return memoryview(raw)[start : start + RECORD_BYTES * count]

    def _take_header(self, data: memoryview) -> tuple[int, Buffer] | None:
        self._needed = header_size(data, self.where)
        if len(data) < self._needed:
            return None
        header = parse_header(data, self.where)
        self.stream = choose_stream(header, self._wanted, self.where)
        self.header = header
        self._known = frozenset(s.id for s in header.streams)
        self._unpack = unpacker(header.compression)
        self._size = header.size
        self._end = max(header.table_position, 0)
        self._next()
        return header.size, b""

    def _next(self) -> None:
        """The header or the packet underway is done."""
        self.position += self._size
        self._size = 0
        self._body = None
        self._needed = PACKET_HEADER.size
        self.finished = 0 < self._end <= self.position

    def _take_packet_header(self, data: memoryview) -> tuple[int, Buffer] | None:
        self._needed = PACKET_HEADER.size
        if len(data) < self._needed:
            return None
        assert self.header is not None and self.stream is not None
        number, size = PACKET_HEADER.unpack_from(data)
        known = number in self._known
        if not known and not self._end:
            # Where the table begins is not known, so this may be it: packed, or as a flatbuffer with its identifier.
            if number not in FRAME_MAGICS and len(data) < 12:
                self._needed = 12
                return None
            self.finished = number in FRAME_MAGICS or bytes(data[8:12]) == b"FTAB"
            if self.finished:
                return None
        if not known or size < 0:
            raise self._fail(
                f"a packet of stream {number} and {size} bytes, where the header lists the streams "
                f"{listed(self.header.streams)}; the file is damaged from here on"
            )
        self._size = PACKET_HEADER.size + size
        if self._end and self.position + self._size > self._end:
            raise self._fail(
                f"a packet of {size} bytes leads beyond the start of the data table at byte {self._end}; "
                "the file is damaged from here on"
            )
        self.packets[number] += 1
        if number != self.stream.id:
            self._skip = size
            if not size:
                self._next()
        elif size > self.max_bytes:
            raise self._fail(f"an event packet of {_mib(size)}; at most {_mib(self.max_bytes)} can be read")
        else:
            self._body = size
            self._needed = size
        return PACKET_HEADER.size, b""

    def _check_table(self, table: memoryview) -> None:
        """Whether the data table, which is the last thing in the file, is there to its end."""
        try:
            Table.root(table if bytes(table[8:12]) == b"FTAB" else self._unpack(table), b"FTAB")
        except (DecompressError, FlatbufferError) as e:
            raise self._fail(
                f"all events were read, but the data table that begins here is cut short or damaged: {e}; "
                "copy the file again"
            ) from e


def _mib(size: int) -> str:
    return f"{size >> 20} MiB"
