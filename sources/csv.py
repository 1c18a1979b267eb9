"""Events as text, one a line: the columns t, x, y and p, in any order, as people write them.

- Between two fields: commas, semicolons, bars, tabs or blanks. Lines that begin with ``#`` or ``%`` are comments.
- Columns by a header with any usual names (``t``, ``timestamp``, ``x``, ``y``, ``p``, ``on``, ``polarity``, …); without
  one by the values, where these leave one reading.
- Times in µs, or in seconds where they have fractions; a column's name may say its unit (``t_ns``, ``time [ms]``).
- Polarities as 0 and 1, -1 and 1, True and False. Whole numbers also as ``12.0`` or ``1.2e+01``.
- The sensor's size in a header (``t,x@320,y@240,on``), as ``%geometry:320,240``, or as a first line ``320 240``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from stream_ottt.events.packet import EVENT_DTYPE, EventPacket
from stream_ottt.pipeline.source import FileSource
from stream_ottt.sources.columns import EXPONENTS, ORDER, TableConfig, Unit, column_names, find_columns, roles_of
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
        if dialect.names and len(find_columns(dialect.names)) == len(ORDER):
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
        yield from packets if certain else checked_rate(unwrapped(packets), self)

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
            found = find_columns(dialect.names)
            missing = [role for role in ORDER if role not in found]
            if missing:
                raise self.fail(
                    f"line {dialect.named} names no column (or several) for {', '.join(missing)}: "
                    f"{','.join(dialect.names)[:80]!r}; say what they are with columns=, such as t,x,y,p",
                    0,
                )
            return roles_of(dialect.names)
        fields = len(dialect.rows[0]) if dialect.rows else len(ORDER)
        if fields != len(ORDER):
            raise self.fail(
                f"line {dialect.line} has {fields} columns; say what they are with columns=, such as t,x,y,p,_",
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
        rounding, floor = int(certain), int(self.config.pixels == "floor")
        row, reach = np.empty(len(ORDER), np.int64), Reach()
        with self.open() as file:
            file.seek(dialect.begins)
            offset, line, rest, ended = dialect.begins, dialect.line, b"", False
            while not ended:
                chunk = file.read(CHUNK)
                ended = not chunk
                text = rest + ((chunk.replace(b'"', b" ") if dialect.quoted else chunk) or b"\n")
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
                if n:
                    yield EventPacket(out[:n], width, height, reach.within(width, height))
                offset += used
                line += lines
                if used < end:
                    wrong = text[used : text.find(b"\n", used)]
                    raise self.fail(f"line {line}: {self._problem(wrong, dialect.separator, names, rounding)}", offset)

    def _problem(self, line: bytes, separator: bytes, names: list[str], rounding: int) -> str:
        """Why a line is no event."""
        fields = split(line.rstrip(b"\r"), separator)
        if len(fields) != len(names):
            return f"expected {len(names)} fields, found {len(fields)}"
        hints = {"t": "whole number of µs; say the unit with time=, such as time=s"} if not rounding else {}
        for name, text in zip(names, fields, strict=True):
            if name == "_":
                continue
            shown, value = text[:24].decode("latin1").strip(), number(text)
            whole = NUMBER.fullmatch(text) is not None and value == np.trunc(value) and abs(value) < 2.0**63
            if name == "p" and (text.lower() in FLAGS or (whole and value in (-1, 0, 1))):
                continue
            if name == "p" and whole:
                return f"polarity is {shown!r}; expected 0 or 1, -1 or 1, or True or False"
            if not whole:
                return f"{name} is {shown!r}; expected a {hints.get(name, 'whole number')}"
        return "a number is beyond what 64 bits hold"
