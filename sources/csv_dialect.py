"""How a text file writes its events: comments, the sensor's size, names of columns, what stands between two fields."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stream_ottt.sources.columns import ORDER, names_all, roles_of
from stream_ottt.sources.guesses import SAMPLE_ROWS

NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
FLAGS = {b"true": 1.0, b"on": 1.0, b"false": 0.0, b"off": 0.0}
GEOMETRY = re.compile(
    rb"(?:(?:geometry|resolution|dimensions|size)\W{0,3}|^\W*)(\d{1,5})\s*[,xX ]\s*(\d{1,5})\W*$"
    rb"|width\W{0,3}(\d{1,5})\W+height\W{0,3}(\d{1,5})"
    rb"|height\W{0,3}(\d{1,5})\W+width\W{0,3}(\d{1,5})",
    re.IGNORECASE,
)
SIZE = re.compile(rb"\s*(\d{1,5})\s*[\s,;xX]\s*(\d{1,5})\s*")
COMMENTS = (b"#", b"%", b"//", b";")
"""How a line before the events may begin that is none; between events, the first two."""
LISTS = re.compile(rb"^\s*[\[(]+\s*[-+\d]", re.MULTILINE)
QUOTES = re.compile(rb"(?:^|[,;|\t ])'", re.MULTILINE)
COMMA = re.compile(rb"(?<![\d,])[-+]?\d+,(\d+)(?=[;|\t\s]|$)")
THOUSANDS = 3
LOOKED_AT = 512
"""Lines at the beginning in which fractions with a comma are looked for."""
BOM = b"\xef\xbb\xbf"


@dataclass(slots=True)
class Dialect:
    """What the beginning of a file says.

    Attributes:
        separator: between two fields; a space stands for any number of spaces and tabs.
        names: of the columns, without the sizes; empty when no line names any.
        named: number of that line.
        width, height: of the sensor, where the file says them.
        begins: byte offset of the first line with events.
        line: number of that line, from 1.
        rows: the fields of the first lines with events.
        regular: whether all lines looked at have as many fields as the first.
        table: for bytes.translate: what makes plain numbers of quoted ones, lists, decimal commas and old line ends;
            None where they are plain.
        open_end: whether a separator stands behind the last field of each line.
    """

    separator: bytes = b","
    names: list[str] = field(default_factory=list)
    named: int = 0
    width: int | None = None
    height: int | None = None
    begins: int = 0
    line: int = 1
    rows: list[list[bytes]] = field(default_factory=list)
    regular: bool = True
    table: bytes | None = None
    open_end: bool = False

    def values(self) -> npt.NDArray[np.float64]:
        """The first rows as numbers [n, fields], up to the first that is not like the one before; words are NaN."""
        rows = [[number(f) for f in row] for row in self.rows]
        return np.array(rows, np.float64).reshape(len(rows), len(rows[0]) if rows else 0)


def number(text: bytes) -> float:
    """A field as a number: true, false, on and off are 1 and 0, other words NaN."""
    text = text.strip()
    if NUMBER.fullmatch(text):
        return float(text)
    return FLAGS.get(text.lower(), np.nan)


def split(line: bytes, separator: bytes) -> list[bytes]:
    """The fields of a line."""
    return line.split() if separator == b" " else [f.strip() for f in line.split(separator)]


def separator_of(line: bytes) -> bytes:
    """What stands between the fields of this line."""
    if line.count(b"\t") >= len(ORDER) - 1 and b",\t" not in line and b";" not in line:
        return b"\t"
    if line.count(b";") >= len(ORDER) - 1:
        return b";"
    if 0 < line.count(b",") < len(ORDER) - 1 and len(line.split()) >= len(ORDER):
        return b" "  # decimal commas
    return next((s for s in (b",", b";", b"|") if s in line), b" ")


def _table(head: bytes) -> bytes | None:
    """What makes plain numbers of those at the beginning of a file, as a table for bytes.translate."""
    plain = bytearray(range(256))
    if b'"' in head:
        plain[ord('"')] = ord(" ")
    if b"'" in head and QUOTES.search(head):
        plain[ord("'")] = ord(" ")
    if (b"[" in head or b"(" in head) and LISTS.search(head):
        for mark in b"[]()":
            plain[mark] = ord(" ")
    if b"\r" in head and b"\n" not in head:
        plain[ord("\r")] = ord("\n")
    lines = head.translate(bytes(plain)).split(b"\n", LOOKED_AT)[:LOOKED_AT] if b"," in head else []
    lines = [line for line in lines if not line.startswith(COMMENTS)]
    fractions = [m for line in lines if separator_of(line) != b"," for m in COMMA.findall(line)]
    if any(len(digits) != THOUSANDS for digits in fractions):  # else they may be thousands
        plain[ord(",")] = ord(".")
    return None if plain == bytes(range(256)) else bytes(plain)


def read_dialect(head: bytes) -> Dialect:
    """Interpret the beginning of a file; its last line may be cut off."""
    dialect = Dialect(table=_table(head))
    head = head if dialect.table is None else head.translate(dialect.table)
    at = len(BOM) if head.startswith(BOM) else 0
    lines = head[at:].split(b"\n")
    number = 0
    for number, raw in enumerate(lines):
        line = raw.strip()
        fields = split(line, separator_of(line))
        if line.startswith(COMMENTS):
            _read_comment(dialect, line, number + 1)
        elif not dialect.named and (size := SIZE.fullmatch(line)) and _is_row(lines[number + 1 : number + 2]):
            _set_size(dialect, size[1], size[2])
        elif line and not names_all(roles_of(dialect.names)) and not all(_is_value(f) for f in _closed(fields)):
            _read_header(dialect, fields, number + 1)
            dialect.named = number + 1
        elif line:
            break
        at += len(raw) + 1
    dialect.begins, dialect.line = min(at, len(head)), number + 1
    whole = lines[number:] if head.endswith(b"\n") or len(lines) == number + 1 else lines[number:-1]
    dialect.separator = separator_of(lines[number])
    for raw in whole[:SAMPLE_ROWS]:
        fields = split(raw.strip(b" \r"), dialect.separator)
        if raw.strip()[:1] in (b"", b"#", b"%"):
            continue
        if dialect.rows and len(fields) != len(dialect.rows[0]):
            dialect.regular = False
            break
        dialect.rows.append(fields)
    if dialect.rows and not any(row[-1] for row in dialect.rows) and len(dialect.names) != len(dialect.rows[0]):
        dialect.open_end = True
        dialect.rows = [row[:-1] for row in dialect.rows]
    return dialect


def _closed(fields: list[bytes]) -> list[bytes]:
    """The fields of a line without what a separator at its end leaves."""
    return fields if fields[-1:] != [b""] else fields[:-1]


def _is_row(lines: list[bytes]) -> bool:
    """Whether this line holds an event's numbers."""
    fields = split(lines[0].strip(), separator_of(lines[0])) if lines else []
    return len(fields) >= len(ORDER) and all(_is_value(f) for f in fields)


def _is_value(text: bytes) -> bool:
    return number(text) == number(text) or text.strip().lower() in (b"nan", b"inf", b"-inf")


def _read_comment(dialect: Dialect, line: bytes, at: int) -> None:
    """A comment may hold the sensor's size or the names of the columns."""
    if match := GEOMETRY.search(line):
        _set_size(dialect, match[1] or match[3] or match[6], match[2] or match[4] or match[5])
    text = line.lstrip(b"#%/; ")
    fields = split(text, separator_of(text))
    if names_all(roles_of([f.partition(b"@")[0].decode(errors="replace") for f in fields])):
        _read_header(dialect, fields, at)


def _read_header(dialect: Dialect, fields: list[bytes], at: int) -> None:
    """Names of columns, with the sensor's size as in ``x@320``."""
    dialect.names = []
    for text in fields:
        name, _, size = (part.strip() for part in text.decode(errors="replace").strip("#% ").partition("@"))
        dialect.names.append(name)
        if name.lower() == "x":
            _set_size(dialect, size.encode(), b"")
        elif name.lower() == "y":
            _set_size(dialect, b"", size.encode())


def _set_size(dialect: Dialect, width: bytes, height: bytes) -> None:
    if width.isdigit() and len(width) < 6 and 1 <= int(width) <= 2**15:
        dialect.width = int(width)
    if height.isdigit() and len(height) < 6 and 1 <= int(height) <= 2**15:
        dialect.height = int(height)
