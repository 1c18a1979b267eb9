"""``stream-ottt config``: settings with what they mean, and lists of what comes with the package."""

from __future__ import annotations

import typer
from pydantic import BaseModel

from stream_ottt.cli.options import overrides
from stream_ottt.cli.settings_text import as_toml
from stream_ottt.errors import UsageError
from stream_ottt.registry import near_miss
from stream_ottt.run.config import RunConfig, merge
from stream_ottt.run.presets import REPLAYS, RUNS, TABLES, Presets, Tables


def show(context: typer.Context, name: str | None) -> None:
    """Print the settings that a name means, changed by those of the command line.

    Raises:
        UsageError: no such preset or file (naming the nearest), or wrong settings.
    """
    tables: Tables = {}
    model: type[BaseModel] = RunConfig
    if name is not None:
        kind, found = _kind_of(name)
        tables = kind.read(found)
        if "rows" in tables:  # a table, the package's or the user's
            print(kind.find(found).read_text(encoding="utf-8"), end="")
            return
        if kind is REPLAYS or not tables.keys() <= RunConfig.model_fields.keys():
            from stream_ottt.replay.config import ReplayConfig as model
    settings = merge(tables, overrides(context, model, {}))
    print(as_toml(model.load(settings)), end="")  # type: ignore[attr-defined]


def _kind_of(name: str) -> tuple[Presets, str]:
    """What a name means, and the name without its folder."""
    if name.startswith("replay/"):
        return REPLAYS, name.removeprefix("replay/")
    for kind in (RUNS, REPLAYS, TABLES):
        if name in kind.names():
            return kind, name
    try:
        RUNS.find(name)
    except UsageError:
        known = [n for kind in (RUNS, REPLAYS, TABLES) for n in kind.names()]
        raise UsageError(f"unknown preset {name!r}{near_miss(name, known)}") from None
    return RUNS, name


def list_all() -> None:
    """Print all presets and tables."""
    for heading, kind, use in (
        ("presets", RUNS, "run --config NAME"),
        ("replay presets", REPLAYS, "replay --config NAME"),
        ("tables", TABLES, "bench NAME"),
    ):
        print(f"{heading} (stream-ottt {use})")
        list_presets(kind, indent="  ")


def list_presets(kind: Presets, *, indent: str = "") -> None:
    """Print the presets of one kind, each with what it is."""
    for name in kind.names():
        print(f"{indent}{name:18} {kind.title(name)}")
