"""Markdown with tables, printed so that it can be read in a terminal; elsewhere it stays as it is."""

from __future__ import annotations

import itertools
import re
import shutil
import sys
import textwrap

Rows = list[list[str]]

NUMBER = re.compile(r"[-+–]?[\d,.]*( ± [\d.]+)?( ?%)?")


def show(text: str) -> None:
    """Print it."""
    print(for_terminal(text, shutil.get_terminal_size().columns) if sys.stdout.isatty() else text, end="")


def for_terminal(text: str, width: int) -> str:
    """Markdown whose tables have their columns in line, within ``width`` characters where that can be.

    A table that is too wide stands on its side; where that is too wide as well, its rows stand one below the other.
    """
    out: list[str] = []
    for is_table, lines in itertools.groupby(text.splitlines(), lambda line: line.startswith("|")):
        if is_table:
            out += _table([_cells(line) for line in lines], width)
        else:
            out += [part for line in lines for part in textwrap.wrap(line, width, break_on_hyphens=False) or [""]]
    return "\n".join(out) + "\n"


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def _table(rows: Rows, width: int) -> list[str]:
    rows = [row for row in rows if not all(re.fullmatch(r":?-+:?", cell) for cell in row)]
    if any(len(row) != len(rows[0]) for row in rows):
        return ["  ".join(row) for row in rows]
    for layout in (rows, _turned(rows)):
        lines = _in_line(layout, head=layout is rows)
        if max(map(len, lines)) <= width:
            return lines
    each = (_in_line(_turned([rows[0], row]), head=False) for row in rows[1:])
    return [line for lines in each for line in [*lines, ""]][:-1]


def _turned(rows: Rows) -> Rows:
    return [list(column) for column in zip(*rows, strict=True)]


def _in_line(rows: Rows, *, head: bool) -> list[str]:
    """Columns of equal width; numbers stand at the right of theirs."""
    columns = _turned(rows)
    widths = [max(map(len, column)) for column in columns]
    right = [all(NUMBER.fullmatch(cell) for cell in column[head:]) for column in columns]
    lines = [
        "  ".join(
            cell.rjust(n) if to_right else cell.ljust(n) for cell, n, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in rows
    ]
    return [lines[0], "─" * (sum(widths) + 2 * len(widths) - 2), *lines[1:]] if head else lines
