"""Named tables of runs: rows of settings, read from TOML.

A table is a TOML file::

    title = "…"
    preset = "nmnist"       # of all rows
    [base]                  # settings of all rows, on top of it
    [[rows]]
    name = "OTTT_O, batch 1"
    settings = { method = { name = "ottt_o" } }

``data.path`` is a data set's name in braces, such as ``"{nmnist}/nmnist_800.npz"``, and given as ``--data
nmnist=FOLDER``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field

from stream_ottt.errors import UsageError
from stream_ottt.replay.config import ReplayConfig
from stream_ottt.run.config import merge
from stream_ottt.run.presets import REPLAYS, TABLES, Tables
from stream_ottt.settings import Settings

PLACE = re.compile(r"\{([a-z0-9-]+)\}")
"""A data set's name in braces."""

PLACES = ("path", "test_path", "labels")
"""Keys of ``[data]`` that say where data are."""


class RowSpec(Settings):
    """One row.

    Attributes:
        name: what it is, and part of its folder's name.
        preset: a replay preset to start from, instead of the table's.
        settings: tables on top.
    """

    name: str
    preset: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)


class Table(Settings):
    """A named table.

    Attributes:
        title: one line.
        note: lines below the table.
        preset: replay preset of all rows.
        base: settings of all rows, on top of the preset.
        rows: the rows.
        optional_data: leave out the rows whose data set was not given.
    """

    title: str
    note: str = ""
    preset: str | None = None
    base: dict[str, Any] = Field(default_factory=dict)
    rows: tuple[RowSpec, ...] = Field(min_length=1)
    optional_data: bool = False

    @classmethod
    def named(cls, name: str) -> Table:
        """A table that comes with the package, or a TOML file.

        Raises:
            UsageError: no such table, or not one.
        """
        return cls.load(TABLES.read(name), where=TABLES.find(name).stem)

    def with_data(self, data: Mapping[str, str]) -> tuple[Table, list[str]]:
        """This table without the rows that may be left out, and the names of the data sets that these need."""
        if not self.optional_data:
            return self, []
        absent = {
            row.name: {name for text in self._places(row).values() for name in PLACE.findall(text)} - data.keys()
            for row in self.rows
        }
        rows = tuple(row for row in self.rows if not absent[row.name])
        left = sorted(set().union(*absent.values()))
        return (self.model_copy(update={"rows": rows}), left) if rows else (self, [])

    def _tables(self, row: RowSpec, *on_top: Tables) -> Tables:
        preset = row.preset or self.preset
        return merge({} if preset is None else REPLAYS.read(preset), self.base, row.settings, *on_top)

    def _places(self, row: RowSpec) -> dict[str, str]:
        """Key → where a row's data are, data sets still in braces."""
        found = self._tables(row).get("data", {})
        return {key: found[key] for key in PLACES if isinstance(found.get(key), str)}

    def config(self, row: RowSpec, seed: int, data: Mapping[str, str], overrides: Tables) -> ReplayConfig:
        """The settings of one run.

        Raises:
            UsageError: wrong settings, or a data set whose place was not given.
        """
        tables = self._tables(row, overrides, {"compute": {"seed": seed}})
        for key in PLACES:
            value = tables.get("data", {}).get(key)
            if isinstance(value, str):
                tables["data"][key] = _fill_in(value, data)
        return ReplayConfig.load(tables, where=row.name)


def _fill_in(text: str, data: Mapping[str, str]) -> str:
    def place(match: re.Match[str]) -> str:
        name = match[1]
        if name not in data:
            raise UsageError(f"this table needs the data set {name!r}: say where it is with --data {name}=PATH")
        return data[name]

    return PLACE.sub(place, text)


def parse_data(words: Iterable[str]) -> dict[str, str]:
    """``NAME=PATH`` words as a mapping."""
    out: dict[str, str] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or not name or not path:
            raise UsageError(f"--data {word!r}: expected NAME=PATH, such as nmnist=data/nmnist")
        out[name] = path
    return out
