"""Events as text, one a line: the columns t, x, y and p, in any order, as people write them.

- Between two fields: commas, semicolons, bars, tabs or blanks. Lines that begin with ``#`` or ``%`` are comments, and
  before the events those with ``//`` or ``;``.
- Columns by a header with any usual names (``t``, ``timestamp``, ``x``, ``y``, ``p``, ``on``, ``polarity``, …); without
  one by the values, where these leave one reading.
- Times in µs, or in seconds where they have fractions; a column's name may say its unit (``t_ns``, ``time [ms]``). Or
  in two columns: seconds, and ns or µs beside them (``sec,nsec,x,y,p``; in ``columns=`` too).
- Polarities as 0 and 1, -1 and 1, True and False. Whole numbers also as ``12.0`` or ``1.2e+01``; fractions also with a
  comma, where that does not stand between fields. Quotation marks and brackets around numbers mean nothing.
- The sensor's size in a header (``t,x@320,y@240,on``), in a comment (``%geometry:320,240``,
  ``# width=320 height=240``), or as a first line ``320 240`` or ``320x240``.
- Dates, times of day and marks between thousands are refused.

Not read: UTF-16, which Windows' shell writes (save it as UTF-8); hexadecimal numbers; polarities 1 and 2.

Traps of other readers: without a header, x,y,t,p and t,x,y,p look alike to a reader that does not look at the values;
-1 is OFF; times of seconds read as whole numbers are all 0; a last line without an end may be half a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from stream_ottt.events.packet import EVENT_DTYPE, EventPacket
from stream_ottt.pipeline.source import FileSource
from stream_ottt.sources.columns import (
    EXPONENTS,
    ORDER,
    PARTS,
    TableConfig,
    Unit,
    column_names,
    names_all,
    roles_of,
)
from stream_ottt.sources.csv_dialect import FLAGS, NUMBER, Dialect, number, read_dialect, split
from stream_ottt.sources.guesses import checked_rate, guess_columns, guess_unit, sensor_size
from stream_ottt.sources.reach import WORDS, Reach
from stream_ottt.sources.unwrap import unwrapped

CHUNK = 1 << 19
MIN_EVENT_BYTES = 8
"""The shortest line with an event: four digits, three commas and a newline."""
HEAD = 1 << 18
"""Bytes that are looked at for the dialect."""
MAX_LINE = 1 << 16
SECOND_US = 1_000_000
LARGEST_P = 3
"""No one writes polarities as larger numbers: then it is another column."""
DATE = re.compile(rb"\d[-/:]\d")
GROUPED = re.compile(rb"[-+]?\d{1,3}([,'. ]\d+)+")


class CsvSource(FileSource):
    """Events of one text file, read in pieces."""

    name = "csv"
    Config = TableConfig
    config: TableConfig

    @classmethod
    def sniff(cls, head: bytes, path: Path) -> bool:
        """Lines of at least four numbers, or a header that names t, x, y and p; or any text in a file ``*.csv``."""
        if not head or any(c < 32 and c not in b"\t\r\n" for c in head):
            return False
        dialect = read_dialect(head)
        if names_all(roles_of(dialect.names)):
            return True
        if dialect.named:
            return path.suffix.lower() == ".csv" and (b"," in head or b";" in head)
        values = dialect.values()
        return len(values) > 0 and values.shape[1] >= len(ORDER) and not np.isnan(values).any() and dialect.regular

    def packets(self) -> Iterator[EventPacket]:
        """Decode from the beginning; see the base class. Errors name the line and its byte offset."""
        with self.open() as file:
            dialect = read_dialect(self._head(file))
        roles = self._roles(dialect) + ["_"] * dialect.open_end
        unit, certain = self._unit(dialect, roles)
        width, height = sensor_size(
            self._decode(dialect, roles, unit, certain, 1, 1), self, (dialect.width, dialect.height)
        )
        packets = self._decode(dialect, roles, unit, certain, width, height)
        if unit == "us" and self.config.time is None:
            packets = unwrapped(packets)
        yield from packets if certain else checked_rate(packets, self)

    def _head(self, file: BinaryIO) -> bytes:
        head = b""
        while len(head) < HEAD and (more := file.read(HEAD - len(head))):
            head += more
        if not head:
            raise self.fail("the file is empty; expected a recording", 0)
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise self.fail("the text is UTF-16; save it as UTF-8", 0)
        return head

    def _roles(self, dialect: Dialect) -> list[str]:
        """The role of each column, ``_`` for those without one."""
        if self.config.columns is not None:
            return column_names(self.config.columns)
        if dialect.names:
            roles = roles_of(dialect.names)
            missing = [role for role in ORDER if role not in roles]
            if missing and any(c < " " or c == "\ufffd" for name in dialect.names for c in name):
                raise self.fail("this is no text; leave out format=csv, or name another format", 0)
            if missing:
                raise self.fail(
                    f"line {dialect.named} names no column (or several) for {', '.join(missing)}: "
                    f"{','.join(dialect.names)[:80]!r}; say what they are with columns=, such as t,x,y,p",
                    0,
                )
            return roles
        fields = len(dialect.rows[0]) if dialect.rows else len(ORDER)
        if fields != len(ORDER):
            raise self.fail(
                f"line {dialect.line} has {fields} columns; say what they are with columns=, such as t,x,y,p,_ "
                "or sec,nsec,x,y,p",
                dialect.begins,
            )
        guessed = guess_columns(dialect.values())
        if guessed is None and self._plainly_wrong(dialect):
            return list(ORDER)  # the line is named
        if guessed is None:
            raise self.fail(
                "which column is t, x, y and p cannot be told from the values; "
                "say it with columns=, such as t,x,y,p or x,y,p,t",
                dialect.begins,
            )
        return guessed

    def _plainly_wrong(self, dialect: Dialect) -> bool:
        """Whether the first line is none of numbers, so that no order of columns helps."""
        return not dialect.rows or any(np.isnan(number(f)) for f in dialect.rows[0])

    def _unit(self, dialect: Dialect, roles: list[str]) -> tuple[Unit, bool]:
        if PARTS.keys() & set(roles):
            return "s", True
        if self.config.time is not None:
            return self.config.time, True
        at = roles.index("t")
        sample: npt.NDArray[np.float64] = np.array([number(row[at]) for row in dialect.rows if at < len(row)])
        name = dialect.names[at] if self.config.columns is None and dialect.names else ""
        unit, certain = guess_unit(sample, name)
        if unit is None:
            raise self.fail(
                f"t is {dialect.rows[int((sample != np.trunc(sample)).argmax())][at].decode('latin1')[:24]!r}; "
                "say the unit with time=, such as time=s or time=ms",
                dialect.begins,
            )
        return unit, certain

    def _decode(
        self, dialect: Dialect, names: list[str], unit: Unit, certain: bool, width: int, height: int
    ) -> Iterator[EventPacket]:
        from stream_ottt.sources.csv_kernel import parse

        roles = np.array([ORDER.index(name) if name in ORDER else -1 for name in names])
        part = next((name for name in names if name in PARTS), None)
        rounding, floor = int(certain), int(self.config.pixels == "floor")
        row, reach = np.empty(len(ORDER), np.int64), Reach()
        with self.open() as file:
            file.seek(dialect.begins)
            offset, line, rest, ended = dialect.begins, dialect.line, b"", False
            while not ended:
                chunk = file.read(CHUNK)
                ended = not chunk
                text = rest + ((chunk if dialect.table is None else chunk.translate(dialect.table)) or b"\n")
                end = text.rfind(b"\n") + 1
                block, rest = np.frombuffer(text, np.uint8, end), text[end:]
                if len(rest) > MAX_LINE:
                    raise self.fail(f"line {line} is longer than {MAX_LINE} bytes; this is no table of events", offset)
                out = np.empty(len(block) // MIN_EVENT_BYTES, EVENT_DTYPE)
                reach.clear()
                n, lines, used = parse(
                    block, dialect.separator[0], roles, row, EXPONENTS[unit], rounding, floor, out.view(WORDS),
                    reach.values,
                )  # fmt: skip
                if part is not None:
                    fractions, times = np.where(roles == 0, -1, roles), np.empty(len(out), EVENT_DTYPE)
                    fractions[names.index(part)] = 0
                    n, lines, used = parse(
                        block[:used], dialect.separator[0], fractions, row, EXPONENTS[PARTS[part]], 1, floor,
                        times.view(WORDS), Reach().values,
                    )  # fmt: skip
                    parts = times["t"][:n]
                    if beyond := parts[(parts < 0) | (parts > SECOND_US)].tolist():
                        raise self.fail(
                            f"the part of a second is {beyond[0]} µs, which is more than one; say which "
                            "column is the time with columns=, such as t,_,x,y,p"
                        )
                    out["t"][:n] += parts
                if n:
                    yield EventPacket(out[:n], width, height, reach.within(width, height))
                offset += used
                line += lines
                if used < end:
                    wrong = text[used : text.find(b"\n", used)]
                    cut = "; the file was cut off there" if ended else ""
                    raise self.fail(f"line {line}: {self._problem(wrong, dialect, names, rounding)}{cut}", offset)

    def _problem(self, line: bytes, dialect: Dialect, names: list[str], rounding: int) -> str:
        """Why a line is no event."""
        fields = split(line.rstrip(b"\r"), dialect.separator)
        if dialect.names and fields == [name.encode() for name in dialect.names]:
            return "names the columns again; take this line out, or take the files apart that were joined here"
        if b"\0" in line:
            return f"{line[:24].rstrip()!r} is no text; the file is damaged from there on, copy it again"
        if len(fields) != len(names):
            return f"expected {len(names)} fields, found {len(fields)}"
        for name, text in zip(names, fields, strict=True):
            shown, value = text[:24].decode("latin1").strip(), number(text)
            whole = NUMBER.fullmatch(text) is not None and value == np.trunc(value) and abs(value) < 2.0**63
            if name == "_" or (name == "p" and (text.lower() in FLAGS or (whole and value in (-1, 0, 1)))):
                continue
            if name == "p":
                other = whole and value > LARGEST_P and self.config.columns is None
                order = "; if another column holds it, say the order with columns=" if other else ""
                return f"polarity is {shown!r}; expected 0 or 1, -1 or 1, True or False, ON or OFF{order}"
            if not whole:
                return f"{name.strip('+')} is {shown!r}; {self._expected(name, text, value, rounding)}"
        return "a number is beyond what 64 bits hold"

    @staticmethod
    def _expected(name: str, text: bytes, value: float, rounding: int) -> str:
        """What should stand in place of a field that is no whole number."""
        if not np.isnan(value):
            if abs(value) >= 2.0**63:
                return "that is beyond what 64 bits hold"
            if name == "t" and not rounding:
                return "expected a whole number of µs; say the unit with time=, such as time=s"
            return "expected a whole number" + (
                "; pixels=floor cuts fractions off" if name in "xy" and value > 1 else ""
            )
        if DATE.search(text):
            return "a date or a time of day is not read; write the time in µs or in seconds"
        if GROUPED.fullmatch(text):
            return "write numbers without marks between thousands, and fractions with a point"
        return "expected a number"
