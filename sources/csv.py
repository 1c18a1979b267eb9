"""Events as text, one a line: ``t,x,y,on`` in µs and pixels from the top-left corner, in any order.

A header may name the columns (``t``, ``timestamp``, ``x``, ``y``, ``p``, ``on``, ``polarity``, …) and the
sensor's size (``t,x@320,y@240,on``). Without a header the columns are t, x, y, p, or what the option
``columns`` says.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from stream_ottt.events.packet import EVENT_DTYPE, EventPacket
from stream_ottt.pipeline.source import FileConfig, FileSource
from stream_ottt.sources.columns import ORDER, Columns, column_names, find_columns, pack, sensor_size
from stream_ottt.sources.reach import WORDS, Reach

CHUNK = 1 << 19
COMPILED_FROM_BYTES = 1 << 18
"""From this size on, a file is worth the tenth of a second that loading the compiled loop takes."""
MIN_EVENT_BYTES = 8
"""The shortest line with an event: four digits, three commas and a newline."""
MAX_LINE = 1 << 16
NUMBER = re.compile(rb"[ \t]*([+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf))[ \t]*", re.IGNORECASE)
INTEGER = re.compile(rb"[ \t]*[+-]?\d{1,19}[ \t]*")
BOM = b"\xef\xbb\xbf"


class CsvConfig(FileConfig):
    """Options of CSV files.

    Attributes:
        columns: what the columns are, in the file's order, ``_`` for one to skip; None believes the header.
        width: sensor width in pixels; None takes it from the header, or reads the file once for the largest
            x.
        height: sensor height in pixels; None takes it from the header, or reads the file once for the largest
            y.
    """

    columns: str | None = None
    width: int | None = Field(default=None, ge=1, le=2**15)
    height: int | None = Field(default=None, ge=1, le=2**15)

    @field_validator("columns")
    @classmethod
    def _names_all(cls, value: str | None) -> str | None:
        if value is not None:
            column_names(value)
        return value


@dataclass(frozen=True, slots=True)
class Header:
    """What the first line says.

    Attributes:
        names: its fields without the sizes; empty when it holds numbers already.
        sizes: sensor size by field, from ``x@320``.
        length: its bytes, 0 when it holds numbers.
    """

    names: list[str]
    sizes: dict[str, int]
    length: int


def read_header(line: bytes) -> Header:
    """Interpret the first line of a file, its newline included."""
    text = line.removeprefix(BOM).strip()
    fields = text.split(b",")
    if all(NUMBER.fullmatch(f) for f in fields):
        return Header([], {}, len(BOM) if line.startswith(BOM) else 0)
    names, sizes = [], {}
    for field in text.lstrip(b"# ").decode("latin1").split(","):
        name, _, size = (part.strip() for part in field.partition("@"))
        names.append(name)
        if size.isascii() and size.isdecimal() and len(size) < 6 and 1 <= int(size) <= 2**15:
            sizes[name.lower()] = int(size)
    return Header(names, sizes, len(line))


def compiled_parser(names: list[str]) -> Callable[[memoryview, int, int], tuple[EventPacket, int, int]]:
    """What reads whole lines, up to the first that is not plainly an event.

    Args:
        names: the role of each column.

    Returns:
        A function of (lines, sensor width, sensor height) that returns the events, the lines passed and their bytes.
    """
    from stream_ottt.sources.csv_kernel import parse

    roles = np.array([ORDER.index(name) if name in ORDER else -1 for name in names])
    row = np.empty(len(ORDER), np.int64)
    reach = Reach()

    def events(block: memoryview, width: int, height: int) -> tuple[EventPacket, int, int]:
        text: npt.NDArray[np.uint8] = np.frombuffer(block, np.uint8)
        out = np.empty(len(block) // MIN_EVENT_BYTES, EVENT_DTYPE)
        reach.clear()
        n, lines, used = parse(text, roles, row, out.view(WORDS), reach.values)
        return EventPacket(out[:n], width, height, reach.within(width, height)), lines, used

    return events


class CsvSource(FileSource):
    """Events of one CSV file, read in pieces."""

    name = "csv"
    Config = CsvConfig
    config: CsvConfig

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        """A header that names t, x, y and p, or lines of at least four integers; or any text in a file ``*.csv``."""
        line, _, rest = head.partition(b"\n")
        if b"," not in line or any(c < 32 and c not in b"\t\r" for c in line):
            return False
        header = read_header(line)
        if header.names:
            return len(find_columns(header.names)) == len(ORDER) or path.suffix.lower() == ".csv"
        return all(
            text.count(b",") == line.count(b",") >= len(ORDER) - 1
            for text in (line, *rest.split(b"\n")[:-1])
            if text.strip()
        )

    def packets(self) -> Iterator[EventPacket]:
        """Decode from the beginning; see the base class. Errors name the line and its byte offset."""
        with self.open() as file:
            first = file.readline(MAX_LINE)
        header = read_header(first)
        names = self._names(header, first)
        width = self.config.width or header.sizes.get("x")
        height = self.config.height or header.sizes.get("y")
        width, height = sensor_size(self._read(header, names, 1, 1), width, height)
        yield from self._read(header, names, width, height)

    def _names(self, header: Header, first: bytes) -> list[str]:
        """The role of each column, ``_`` for those without one."""
        if self.config.columns is not None:
            return column_names(self.config.columns)
        if not header.names:
            count = first.count(b",") + 1
            if first.strip() and count != len(ORDER):
                raise self.fail(f"line 1 has {count} columns; say what they are with columns=, such as t,x,y,p,_", 0)
            return list(ORDER)
        found = find_columns(header.names)
        missing = [role for role in ORDER if role not in found]
        if missing:
            raise self.fail(
                f"line 1 names no column (or several) for {', '.join(missing)}: {','.join(header.names)[:80]!r}; "
                "say what they are with columns=, such as t,x,y,p",
                0,
            )
        roles = {name: role for role, name in found.items()}
        return [roles.get(name, "_") for name in header.names]

    def _read(self, header: Header, names: list[str], width: int, height: int) -> Iterator[EventPacket]:
        with self.open() as file:
            parse = compiled_parser(names) if os.fstat(file.fileno()).st_size >= COMPILED_FROM_BYTES else None
            file.seek(header.length)
            offset, line, rest = header.length, 2 if header.names else 1, b""
            while chunk := file.read(CHUNK):
                text = memoryview(rest + chunk)
                end = len(rest) + chunk.rfind(b"\n") + 1 if b"\n" in chunk else 0
                block, rest = text[:end], bytes(text[end:])
                if len(rest) > MAX_LINE:
                    raise self.fail(f"line {line} is longer than {MAX_LINE} bytes; this is no table of events", offset)
                if parse is not None:
                    packet, lines, used = parse(block, width, height)
                    if len(packet):
                        yield packet
                    line += lines
                    offset += used
                    block = block[used:]
                if plain := bytes(block):
                    yield from self._plain(plain, offset, line, names, width, height)
                    offset += len(plain)
                    line += plain.count(b"\n")
            if rest:
                yield from self._plain(rest, offset, line, names, width, height)

    def _plain(
        self, block: bytes, offset: int, line: int, names: list[str], width: int, height: int
    ) -> Iterator[EventPacket]:
        """The events of some lines, without the compiled loop; raises at the first line that is no event."""
        rows, error = self._lines(block, offset, line, names, [names.index(role) for role in ORDER])
        if len(rows["t"]):
            yield EventPacket(pack(rows)[0], width, height)
        if error:
            raise self.fail(*error)

    def _lines(
        self, block: bytes, offset: int, line: int, names: list[str], wanted: list[int]
    ) -> tuple[Columns, tuple[str, int] | None]:
        """Line by line, up to the first that is no event; what is wrong with that one and where it begins."""
        rows: list[list[int]] = []
        error = None
        for number, text in enumerate(block.split(b"\n"), start=line):
            fields = text.rstrip(b"\r").split(b",")
            if fields != [b""]:
                problem = self._problem(fields, names)
                if problem:
                    error = f"line {number}: {problem}", offset
                    break
                rows.append([int(fields[k]) for k in wanted])
            offset += len(text) + 1
        table = np.array(rows, np.int64).reshape(-1, len(ORDER))
        return {role: table[:, k] for k, role in enumerate(ORDER)}, error

    def _problem(self, fields: list[bytes], names: list[str]) -> str | None:
        if len(fields) != len(names):
            return f"expected {len(names)} fields, found {len(fields)}"
        for name, field in zip(names, fields, strict=True):
            if name == "_":
                continue
            shown = field[:24].decode("latin1").strip()
            if not INTEGER.fullmatch(field) or not -(2**63) <= int(field) < 2**63:
                hint = " of µs" if name == "t" else ""
                return f"{name} is {shown!r}; expected a whole number{hint}"
            if name == "p" and int(field) not in (-1, 0, 1):
                return f"polarity is {shown!r}; expected 0 or 1, or -1 or 1"
        return None
