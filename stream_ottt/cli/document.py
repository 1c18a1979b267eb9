"""``python -m stream_ottt.cli.document``: the pages of docs/ that are made from the classes and the commands."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from stream_ottt.cli.settings_text import as_markdown
from stream_ottt.pipeline.source import FileConfig
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


FORMATS = """# Formats of recordings

This page is made from the sources by `make settings`. The content decides the format of a file, not its name;
`?format=NAME` decides otherwise. Options follow a question mark: `'events.txt?time=ms&width=346&height=260'`. All are
in [settings.md](settings.md#of-a-source).

**Names.** An existing file wins over an address, whatever its name holds (`?`, `#`, `:`, `&`, blanks). `-` is standard
input, with `?format=`; a named pipe or `<(nc -l 5000)` is read once, into a temporary file. So is what is packed as a
whole, in any format: by gzip, bzip2, xz or Zstandard, or in a ZIP archive, alone or as
`events.*`.

**The sensor's size** comes from the recording, from its camera's or data set's name, or from `?width=&height=`. Where
nothing says it, it is guessed from the largest coordinates. `info`, the summary (`sensor.size_from`) and one line on
stderr say so.

**Times** are µs. These options are for every recording:

| | |
|---|---|
| `from`, `to` | a part (`?from=10s&to=20s`) from the first event; AEDAT4, NumPy, HDF5, bags without EVT3 skip to it |
| `shift` | `auto` moves the first event to 0; a number of µs (or `-1.5s`) is added to all times |
| `tolerance` | events that come up to so much too late are put in their place; 10 ms for files, 0 for live sources |
| `sort` | `true` puts a whole recording in order, in memory |

**Wrong times.** An event that runs against the others is left out and counted (`malformed`, `wrong_times`). When the
clock jumps back for good, a new epoch begins one second after the events before it. When it jumps ahead by more than
a minute, a new epoch begins, too, but its times stay; fewer than 32 events before such a jump at the very beginning,
or after it at the very end, are left out. Where more than 2 % of the events cannot be used, the exit code is 3 and one
line names the likeliest cause.

**Damage.** What comes before it is read; then the exit code is 3 and one line says where it is and what to do. Zeros at
a recording's end, as a recorder that was cut off leaves them, are no events.

**Tables** (CSV, NumPy, HDF5, MAT) have four columns. They are told by their names, or by the values where these leave
one reading: times do not decrease, polarities are 0 and 1 or -1 and 1, x stands before y. Else `?columns=x,y,t,p` is
asked for. Times with fractions are seconds, where they cannot be milliseconds; whole numbers are µs, or ns from 10^17
on; `?time=s|ms|us|ns` decides. They are rounded to the nearest µs, halves up. NumPy's dates say their unit. µs of 32
bits that begin again at 0, or below it, go on, and of 31 bits (libcaer's) where they begin again at once; `time=us`
takes them as they are.
"""


def formats() -> str:
    """The page of the formats of recordings."""
    parts = [FORMATS]
    for name in SOURCES.names():
        cls = SOURCES.get(name)
        if cls.reads_files and cls.__module__.startswith("stream_ottt."):
            module = inspect.getdoc(inspect.getmodule(cls)) or ""
            own = [key for key in cls.Config.model_fields if key not in FileConfig.model_fields]
            options = f"\n\nOptions: {', '.join(f'`{key}`' for key in own)}." if own else ""
            parts.append(f"## {name}\n\n{_first_line(cls)}\n\n{module.replace('``', '`')}{options}\n")
    return "\n".join(parts)


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
    usage = " ".join(
        [f"stream-ottt {name}", *((p.metavar or p.name.upper()) + "…" * (p.nargs == -1) for p in arguments)]
    )
    lines = [f"## {name}\n", f"    {usage}\n", " ".join((command.help or "").split()) + "\n"]
    lines += ["| | | |", "|---|---|---|"] if command.params else []
    for p in command.params:
        shown = p.opts[-1] if p not in arguments else ""
        lines.append(f"| {f'`{shown}`' if shown else ''} | {(p.metavar or '').replace('|', ' or ')} | {p.help or ''} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the pages into docs/ of the checkout that is the working directory."""
    Path("docs/settings.md").write_text(settings(), encoding="utf-8")
    Path("docs/commands.md").write_text(commands(), encoding="utf-8")
    Path("docs/formats.md").write_text(formats(), encoding="utf-8")


if __name__ == "__main__":
    main()
