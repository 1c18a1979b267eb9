"""``stream-ottt config show``: settings with what they mean."""

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
            if context.args:
                raise UsageError(f"{name} is a table of runs, which is shown as it is; leave out {context.args[0]}")
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
        cure = near_miss(name, known, "stream-ottt config list shows all")
        raise UsageError(f"unknown preset {name!r}{cure}") from None
    return RUNS, name
