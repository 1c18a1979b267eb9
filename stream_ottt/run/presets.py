"""Settings that come with the package, and a user's own files: presets of runs and of replays, tables of runs."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

from stream_ottt.errors import UsageError
from stream_ottt.registry import near_miss

Tables = dict[str, Any]
"""Nested tables of plain values, as TOML has them."""


class Presets:
    """TOML files of one folder of ``stream_ottt.configs``.

    Args:
        kind: what they are, for messages.
        folder: within the package of presets.
        use: the command that takes them.
    """

    def __init__(self, kind: str, folder: str, use: str) -> None:
        self.kind = kind
        self.use = use
        self._folder = Path(str(files("stream_ottt.configs"))) / folder

    def names(self) -> list[str]:
        """Those that come with the package."""
        return sorted(p.stem for p in self._folder.glob("*.toml"))

    def find(self, name_or_file: str) -> Path:
        """The file that a name, or a path with or without its ``.toml``, means; a name of the package's comes first.

        Raises:
            UsageError: there is none; names the nearest.
        """
        if name_or_file in self.names():
            return self._folder / f"{name_or_file}.toml"
        own = Path(name_or_file if name_or_file.endswith(".toml") else f"{name_or_file}.toml")
        if not name_or_file.endswith(".toml") and not own.is_file():
            for other in (RUNS, REPLAYS, TABLES):
                if name_or_file in other.names():
                    raise UsageError(f"{name_or_file!r} is a {other.kind}: stream-ottt {other.use} {name_or_file}")
            near = near_miss(name_or_file, self.names())
            raise UsageError(f"unknown {self.kind} {name_or_file!r}, and no file {own} is there{near}")
        return own

    def read(self, name_or_file: str) -> Tables:
        """The tables of :meth:`find`'s file.

        Raises:
            UsageError: no such file, or no valid TOML (with the place).
        """
        path = self.find(name_or_file)
        try:
            return tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as e:
            raise UsageError(f"{path}: cannot read settings: {getattr(e, 'strerror', None) or e}") from e
        except (tomllib.TOMLDecodeError, RecursionError) as e:
            raise UsageError(f"{path}: no valid TOML: {e}") from e

    def title(self, name: str) -> str:
        """What it is, in one line: its ``title``, or the comment that it begins with."""
        text = self.find(name).read_text(encoding="utf-8")
        title = tomllib.loads(text).get("title")
        comment = text.partition("\n")[0]
        return str(title) if title is not None else comment.removeprefix("#").strip() if comment[:1] == "#" else ""


RUNS = Presets("preset", "", "run --config")
REPLAYS = Presets("replay preset", "replay", "replay --config")
TABLES = Presets("table", "tables", "bench")
