"""A wrong command, option or argument as one line: what was found, what was expected, and the nearest that there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import typer
from typer.core import TyperCommand, TyperGroup

from stream_ottt.errors import UsageError
from stream_ottt.registry import near_miss

F = TypeVar("F", bound=Callable[..., Any])

WRONG_USAGE = cast("type[Exception]", typer.BadParameter.__mro__[1])
"""The base of what typer raises of a command line; it has no public name in typer."""


class Commands(TyperGroup):
    """A group of commands that answers an unknown one with the nearest."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first word names, and the words for it.

        Raises:
            UsageError: there is no such command.
        """
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            group = ctx.command_path.partition(" ")[2]
            what = f"{group} command" if group else "command"
            raise UsageError(f"unknown {what} {args[0]!r}{near_miss(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


class Command(TyperCommand):
    """A command whose help names its arguments as the documents do: SOURCE, not {SOURCE} nor SOURCE <str>."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words behind the command's name in its usage."""
        return [self.options_metavar or "", *(_placed(param) for param in self._arguments(ctx))]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments and options, each with what it is."""
        arguments = self._arguments(ctx)
        rows = [(param, param.get_help_record(ctx)) for param in self.get_params(ctx)]
        options = [row for param, row in rows if param not in arguments and row is not None]
        named = [(_name(param), row[1]) for param, row in rows if param in arguments and row is not None]
        for title, records in (("Arguments", named), ("Options", options)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def _arguments(self, ctx: Any) -> list[Any]:
        return [param for param in self.get_params(ctx) if param.param_type_name == "argument"]


class App(typer.Typer):
    """A group whose commands are each a :class:`Command`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=Commands, no_args_is_help=True, rich_markup_mode=None, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[F], F]:
        """As Typer's."""
        return super().command(name, **{"cls": Command, **settings})


def _name(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _placed(argument: Any) -> str:
    name = _name(argument) + ("..." if argument.nargs != 1 else "")
    return name if argument.required else f"[{name}]"


def in_one_line(error: Exception) -> str | None:
    """What is wrong with the command line; None where a group was called without a command, and shows its help."""
    name, ctx = type(error).__name__, cast("Any", error).ctx
    if name == "NoArgsIsHelpError":
        return None
    params = ctx.command.params if ctx is not None else []
    option = getattr(error, "option_name", None)
    if name == "NoSuchOption" and option is not None:
        return f"unknown option {option!r}{near_miss(option, [o for p in params for o in p.opts])}"
    if name == "MissingParameter":
        param = cast("Any", error).param
        option = param.opts[0] if param.opts[0].startswith("-") else param.metavar
        return f"{_path(ctx)}{option} is missing; expected: {_lower(param.help).rstrip('.')}"
    said = _lower(" ".join(cast("Any", error).format_message().split())).rstrip(".")
    return f"{_path(ctx)}{said}" + (f"; {_usage(ctx)}" if "argument(s)" in said else "")


def _lower(sentence: str) -> str:
    """A sentence as the end of another: its first letter is small, where it does not begin a name."""
    words = sentence.replace(": Input should", ": should")
    return words[:1].lower() + words[1:] if words[1:2].islower() else words


def _path(ctx: Any) -> str:
    path = "" if ctx is None else ctx.command_path.partition(" ")[2]
    return f"{path}: " if path else ""


def _usage(ctx: Any) -> str:
    return " ".join(ctx.get_usage().split()).replace("Usage", "usage")
