"""Prophesee DAT files: decoded events of 8 bytes, of type "2d" (N-CARS, the first cameras) or CD.

Version 2 holds x and y of 14 bits each; version 1, of the ATIS (304×240 pixels), of 9 and 8.
Format: https://docs.prophesee.ai/stable/data/file_formats/dat.html

Not read: events that are no changes of pixels (triggers).

Traps of other readers: version 1 has x and y in other bits; times have 32 bits, and go on here after 71 minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stream_ottt.events.packet import EventPacket
from stream_ottt.sources.prophesee.base import Header, PropheseeSource, parse_header
from stream_ottt.sources.prophesee.words import Dat1Decoder, DatDecoder

EVENT_2D = 0x00
EVENT_CD = 0x0C
ATIS_SIZE = (304, 240)


class DatSource(PropheseeSource):
    """Events of a Prophesee DAT file."""

    name = "dat"
    max_side = 1 << 14
    decoder = DatDecoder

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        header = parse_header(head)
        if not header.fields or header.encoding:
            return False
        return "data file" in head[: header.size].decode("latin-1").lower() or path.suffix.lower() == ".dat"

    def packets(self) -> Iterator[EventPacket]:
        with self.open() as file:
            header = self.header(file)
            kind = self.read(file, 2)
            if len(kind) < 2:
                raise self.fail("expected the event type and size, the file ends; copy it again", header.size)
            if kind[0] not in (EVENT_2D, EVENT_CD) or kind[1] != self.decoder.word.itemsize:
                raise self.fail(
                    f"expected events of type 0x0 (2d) or 0xc (CD) of 8 bytes, found type {kind[0]:#x} of "
                    f"{kind[1]} bytes; write the recording's CD events with `metavision_file_to_dat`",
                    header.size,
                )
            width, height = self.sensor(header)
            decoder = Dat1Decoder() if self._first_version(header) else DatDecoder()
            for _, block in self.blocks(file):
                for events in decoder.decode(block):
                    yield EventPacket(events, width, height, decoder.reach.within(width, height))

    def _first_version(self, header: Header) -> bool:
        """Whether the words are those of version 1. Raises InputError for a version that is not known."""
        version = header.value("version")
        if version not in ("", "0", "1", "2"):
            raise self.fail(
                f"expected version 1 or 2, found {version[:20]!r}; write it anew with `metavision_file_to_dat`",
                header.fields["version"][1],
            )
        return version in ("0", "1")

    def _size_of_camera(self, header: Header) -> tuple[int, int] | None:
        return super()._size_of_camera(header) or (ATIS_SIZE if self._first_version(header) else None)
