"""AEDAT 1.0, 2.0 and 2.1 files, as jAER writes them from a DVS128, DAVIS240 or DAVIS346, and v2e.

After header lines that begin with ``#`` come words, big-endian: address (uint32; uint16 in version 1.0) and timestamp
(uint32, µs).
Format: https://docs.inivation.com/software/software-advanced-usage/file-formats/aedat-2.0.html

Not read: APS and IMU words and external inputs; 32-bit words in little-endian order.

Traps of other readers: y counts from the bottom and a DVS128's x from the right; 0 is ON on a DVS128, 1 on a DAVIS;
jAER mirrors a DAVIS's x when it shows it, dv and evutils do not; v2e writes no chip line; tonic 1.7.0 keeps APS and
IMU words.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator

from stream_ottt.events.packet import PACKET_EVENTS, EventPacket, make_events
from stream_ottt.pipeline.source import FileConfig, FileSource
from stream_ottt.sources.unwrap import Clock32
from stream_ottt.sources.zero_tail import NEVER_WRITTEN, written_end

MAGICS = (b"#!AER-DAT1.", b"#!AER-DAT2.")
"""As for jAER, the number behind the point means nothing: 2.1 is read as 2.0."""
WORD = np.dtype([("address", ">u4"), ("t", ">u4")])
WORD_1 = np.dtype([("address", ">u2"), ("t", ">u4")])
"""Of version 1.0."""
CONTRADICTED = 20
"""One in so many addresses may be damaged; where more do not fit the chip that was guessed, it is another."""
MAX_LINE = 1 << 16
TEXT = bytes([*b"\t\r\n", *range(0x20, 0x100)])
"""What header lines consist of."""
END_OF_HEADER = b"#End Of ASCII Header"

Words = npt.NDArray[np.uint32]
ChipName = Literal["dvs128", "davis240c", "davis346"]


@dataclass(frozen=True, slots=True)
class Chip:
    """How a sensor's addresses are laid out.

    Attributes:
        width, height: pixels.
        other: bits of which any marks a word that is no pixel's event (external input, APS, IMU).
        unused: bits that are never set; an address that has one is malformed.
        x_shift, x_bits: where x stands.
        y_shift, y_bits: where y stands; counted from the sensor's bottom row.
        polarity: the polarity bit.
        on: its value for ON.
        mirrored: x counts from the right.
    """

    width: int
    height: int
    other: int
    unused: int
    x_shift: int
    x_bits: int
    y_shift: int
    y_bits: int
    polarity: int
    on: int
    mirrored: bool

    def decode(self, address: Words, t: npt.NDArray[np.int64]) -> EventPacket:
        """Events, origin top-left, from pixels' words: addresses [n] and times [n] in µs."""
        x = ((address >> self.x_shift) & (2**self.x_bits - 1)).astype(np.int16)
        y = ((address >> self.y_shift) & (2**self.y_bits - 1)).astype(np.int16)
        if self.mirrored:
            x = np.int16(self.width - 1) - x
        if self.unused:
            x[address & np.uint32(self.unused) != 0] = -1
        p = (address >> self.polarity) & 1 == self.on
        return EventPacket(make_events(x, np.int16(self.height - 1) - y, t, p), self.width, self.height)

    def contradicting(self, address: Words) -> int:
        """How many of the addresses [n] are none of this chip's, or those of pixels that it does not have."""
        x = (address >> self.x_shift) & (2**self.x_bits - 1)
        y = (address >> self.y_shift) & (2**self.y_bits - 1)
        beyond = ((x >= self.width) | (y >= self.height)) & (address & np.uint32(self.other) == 0)
        return int(np.count_nonzero(beyond | (address & np.uint32(self.unused) != 0)))

    def fits(self, address: Words) -> bool:
        """Whether there are pixels' addresses among these [n], and all of them lie on the sensor."""
        return not self.contradicting(address) and bool((address & np.uint32(self.other) == 0).any())


def _davis(width: int, height: int) -> Chip:
    # Bit 31 marks APS and IMU words, bit 10 external input. jAER mirrors x when it shows a DAVIS; dv and
    # evutils, whose figures this reader was checked against, do not.
    return Chip(width, height, 0x8000_0400, 0, 12, 10, 22, 9, polarity=11, on=1, mirrored=False)


CHIPS = {
    "dvs128": Chip(128, 128, 0x8000_8000, 0x7FFF_0000, 1, 7, 8, 7, polarity=0, on=0, mirrored=True),
    "davis240c": _davis(240, 180),
    "davis346": _davis(346, 260),
}
KNOWN_NAMES = {"dvs128": "dvs128", "tmpdiff128": "dvs128", "davis240": "davis240c", "davis346": "davis346"}
"""How the last part of an ``AEChip`` line begins → the chip."""


def _lower(name: object) -> object:
    """A chip's name as headers and people write it."""
    return name.lower() if isinstance(name, str) else name


class Aedat2Config(FileConfig):
    """Options of :class:`Aedat2Source`.

    Attributes:
        chip: the sensor; None for what the header says. Where it says nothing, a DVS128 is guessed. Addresses that
            contradict either are an error.
    """

    chip: Annotated[ChipName | None, BeforeValidator(_lower)] = None


class Aedat2Source(FileSource):
    """The pixels' events of an AEDAT 1.0, 2.0 or 2.1 file; APS and IMU words and external inputs are passed over.

    A DVS128's x is mirrored in the file, and every sensor's y counts from the bottom; in the events both
    count from the top-left corner.
    """

    name = "aedat2"
    Config = Aedat2Config
    config: Aedat2Config

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        return head.startswith(MAGICS)

    def packets(self) -> Iterator[EventPacket]:
        with self.open() as file:
            if not os.fstat(file.fileno()).st_size:
                raise self.fail("the file is empty; expected a recording", 0)
            word = WORD_1 if file.read(len(MAGICS[0])) == MAGICS[0] else WORD
            file.seek(0)
            chip = CHIPS[self._chip(self._read_header(file))]
            unwrap = Clock32()
            begin, end = file.tell(), written_end(file, word.itemsize)
            while data := file.read(min(PACKET_EVENTS * word.itemsize, max(end - file.tell(), 0))):
                words = np.frombuffer(data, word, len(data) // word.itemsize)
                address = words["address"].astype(np.uint32)
                t = words["t"].astype(np.uint32)
                other = address & np.uint32(chip.other)
                if other.any():
                    kept = other == 0
                    address, t = address[kept], t[kept]
                # Of later packets, events beyond the sensor are counted where those of all formats are.
                if self.size_from == "guess" or file.tell() - len(data) == begin:
                    self._check_chip(chip, words["address"].astype(np.uint32))
                if len(address):
                    yield chip.decode(address, unwrap(t))
                if cut := len(data) % word.itemsize:
                    raise self.fail(
                        f"the last word has {cut} of its {word.itemsize} bytes; the file is cut short, copy it again",
                        file.tell() - cut,
                    )
            if end < os.fstat(file.fileno()).st_size:
                raise self.fail(f"from here on {NEVER_WRITTEN}", end)

    def _check_chip(self, taken: Chip, address: Words) -> None:
        """Raises InputError, naming the chips that fit, where addresses [n] contradict the one of the header, or the
        one that was guessed. That of the option is believed, and ``fits`` says which fit."""
        contradicting = taken.contradicting(address)
        if contradicting * CONTRADICTED <= len(address):
            return
        fit = [name for name, chip in CHIPS.items() if chip is not taken and chip.fits(address)]
        if self.size_from == "option":
            self.fits = f"chip={'|'.join(fit)}" if fit else ""
            return
        name = next(name for name, chip in CHIPS.items() if chip is taken).upper()
        says = "names no chip, and" if self.size_from == "guess" else f"names a {name}, but"
        raise self.fail(
            f"the header {says} {contradicting} of the first {len(address)} addresses are not those of a "
            f"{taken.width}×{taken.height} {name}; say which chip with ?chip={'|'.join(fit or CHIPS)}"
            + (", where all of them fit" if fit else ""),
            0,
        )

    def describe(self) -> dict[str, Any]:
        """The chip whose addresses are read, and the camera that the header names.

        Raises:
            InputError: the header names a chip that is not known.
        """
        with self.open() as file:
            header = self._read_header(file)
        return {"chip": self._chip(header), "camera": header.get("HardwareInterface", "")}

    def _read_header(self, file: BinaryIO) -> dict[str, str]:
        """Leave ``file`` at the first word; return the header's ``AEChip`` and ``HardwareInterface`` lines.

        The first word's first byte can be a ``#`` as well, so a line counts as header only when it is text.

        Raises:
            InputError: the file ends inside a header line.
        """
        found: dict[str, str] = {}
        while True:
            start = file.tell()
            line = file.readline(MAX_LINE)
            if not line.startswith(b"#") or line.translate(None, TEXT):
                file.seek(start)
                return found
            if not line.endswith(b"\n"):
                raise self.fail("the header is cut short or a line of it too long; copy the file again", start)
            key, _, value = line.lstrip(b"# ").partition(b":")
            if key in (b"AEChip", b"HardwareInterface"):
                found.setdefault(key.decode(), value.decode(errors="replace").strip())
            if line.startswith(END_OF_HEADER):
                return found

    def _chip(self, header: dict[str, str]) -> str:
        if self.config.chip:
            self.size_from = "option"
            return self.config.chip
        self.size_from = "camera"
        name = header.get("AEChip", "").rpartition(".")[2].lower()
        for start, chip in KNOWN_NAMES.items():
            if name.startswith(start):
                return chip
        interface = header.get("HardwareInterface", "")
        if name or "davis" in interface.lower():
            raise self.fail(
                f"the header's chip {name or interface!r} is unknown; say which with ?chip={'|'.join(CHIPS)}",
                0,
            )
        self.size_from = "guess"
        return "dvs128"
