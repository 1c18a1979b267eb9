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

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events import EVENT_DTYPE, PACKET_EVENTS, EventArray
from stream_ottt.sources.aedat4_header import Header, StreamInfo, header_size, parse_header
from stream_ottt.sources.decompress import DecompressError, ZstdFrames, lz4_frame
from stream_ottt.sources.flatbuffer import FlatbufferError, Table

PACKET_HEADER = struct.Struct("<ii")
EVENT_BYTES = 16
MAX_PACKET_BYTES = 256 << 20
"""Sixteen million events unpacked; the usual recorders put some thousands into a packet."""
FRAME_MAGICS = (0x184D2204, 0xFD2FB528 - (1 << 32))
"""How an LZ4 and a Zstandard frame begin, as int32; in a stream number's place they begin the data table."""

# x and y move as one word; three copies of wide fields are a third faster than four.
_RECORD = np.dtype(
    {"names": ["t", "xy", "on"], "formats": ["<i8", "<u4", "u1"], "offsets": [0, 8, 12], "itemsize": 16}
)
_EVENT = np.dtype(
    {"names": ["xy", "t", "on"], "formats": ["<u4", "<i8", "u1"], "offsets": [0, 4, 12], "itemsize": 13}
)


def _as_it_is(data: memoryview) -> memoryview:
    return data


class Aedat4Decoder:
    """Decodes the events of one stream from bytes that come in pieces of any size.

    Args:
        where: file or address, for messages.
        stream: number of the event stream to decode; None for the first.

    Attributes:
        header: None until it has come in whole.
        stream: the stream being decoded, None until the header is there.
        packets: stream number → packets seen.
        position: byte offset up to which everything was decoded.
        finished: the data table has been reached; whatever is fed then is taken as part of it.
    """

    def __init__(self, where: str, stream: int | None = None) -> None:
        self.where = where
        self.header: Header | None = None
        self.stream: StreamInfo | None = None
        self.packets: Counter[int] = Counter()
        self.position = 0
        self.finished = False
        self._wanted = stream
        self._end = 0  # offset of the data table, 0 while unknown
        self._pieces: list[bytes] = []
        self._held = 0  # bytes in _pieces
        self._needed = 1  # no progress is possible with fewer held
        self._skip = 0  # bytes of an unwanted packet still to come
        self._unpack: Callable[[memoryview], bytes | bytearray | memoryview] = _as_it_is

    def feed(self, data: bytes) -> Iterator[EventArray]:
        """Take the next bytes of the stream and yield the events of every packet that they complete.

        Yields:
            Arrays [n ≤ PACKET_EVENTS] of EVENT_DTYPE, in the order of the stream.

        Raises:
            InputError: at damage, with the offset of the packet; everything before it was yielded.
            UsageError: the header has no event stream of the wanted number.
        """
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            self._advance(skipped)
            data = data[skipped:]
        self._pieces.append(data)
        self._held += len(data)
        if self._held < self._needed:
            return
        whole = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        start = self.position
        try:
            if self.header is None and not self._take_header(whole):
                return
            while not self.finished:
                events = self._next_packet(memoryview(whole)[self.position - start :])
                if events is None:
                    break
                for i in range(0, len(events), PACKET_EVENTS):
                    yield events[i : i + PACKET_EVENTS]
        finally:
            rest = whole[self.position - start :] if self.position > start else whole
            self._pieces = [rest] if rest else []
            self._held = len(rest)

    def finish_at(self, position: int) -> None:
        """The data table is now known to begin at byte ``position``; ≤ 0 tells nothing."""
        self._end = max(position, 0)
        if self._end and self.position >= self._end:
            self.finished = True

    def close(self) -> None:
        """No more bytes will come.

        Raises:
            InputError: the stream ends in the middle of a packet or of the data table, or before them.
        """
        end = self.position + self._held
        if self.header is None:
            raise self._fail(f"the AEDAT4 header is cut short at byte {end}; copy the file again")
        if self._skip or (self._held and not self.finished):
            raise self._fail(
                f"the packet that begins here is cut short at byte {end + self._skip}; copy the file again"
            )
        if self.finished:
            self._check_table(memoryview(b"".join(self._pieces)))
        elif self._end:
            raise self._fail(
                f"the file ends here, its data table should begin at byte {self._end}; copy it again"
            )

    def _fail(self, message: str) -> InputError:
        return InputError(message, path=self.where, offset=self.position)

    def _take_header(self, data: bytes) -> bool:
        self._needed = header_size(data, self.where)
        if len(data) < self._needed:
            return False
        header = parse_header(data, self.where)
        self.stream = choose_stream(header, self._wanted, self.where)
        self.header = header
        self._unpack = (_as_it_is, lz4_frame, lz4_frame, *(ZstdFrames(),) * 2)[header.compression]
        self.position = header.size
        self.finish_at(header.table_position)
        return True

    def _next_packet(self, data: memoryview) -> EventArray | None:
        """Events of the packet at the start of ``data`` (none for another stream), None when it is cut."""
        self._needed = PACKET_HEADER.size
        if len(data) < self._needed:
            return None
        assert self.header is not None and self.stream is not None
        number, size = PACKET_HEADER.unpack_from(data)
        known = any(s.id == number for s in self.header.streams)
        if not known and not self._end:
            if number in FRAME_MAGICS:
                self.finished = True
                return None
            if len(data) < 12:
                self._needed = 12
                return None
            self.finished = data[8:12] == b"FTAB"
            if self.finished:
                return None
        if not known or size < 0:
            raise self._fail(
                f"a packet of stream {number} and {size} bytes, where the header lists the streams "
                f"{_listed(self.header.streams)}; the file is damaged from here on"
            )
        end = PACKET_HEADER.size + size
        if self._end and self.position + end > self._end:
            raise self._fail(
                f"a packet of {size} bytes leads beyond the start of the data table at byte {self._end}; "
                "the file is damaged from here on"
            )
        if number != self.stream.id:
            self.packets[number] += 1
            self._skip = max(0, end - len(data))
            self._advance(end - self._skip)
            return np.empty(0, EVENT_DTYPE)
        if size > MAX_PACKET_BYTES:
            raise self._fail(
                f"an event packet of {size >> 20} MiB; the most that is read is {MAX_PACKET_BYTES >> 20} MiB"
            )
        if len(data) < end:
            self._needed = end
            return None
        events = self._events(data[PACKET_HEADER.size : end])
        self.packets[number] += 1
        self._advance(end)
        return events

    def _advance(self, size: int) -> None:
        self.position += size
        self.finished = bool(self._end) and self.position >= self._end

    def _events(self, body: memoryview) -> EventArray:
        try:
            raw = self._unpack(body)
            start, count = Table.root(raw, b"EVTS").vector(0, EVENT_BYTES)
        except (DecompressError, FlatbufferError) as e:
            raise self._fail(f"the event packet that begins here is damaged: {e}; copy the file again") from e
        records = np.frombuffer(raw, _RECORD, count, start)
        out = np.empty(count, _EVENT)
        out["xy"] = records["xy"]
        out["t"] = records["t"]
        np.not_equal(records["on"], 0, out=out["on"].view(bool))
        return out.view(EVENT_DTYPE)

    def _check_table(self, table: memoryview) -> None:
        """Whether the data table, which is the last thing in the file, is there to its end."""
        try:
            Table.root(table if table[8:12] == b"FTAB" else self._unpack(table), b"FTAB")
        except (DecompressError, FlatbufferError) as e:
            raise self._fail(
                f"all events were read, but the data table that begins here is cut short or damaged: {e}; "
                "copy the file again"
            ) from e


def choose_stream(header: Header, wanted: int | None, where: str) -> StreamInfo:
    """The event stream ``wanted``, or the first.

    Raises:
        InputError: the header lists no event stream.
        UsageError: no event stream has this number.
    """
    choices = header.event_streams
    if not choices:
        raise InputError(
            f"no event stream in it, only {_listed(header.streams)}; record it with events", path=where
        )
    for s in choices:
        if wanted in (None, s.id):
            return s
    raise UsageError(f"{where}: no event stream {wanted}; stream=NUMBER can be one of {_listed(choices)}")


def _listed(streams: list[StreamInfo] | tuple[StreamInfo, ...]) -> str:
    return ", ".join(map(str, streams)) or "none at all"
