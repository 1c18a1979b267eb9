"""The header of an AEDAT4 stream: compression, place of the data table, and the streams it carries.

Format: https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-4.0.html
"""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Any

from stream_ottt.errors import InputError, UsageError
from stream_ottt.sources.aedat4.flatbuffer import Buffer, FlatbufferError, Table

MAGIC = b"#!AER-DAT4.0\r\n"
COMPRESSIONS = ("none", "lz4", "lz4-high", "zstd", "zstd-high")
"""Names of the header's compression numbers 0 to 4."""
MAX_HEADER_BYTES = 1 << 20
MAX_SIDE = 1 << 15
"""Coordinates are int16, so no sensor is wider or higher."""


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One stream of the header's ``outInfo``.

    Attributes:
        id: what its packets begin with.
        type: ``"EVTS"``, ``"FRME"``, ``"IMUS"``, ``"TRIG"``, ….
        name: the output's name (``"events"``), empty when not given.
        camera: the source's name, empty when not given.
        width: sensor width in pixels, None when not given or out of range.
        height: sensor height in pixels, likewise.
    """

    id: int
    type: str
    name: str
    camera: str
    width: int | None
    height: int | None

    def __str__(self) -> str:
        size = f" {self.width}×{self.height}" if self.width and self.height else ""
        return f"{self.id} ({self.type}{size})"


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the packets.

    Attributes:
        compression: index into :data:`COMPRESSIONS`.
        table_position: byte offset of the data table; ≤ 0 while the file is being written, or on a network.
        streams: in the header's order.
        size: bytes up to the first packet.
    """

    compression: int
    table_position: int
    streams: tuple[StreamInfo, ...]
    size: int

    @property
    def event_streams(self) -> list[StreamInfo]:
        """The streams that carry events."""
        return [s for s in self.streams if s.type == "EVTS"]


def header_size(data: Buffer, where: str) -> int:
    """How many bytes the header takes, or how many are needed to know it, when ``data`` holds fewer.

    Raises:
        InputError: ``data`` does not begin like AEDAT4, or the header's size is beyond 1 MiB.
    """
    if bytes(data[: len(MAGIC)]) != MAGIC[: len(data)]:
        raise InputError(
            f"expected AEDAT4, which begins with {MAGIC!r}, found {bytes(data[:14])!r}", path=where, offset=0
        )
    if len(data) < len(MAGIC) + 4:
        return len(MAGIC) + 4
    size = int(struct.unpack_from("<I", data, len(MAGIC))[0])
    if size > MAX_HEADER_BYTES:
        raise InputError(
            f"the header claims {size} bytes, more than {MAX_HEADER_BYTES}; the file is damaged",
            path=where,
            offset=len(MAGIC),
        )
    return len(MAGIC) + 4 + size


def parse_header(data: Buffer, where: str) -> Header:
    """Read a whole header.

    Args:
        data: at least :func:`header_size` bytes.
        where: file or address, for messages.

    Raises:
        InputError: the header is damaged, or of a compression that is not known.
    """
    size = header_size(data, where)
    offset = len(MAGIC)

    def damaged(what: object) -> InputError:
        return InputError(f"the AEDAT4 header is damaged: {what}; record or copy it again", path=where, offset=offset)

    try:
        table = Table.root(data[offset:size], b"IOHE")
        compression = table.int32(0, 0)
        position = table.int64(1, -1)
        info = table.string(2)
    except FlatbufferError as e:
        raise damaged(e) from e
    if not 0 <= compression < len(COMPRESSIONS):
        raise damaged(f"compression {compression} is none of 0 to {len(COMPRESSIONS) - 1}")
    if position > 0 and position < size:
        raise damaged(f"its data table is said to begin at byte {position}, inside the header")
    # Entities can only be declared in a DOCTYPE, so without one no text can expand.
    if info is None or "<!DOCTYPE" in info:
        raise damaged("it has no infoNode" if info is None else "its infoNode has a DOCTYPE")
    try:
        streams = _streams(ET.fromstring(info))
    except (ET.ParseError, ValueError) as e:
        raise damaged(f"its infoNode is no XML: {e}") from e
    return Header(compression, position, streams, size)


def choose_stream(header: Header, wanted: int | None, where: str) -> StreamInfo:
    """The event stream ``wanted``, or the first.

    Raises:
        InputError: the header lists no event stream.
        UsageError: no event stream has this number.
    """
    choices = header.event_streams
    if not choices:
        raise InputError(f"no event stream in it, only {listed(header.streams)}; record it with events", path=where)
    for s in choices:
        if wanted in (None, s.id):
            return s
    raise UsageError(f"{where}: no event stream {wanted}; stream=NUMBER can be one of {listed(choices)}")


def listed(streams: list[StreamInfo] | tuple[StreamInfo, ...]) -> str:
    """Streams as text, for messages."""
    some = [*map(str, streams[:16]), *(["…"] if len(streams) > 16 else [])]
    return ", ".join(some) or "none at all"


def _streams(root: ET.Element[Any]) -> tuple[StreamInfo, ...]:
    out = root.find(".//node[@name='outInfo']")
    streams: dict[int, StreamInfo] = {}
    for node in [] if out is None else out.findall("node"):
        number = _integer(node.get("name"), 0, 2**31 - 1)
        if number is None or number in streams:
            continue
        info = node.find("node[@name='info']")
        streams[number] = StreamInfo(
            id=number,
            type=_attribute(node, "typeIdentifier"),
            name=_attribute(node, "originalOutputName"),
            camera=_attribute(info, "source"),
            width=_integer(_attribute(info, "sizeX"), 1, MAX_SIDE),
            height=_integer(_attribute(info, "sizeY"), 1, MAX_SIDE),
        )
    return tuple(streams.values())


def _attribute(node: ET.Element[Any] | None, key: str) -> str:
    if node is not None:
        for attribute in node.findall("attr"):
            if attribute.get("key") == key:
                return (attribute.text or "").strip()
    return ""


def _integer(text: str | None, low: int, high: int) -> int | None:
    if text is None or not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    value = int(text)
    return value if low <= value <= high else None
