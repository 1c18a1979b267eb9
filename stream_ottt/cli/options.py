"""What the commands have in common: settings as ``--table.key VALUE``, and the near miss of a mistyped option."""

from __future__ import annotations

from typing import Any

import typer
from pydantic import BaseModel

from stream_ottt.errors import UsageError
from stream_ottt.registry import near_miss
from stream_ottt.run.config import merge, parse_overrides
from stream_ottt.run.presets import Tables
from stream_ottt.settings import model_of

DOTTED = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Of a command that takes settings: they are left in ``context.args``."""


def overrides(context: typer.Context, model: type[BaseModel], named: Tables) -> Tables:
    """The settings of a command line.

    Args:
        context: what the command was called with.
        model: whose settings these are, to suggest one for a mistyped option.
        named: table → key → value of the options that stand for settings; None where one was not given.

    Raises:
        UsageError: a word that is no option, an option without a value, or an option of a source.
    """
    given = {t: {k: v for k, v in keys.items() if v is not None} for t, keys in named.items()}
    words = list(context.args)
    for i, word in enumerate(words):
        name = word.partition("=")[0]
        value_of_dotted = i > 0 and words[i - 1].startswith("--") and "=" not in words[i - 1]
        if value_of_dotted:
            continue
        if name.startswith("--source."):
            option = name.removeprefix("--source.")
            raise UsageError(f"{name}: a source's options stand behind its address: --source 'ADDRESS?{option}=…'")
        if name.startswith("-") and "." not in name:
            raise UsageError(f"unknown option {name!r}{_suggestion(name, context, model)}")
        if not name.startswith("-") and (meant := _option_for_a_word(context)):
            raise UsageError(f"{word!r} belongs to no option; did you mean {meant} {word}?")
    return merge(given, parse_overrides(words))


def _option_for_a_word(context: typer.Context) -> str | None:
    """The option that a word alone was probably meant for: what is run."""
    options = [o for p in context.command.params for o in p.opts]
    return next((o for o in ("--source", "--config") if o in options), None)


def _suggestion(name: str, context: typer.Context, model: type[BaseModel]) -> str:
    """The setting whose last word was given, or else the option or setting that is written most alike."""
    key = name.removeprefix("--").replace("-", "_")
    settings = setting_keys(model)
    for setting in settings:
        if setting.endswith(f".{key}"):
            return f"; did you mean '--{setting}'?"
    options = [o for p in context.command.params for o in p.opts]
    where = f"options are shown by '{context.command_path} --help', settings by 'stream-ottt config show'"
    return near_miss(name, [*options, *(f"--{s}" for s in settings)], where)


def setting_keys(model: type[BaseModel]) -> list[str]:
    """``table.key`` of every setting."""
    tables: dict[str, Any] = {table: model_of(model, table) for table in model.model_fields}
    return [f"{table}.{key}" for table, own in tables.items() for key in own.model_fields]
