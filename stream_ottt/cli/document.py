"""``python -m stream_ottt.cli.document``: docs/settings.md and docs/commands.md, from the classes and the commands."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from stream_ottt.cli.settings_text import as_markdown
from stream_ottt.registry import Registry
from stream_ottt.replay.config import ReplayConfig
from stream_ottt.run.config import RunConfig
from stream_ottt.settings import model_of
from stream_ottt.sinks import SINKS
from stream_ottt.sources import SOURCES

SETTINGS = """# Settings

This page is made from the classes by `make settings`. `stream-ottt config show NAME` prints the same as TOML, with the
values of a preset.

A key is written as `--table.key VALUE` on the command line, or as `key = VALUE` under `[table]` in a TOML file that
`--config` names. Durations have a unit: `"20ms"`. Where `"none"` is among the values, it takes back what a preset says.
In Python a duration is a whole number of µs, or text with a unit.
"""

COMMANDS = """# Commands

This page is made from the commands by `make settings`. Exit codes are in [summary.md](summary.md#exit-codes).
"""


def settings() -> str:
    """The page of all settings."""
    parts = [SETTINGS, "## Of a run\n"]
    parts += _tables(RunConfig, known=None)
    parts.append("## Of a replay\n\n`[network]`, `[learner]`, `[rehearsal]` and `[evaluation]` are as in a run.\n")
    parts += _tables(ReplayConfig, known=RunConfig)
    parts.append("## Of a source\n\nThey follow its name as a query: `recording.aedat4?stream=1`.\n")
    parts += _options(SOURCES, hidden={"path", "address"})
    parts.append("## Of a sink\n\nThey follow its target as a query: `video:out.mp4?fps=25`.\n")
    parts += _options(SINKS, hidden={"target"})
    return "\n".join(parts)


def _tables(model: type[BaseModel], *, known: type[BaseModel] | None) -> list[str]:
    out = []
    for table in model.model_fields:
        own = model_of(model, table)
        assert own is not None
        if known is None or model_of(known, table) is not own:
            out.append(f"### [{table}]\n\n{_first_line(own)}\n\n{as_markdown(own)}")
    return out


def _options(registry: Registry, *, hidden: set[str]) -> list[str]:
    out = []
    for name in registry.names():
        cls = registry.get(name)
        if not cls.__module__.startswith("stream_ottt."):
            continue  # another package's, which has documents of its own
        about = f"### {name}\n\n{_first_line(cls)}\n"
        shown = as_markdown(cls.Config, hidden=hidden)
        out.append(f"{about}\n{shown}" if shown else about)
    return out


def _first_line(cls: type[Any]) -> str:
    paragraph = inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0]
    return " ".join(paragraph.replace("``", "`").split())


def commands() -> str:
    """The page of all commands."""
    from typer.main import get_command

    from stream_ottt.cli.app import app

    parts = [COMMANDS]
    for name, command in sorted(get_command(app).commands.items()):  # type: ignore[attr-defined]
        for sub, one in sorted(getattr(command, "commands", {"": command}).items()):
            parts.append(_command(f"{name} {sub}".strip(), one))
    return "\n".join(parts)


def _command(name: str, command: Any) -> str:
    arguments = [p for p in command.params if not any(o.startswith("-") for o in p.opts)]
    usage = " ".join([f"stream-ottt {name}", *(p.metavar or p.name.upper() for p in arguments)])
    lines = [f"## {name}\n", f"    {usage}\n", " ".join((command.help or "").split()) + "\n"]
    lines += ["| | | |", "|---|---|---|"] if command.params else []
    for p in command.params:
        shown = p.opts[-1] if p not in arguments else ""
        lines.append(f"| {f'`{shown}`' if shown else ''} | {(p.metavar or '').replace('|', ' or ')} | {p.help or ''} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write both pages into docs/ of the checkout that is the working directory."""
    Path("docs/settings.md").write_text(settings(), encoding="utf-8")
    Path("docs/commands.md").write_text(commands(), encoding="utf-8")


if __name__ == "__main__":
    main()
