"""Events as text, one a line: ``t,x,y,on`` in µs and pixels from the top-left corner, in any order.

A header may name the columns (``t``, ``timestamp``, ``x``, ``y``, ``p``, ``on``, ``polarity``, …) and the
sensor's size (``t,x@320,y@240,on``). Without a header the columns are t, x, y, p, or what the option
``columns`` says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field, field_validator

from stream_ottt.events import EventPacket
from stream_ottt.sources.base import FileConfig, FileSource
from stream_ottt.sources.columns import ORDER, Columns, column_names, find_columns, pack, sensor_size
from stream_ottt.sources.csv_numbers import parse

CHUNK = 1 << 18
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
        wanted = [names.index(role) for role in ORDER]
        with self.open() as file:
            file.seek(header.length)
            offset, line, rest = header.length, 2 if header.names else 1, b""
            while chunk := file.read(CHUNK):
                block, newline, rest = (rest + chunk).rpartition(b"\n")
                if len(rest) > MAX_LINE:
                    raise self.fail(f"line {line} is longer than {MAX_LINE} bytes; this is no table of events", offset)
                block += newline
                yield from self._block(block, offset, line, names, wanted, width, height)
                offset += len(block)
                line += block.count(b"\n")
            if rest:
                yield from self._block(rest + b"\n", offset, line, names, wanted, width, height)

    def _block(
        self, block: bytes, offset: int, line: int, names: list[str], wanted: list[int], width: int, height: int
    ) -> Iterator[EventPacket]:
        plain = block.replace(b"\r\n", b"\n") if b"\r" in block else block
        plain = plain.replace(b", ", b",").replace(b" ,", b",") if b" " in plain else plain
        columns = parse(plain, len(names), wanted)
        if columns is not None:
            events, problem = pack(dict(zip(ORDER, columns, strict=True)))
            if problem is None:
                if len(events):
                    yield EventPacket(events, width, height)
                return
        rows, error = self._lines(block, offset, line, names, wanted)
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
