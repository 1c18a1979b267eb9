"""What Prophesee's file formats share: the text header, the sensor's size, and reading words in blocks.

A header is lines of ``% keyword value``, up to ``% end`` or the first byte that begins no such line.
Format: https://docs.prophesee.ai/stable/data/file_formats/raw.html
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar, cast

import numpy as np
import numpy.typing as npt
from pydantic import Field

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import EventPacket
from stream_ottt.pipeline.source import FileConfig, FileSource
from stream_ottt.sources.prophesee.words import WordDecoder
from stream_ottt.sources.zero_tail import NEVER_WRITTEN, written_end

MAX_HEADER = 1 << 16
UNKNOWN_SHARE = 20
"""One in so many words may be of an unknown type: cameras of other makers add types of their own."""
BLOCK_BYTES = 1 << 19
"""Bytes decoded at a time: what fits a core's second-level cache is decoded fastest."""

CAMERAS = (
    (re.compile(r"gen\s?x?320|imx646320", re.I), (320, 320)),
    (re.compile(r"imx636|gen\s?4|evk4", re.I), (1280, 720)),
    (re.compile(r"gen\s?3", re.I), (640, 480)),
    (re.compile(r"chronocam", re.I), (304, 240)),
)
"""What names a camera, for headers that give no size (the first cameras' do not) → its width and height."""

CAMERA_KEYS = ("plugin_name", "sensor_name", "data")
GENERATION_KEYS = ("sensor_generation", "generation")
"""Whose values are numbers, such as 3.1 and 4.2, or names."""
CONVERT = "convert it with OpenEB's `metavision_file_to_dat -i FILE -o OUT.dat`"


@dataclass(slots=True)
class Header:
    """A header's content.

    Attributes:
        fields: keyword in lower case → (value, byte offset of its line).
        size: bytes up to the first byte of data.
        ended: False when the text ran out inside a line.
        closed: True when ``% end`` stood there.
    """

    fields: dict[str, tuple[str, int]] = field(default_factory=dict)
    size: int = 0
    ended: bool = True
    closed: bool = False

    def value(self, key: str) -> str:
        """The value of ``key``, empty when absent."""
        return self.fields.get(key, ("", 0))[0]

    @property
    def format(self) -> dict[str, str]:
        """The parts of ``% format EVT2;height=480;width=640``; the name itself under ``"name"``."""
        name, *parts = self.value("format").split(";")
        pairs = (part.partition("=") for part in parts)
        return {"name": name.strip(), **{k.strip().lower(): v.strip() for k, _, v in pairs}}

    @property
    def encoding(self) -> str:
        """``"EVT2"``, ``"EVT2.1"``, ``"EVT3"`` or another name in upper case; empty when there is none."""
        if version := self.value("evt"):
            return "EVT" + version.removesuffix(".0")
        name = self.format["name"].upper()
        return "EVT2.1" if name == "EVT21" else name


def parse_header(head: bytes) -> Header:
    """Read the header at the beginning of ``head``, which may go on beyond it.

    A line is told from data by its first two bytes and by having no control characters: data may begin with
    the byte of ``%``, too.
    """
    header = Header()
    while head.startswith(b"% ", header.size):
        end = head.find(b"\n", header.size)
        line = head[header.size : end if end >= 0 else None].rstrip(b"\r")
        if any(byte < 0x20 and byte != 0x09 for byte in line):
            break
        if end < 0:
            header.ended = False
            break
        key, _, value = line[2:].decode("latin-1").strip().partition(" ")
        header.fields.setdefault(key.lower(), (value.strip(), header.size))
        header.size = end + 1
        if key.lower() == "end":
            header.closed = True
            break
    return header


class PropheseeConfig(FileConfig):
    """Options of the sources of Prophesee's formats.

    Attributes:
        width: sensor width in pixels; None for what the header says.
        height: sensor height in pixels; None for what the header says.
    """

    width: int | None = Field(None, ge=1, le=1 << 14)
    height: int | None = Field(None, ge=1, le=1 << 14)


class PropheseeSource(FileSource):
    """Base of the sources of Prophesee's formats.

    Class attributes:
        max_side: the most pixels that the format's coordinates can tell apart.
        decoder: what decodes its words.
    """

    Config = PropheseeConfig
    config: PropheseeConfig
    max_side: ClassVar[int]
    decoder: ClassVar[type[WordDecoder]]

    def __init__(self, config: PropheseeConfig) -> None:
        super().__init__(config)
        self._unknown = 0

    def describe(self) -> dict[str, Any]:
        """The header's fields, and how many words of the last pass are of a type that the format does not have."""
        with self.open() as file:
            header = {key: value for key, (value, _) in self.header(file).fields.items()}
        return {"header": header, **({"unknown_words": self._unknown} if self._unknown else {})}

    def header(self, file: BinaryIO) -> Header:
        """Read the header and leave ``file`` at the first byte of data.

        Raises:
            InputError: the file ends inside a header line, or the header is longer than 64 KiB.
        """
        head = self.read(file, MAX_HEADER)
        header = parse_header(head)
        if not header.ended:
            found = "the file ends" if len(head) < MAX_HEADER else f"no line end within {MAX_HEADER} bytes"
            raise self.fail(f"expected a header line, {found}; copy the file again", header.size)
        file.seek(header.size)
        return header

    def sensor(self, header: Header) -> tuple[int, int]:
        """Width and height in pixels: the options', else as the header gives them, else the named camera's.

        Raises:
            InputError: a size in the header that is none.
            UsageError: nothing tells the size.
        """
        width, height = self.config.width, self.config.height
        if width is not None and height is not None:
            self.size_from = "option"
            return width, height
        self.size_from = "file"
        found = self._size_in(header)
        if found is None:
            self.size_from = "camera"
            found = self._size_of_camera(header)
        if found is None:
            raise UsageError(
                f"{self.path}: the header does not give the sensor's size; add ?width=…&height=… in pixels"
            )
        return width or found[0], height or found[1]

    def _size_of_camera(self, header: Header) -> tuple[int, int] | None:
        """The size of the camera that the header names; None when it names none that is known."""
        names = " ".join(header.value(key) for key in CAMERA_KEYS)
        names += "".join(f" gen{header.value(key)}" for key in GENERATION_KEYS)
        return next((size for pattern, size in CAMERAS if pattern.search(names)), None)

    def _size_in(self, header: Header) -> tuple[int, int] | None:
        if "geometry" in header.fields:
            text, key = header.value("geometry"), "geometry"
        elif "width" in header.fields and "height" in header.fields:
            text, key = f"{header.value('width')}x{header.value('height')}", "width"
        elif "width" in header.format and "height" in header.format:
            text, key = f"{header.format['width']}x{header.format['height']}", "format"
        else:
            return None
        match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text)
        size = (int(match[1]), int(match[2])) if match else (0, 0)
        if not all(1 <= side <= self.max_side for side in size):
            raise self.fail(
                f"expected a sensor size from 1x1 to {self.max_side}x{self.max_side}, found {text[:40]!r}; "
                "give the right one with ?width=…&height=…",
                header.fields[key][1],
            )
        return size

    def blocks(self, file: BinaryIO) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
        """The data from here to the file's end in blocks of whole words, each valid until the next is asked for.

        Yields:
            The byte offset of the block, and its bytes [at most BLOCK_BYTES] uint8.

        Raises:
            InputError: the file ends inside a word; after everything before it was yielded.
        """
        offset = file.tell()
        word_bytes = self.decoder.word.itemsize
        end = written_end(file, word_bytes)
        size = os.fstat(file.fileno()).st_size
        buffer = np.empty(BLOCK_BYTES, np.uint8)
        while filled := self.read_into(file, buffer[: max(end - offset, 0)]):
            whole = filled - filled % word_bytes
            if whole:
                yield offset, buffer[:whole]
            offset += whole
            if filled != whole:
                raise self.fail(
                    f"expected a word of {word_bytes} bytes, the file ends after {filled - whole}; "
                    "it was cut off there",
                    offset,
                )
        if end < size:
            raise self.fail(f"from here on {NEVER_WRITTEN}", end)

    def read(self, file: BinaryIO, size: int) -> bytes:
        """Up to ``size`` bytes. Raises InputError when the system cannot read them."""
        try:
            return file.read(size)
        except OSError as e:
            raise self._unreadable(e) from e

    def read_into(self, file: BinaryIO, buffer: npt.NDArray[np.uint8]) -> int:
        """Fill ``buffer`` as far as the file goes; returns the bytes read."""
        try:
            return cast("int", cast("Any", file).readinto(buffer.data))
        except OSError as e:
            raise self._unreadable(e) from e

    def _unreadable(self, error: OSError) -> InputError:
        return self.fail(f"cannot be read: {error.strerror}; check the medium")


class RawSource(PropheseeSource):
    """Base of the RAW sources: one class per encoding, told apart by the header.

    Class attributes:
        encoding: the encoding's name as :attr:`Header.encoding` gives it.
        byte_orders: what the header may say of the byte order.
    """

    max_side = 2048
    encoding: ClassVar[str]
    byte_orders: ClassVar[tuple[str, ...]] = ("little",)

    def packets(self) -> Iterator[EventPacket]:
        with self.open() as file:
            header = self.begin(file)
            width, height = self.sensor(header)
            decoder = self.decoder()
            self.untimed = 0
            for _, block in self.blocks(file):
                if not decoder.words:
                    self.prepare(decoder, header, block)
                for events in decoder.decode(block):
                    if events["t"][0] < 0:
                        self.untimed += int(np.count_nonzero(events["t"] < 0))
                    yield EventPacket(events, width, height, decoder.reach.within(width, height))
                self._unknown = decoder.unknown
            if decoder.unknown * UNKNOWN_SHARE > decoder.words:
                raise self.fail(
                    f"{decoder.unknown} of {decoder.words} words are of types that {self.encoding} does not have; "
                    "the file is damaged, or holds another encoding (?format=evt2|evt21|evt3)"
                )

    def prepare(self, decoder: WordDecoder, header: Header, block: npt.NDArray[np.uint8]) -> None:
        """Tell the decoder what the header and the first words, given as bytes [n], say of the others."""

    def begin(self, file: BinaryIO) -> Header:
        """Read the header and leave ``file`` at the first word.

        Raises:
            InputError: a damaged header, or one of another encoding or byte order than this source decodes,
                naming what reads or converts it.
        """
        header = self.header(file)
        self._check_encoding(header)
        if not header.closed and os.fstat(file.fileno()).st_size == header.size:
            raise self.fail("expected events after the header, the file ends; copy it again", header.size)
        return header

    def _check_encoding(self, header: Header) -> None:
        found = header.encoding
        if found and found != self.encoding:
            known = {"EVT2": "evt2", "EVT2.1": "evt21", "EVT3": "evt3"}.get(found)
            advice = f"read it with ?format={known}" if known else CONVERT
            offset = header.fields["evt" if "evt" in header.fields else "format"][1]
            raise self.fail(f"expected {self.encoding} data, the header says {found[:20]!r}; {advice}", offset)
        if header.format.get("endianness", "little").lower() not in self.byte_orders:
            raise self.fail(
                f"{self.encoding} in the byte order {header.format['endianness'][:20]!r} is not read; {CONVERT}",
                header.fields["format"][1],
            )
