"""Lists of the presets and tables that come with the package; nothing else is imported for them."""

from __future__ import annotations

import shutil
import sys
import textwrap

from stream_ottt.run.presets import REPLAYS, RUNS, TABLES, Presets


def list_all() -> None:
    """Print all presets and tables."""
    for kind in (RUNS, REPLAYS, TABLES):
        print(f"{kind.kind}s (stream-ottt {kind.use} NAME)")
        list_presets(kind, indent="  ")


def list_presets(kind: Presets, *, indent: str = "") -> None:
    """Print the presets of one kind, each with what it is."""
    for name in kind.names():
        line = f"{indent}{name:18} {kind.title(name)}"
        indented = " " * (len(indent) + 19)
        print(textwrap.fill(line, _width(), subsequent_indent=indented, break_on_hyphens=False, break_long_words=False))


def _width() -> int:
    """Of the terminal; lines that go elsewhere are not cut."""
    return max(shutil.get_terminal_size().columns, 40) if sys.stdout.isatty() else 10_000
