"""AEDAT 3.1 and 3.0 files, as cAER writes them; the form of DVS128 Gesture.

After header lines that begin with ``#``, the last of them ``#!END-HEADER``, come packets, little-endian: a
header of 28 bytes, then its events. A polarity event (type 1) is a data word (bit 0 valid, bit 1 polarity, bits
2–16 y, bits 17–31 x) and an int32 timestamp in µs, which the packet's overflow counter continues.
In version 3.0, no line need end the header, y stands in bits 4–17 and counts from the bottom, and x in bits 18–31.
Format: https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-3.1.html

Not read: frames, IMU and special events; packets that are not RAW.

Traps of other readers: times begin again after 2^31 µs, which the packet's overflow counter says; some writers never
set the validity bit; evutils 0.3.18 ends at the first special packet without a word, tonic 1.7.0 fails with a current
NumPy.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from pydantic import Field

from stream_ottt.events.packet import PACKET_EVENTS, EventArray, EventPacket, make_events
from stream_ottt.pipeline.source import FileConfig, FileSource
from stream_ottt.sources.gather import gathered

MAGICS = (b"#!AER-DAT3.1", b"#!AER-DAT3.0")
END_OF_HEADER = b"#!END-HEADER"
MAX_LINE = 1 << 16
HEADER_BYTES = 28
POLARITY = 1
TYPES = ("special", "polarity", "frame", "imu6", "imu9")
RECORD = np.dtype([("data", "<u4"), ("t", "<i4")])
SIZES = {
    "DVS128": (128, 128),
    "DAVIS128": (128, 128),
    "DAVIS208": (208, 192),
    "DAVIS240": (240, 180),
    "DAVIS346": (346, 260),
    "DAVIS640": (640, 480),
}
"""How a camera's name in the header begins → (width, height)."""
GUESS = (128, 128)
CONTRADICTED = 20
"""One in so many events may be damaged; where more lie outside the size that was guessed, it is another."""


class PacketHeader(NamedTuple):
    """The 28 bytes before a packet's events."""

    type: int
    source: int
    event_size: int
    t_offset: int
    overflows: int
    capacity: int
    number: int
    valid: int

    @classmethod
    def unpack(cls, data: bytes) -> PacketHeader:
        return cls._make(struct.unpack("<hhiiiiii", data))


class Aedat31Config(FileConfig):
    """Options of :class:`Aedat31Source`.

    Attributes:
        width: sensor width in pixels; None for that of the camera in the header. Where it is not known, 128 is guessed,
            unless the events contradict that.
        height: sensor height in pixels, likewise.
    """

    width: int | None = Field(None, ge=1, le=1 << 15)
    height: int | None = Field(None, ge=1, le=1 << 15)


class Aedat31Source(FileSource):
    """Valid polarity events of an AEDAT 3.1 or 3.0 file; other packets are passed over.

    Some tools never set the validity bit. Events none of which has it, in a packet whose header counts all as
    valid, are therefore all read; otherwise those without the bit are left out.
    """

    name = "aedat31"
    Config = Aedat31Config
    config: Aedat31Config

    def __init__(self, config: Aedat31Config) -> None:
        super().__init__(config)
        self._counts: Counter[str] = Counter()
        self._older = False  # version 3.0
        self._polarity = 0  # events of the present pass, valid or not

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        return head.startswith(MAGICS)

    def packets(self) -> Iterator[EventPacket]:
        self._counts.clear()
        self._polarity, valid = 0, 0
        with self.open() as file:
            camera = self._read_header(file)
            width, height = self._size(camera)
            for packet in gathered(EventPacket(events, width, height) for events in self._events(file)):
                if self.size_from == "guess":
                    self._check_guess(packet.events, width, height, camera)
                if self._older:
                    packet.events["y"] = height - 1 - packet.events["y"]
                valid += len(packet)
                yield packet
        if self._polarity and not valid:
            found = f"none of its {self._polarity:,} events is marked as valid"
            raise self.fail(f"{found}; export it again, without a filter", 0)

    def _events(self, file: BinaryIO) -> Iterator[EventArray]:
        """The events of each packet from the current position on."""
        while (head := self._next(file)) is not None:
            start = file.tell() - HEADER_BYTES
            length = head.capacity * head.event_size
            if head.type == POLARITY:
                self._polarity += head.number
                polarity = head.number * head.event_size
                for data in self._read(file, polarity, start):
                    yield _decode(data, head, *((18, 4, 0x3FFF) if self._older else (17, 2, 0x7FFF)))
                length -= polarity
            for _ in self._read(file, length, start):
                pass
            self._counts[TYPES[head.type] if head.type < len(TYPES) else f"type {head.type}"] += 1

    def describe(self) -> dict[str, Any]:
        """The camera that the header names, and the packets counted in the last pass, by type."""
        with self.open() as file:
            camera = self._read_header(file)
        return {"camera": camera, "packets": dict(self._counts)}

    def _read_header(self, file: BinaryIO) -> str:
        """Leave ``file`` at the first packet; return the name of the first source, empty without one."""
        camera = ""
        while True:
            start = file.tell()
            line = file.readline(MAX_LINE)
            whole = line.endswith(b"\n")
            if not start:
                self._older = line.startswith(MAGICS[1])
            if self._older and not line.startswith(b"#"):
                file.seek(start)
                return camera
            if whole and line.startswith(END_OF_HEADER):
                return camera
            if not (whole and line.startswith(b"#")):
                raise self.fail(f"expected header lines up to {END_OF_HEADER.decode()}; the file is damaged", start)
            text = line.decode(errors="replace").strip()
            if (found := re.match(r"#\s*Format:\s*(.*)", text)) and found[1] != "RAW":
                raise self.fail(
                    f"its packets are packed as {found[1]!r}; only RAW can be read, export it as RAW", start
                )
            if (found := re.match(r"#\s*Source \d+:\s*(.*)", text)) and not camera:
                camera = found[1]

    def _size(self, camera: str) -> tuple[int, int]:
        name = camera.upper()
        known = next((size for start, size in SIZES.items() if name.startswith(start)), None)
        self.size_from = "camera" if known else "guess"
        if self.config.width is not None and self.config.height is not None:
            self.size_from = "option"
        known = known or GUESS
        return self.config.width or known[0], self.config.height or known[1]

    def _check_guess(self, events: EventArray, width: int, height: int, camera: str) -> None:
        """Raises InputError, naming the cameras that fit, where events contradict the size that was guessed."""
        outside = np.count_nonzero((events["x"] >= width) | (events["y"] >= height))
        if outside * CONTRADICTED <= len(events):
            return
        right, bottom = int(events["x"].max()), int(events["y"].max())
        fit = [f"{name} has {w}×{h}" for name, (w, h) in SIZES.items() if right < w and bottom < h]
        whose = f"the size of the camera {camera[:40]!r} is not known" if camera else "the header names no camera"
        raise self.fail(
            f"{whose}, and events reach x {right}, y {bottom}; say its size with ?width=…&height=…"
            + (f" ({', '.join(fit)})" if fit else ""),
            0,
        )

    def _next(self, file: BinaryIO) -> PacketHeader | None:
        """The next packet's header, None at the end of the file."""
        start = file.tell()
        data = file.read(HEADER_BYTES)
        if not data:
            return None
        if len(data) < HEADER_BYTES:
            raise self._cut(start)
        head = PacketHeader.unpack(data)
        wrong = min(head.event_size, head.overflows, head.number, head.type) < 0 or head.capacity < head.number
        if wrong or (head.type == POLARITY and (head.event_size, head.t_offset) != (8, 4)):
            raise self.fail(f"no packet header of AEDAT 3.1 ({head}); the file is damaged from here on", start)
        return head

    def _read(self, file: BinaryIO, length: int, start: int) -> Iterator[bytes]:
        """The next ``length`` bytes, which belong to the packet that began at ``start``, in pieces."""
        while length:
            piece = min(length, PACKET_EVENTS * RECORD.itemsize)
            data = file.read(piece)
            whole = len(data) - len(data) % RECORD.itemsize if len(data) < piece else piece
            if whole:
                yield data[:whole]
            if len(data) < piece:
                raise self._cut(start)
            length -= piece

    def _cut(self, start: int) -> Exception:
        return self.fail("the packet that begins here is cut short; copy the file again", start)


def _decode(data: bytes, head: PacketHeader, x: int, y: int, mask: int) -> EventArray:
    """The valid events among polarity records, whose coordinates stand at the bits ``x`` and ``y``."""
    records = np.frombuffer(data, RECORD)
    valid = (records["data"] & 1).astype(bool)
    if not valid.all() and (valid.any() or head.valid < head.number):
        records = records[valid]
    word = records["data"]
    return make_events(
        ((word >> x) & mask).astype(np.int16),
        ((word >> y) & mask).astype(np.int16),
        records["t"].astype(np.int64) + (head.overflows << 31),
        (word & 2) != 0,
    )
