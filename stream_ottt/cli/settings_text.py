"""Settings as text for people: what each key means, its unit, range and default, as TOML and as Markdown."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Container, Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from stream_ottt.settings import NONE, TIME, Unit, model_of

LARGE = 2**31
"""Bounds from here on keep a number from being absurd, and are not worth a reader's time."""

WIDTH = 110
"""Of a comment, characters."""


@dataclass(frozen=True, slots=True)
class Key:
    """One setting.

    Attributes:
        name: its key in its table.
        unit: of its values; empty for a pure number or a word.
        values: which there are, such as ``0 ≤ x < 1``.
        default: as it is written in TOML.
        meaning: one or two sentences.
    """

    name: str
    unit: str
    values: str
    default: str
    meaning: str


def keys_of(model: type[BaseModel]) -> list[Key]:
    """The settings of one table."""
    told = meanings(model)
    return [
        Key(field.alias or name, _unit(field), _values(field), default_of(model, name), told[name])
        for name, field in model.model_fields.items()
    ]


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """What each key means, from the ``Attributes`` of the docstrings of a model and its bases."""
    out: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        _, _, attributes = inspect.cleandoc(cls.__dict__.get("__doc__") or "").partition("Attributes:\n")
        for names, text in re.findall(r"^ {4}(\w[\w, ]*): (.*(?:\n {5,}.*)*)", attributes, re.MULTILINE):
            said = re.sub(r"\bNone\b", f'`"{NONE}"`', " ".join(text.split()).replace("``", "`"))
            out |= dict.fromkeys(re.split(r",\s*", names), said)
    return out


def default_of(model: type[BaseModel], name: str) -> str:
    """A key's default, or ``required``."""
    field = model.model_fields[name]
    if field.is_required():
        return "required"
    try:
        value = model.model_construct().model_dump(mode="json", include={name})[name]
    except KeyError:  # a default that is made anew each time
        value = field.get_default(call_default_factory=True)
    return toml_value(value)


def toml_value(value: Any) -> str:
    """A value as TOML writes it."""
    import tomli_w

    if value is None:
        return f'"{NONE}"'
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k} = {toml_value(v)}' for k, v in value.items())}}}"
    return tomli_w.dumps({"x": value}).partition("= ")[2].strip()


def _unit(field: FieldInfo) -> str:
    found = [*field.metadata, *(m for part in _flat(field.annotation) for m in _field_like(part).metadata)]
    return next((m.name for m in found if isinstance(m, Unit)), "")


@dataclass(frozen=True, slots=True)
class _Part:
    """One type of a field and what limits it."""

    annotation: Any
    metadata: tuple[Any, ...]


def _field_like(annotation: Any) -> _Part:
    return _Part(annotation, tuple(getattr(annotation, "__metadata__", ())))


def _flat(annotation: Any) -> Iterator[Any]:
    """The types of a union, one by one, each with its own limits."""
    if get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from _flat(part)
    else:
        yield annotation


def _values(field: FieldInfo) -> str:
    """The range of a field in words."""
    parts = []
    for annotation in _flat(field.annotation):
        kind = getattr(annotation, "__origin__", annotation) if hasattr(annotation, "__metadata__") else annotation
        parts.append(_range(kind, [*field.metadata, *_field_like(annotation).metadata]))
    return " or ".join(dict.fromkeys(p for p in parts if p))


def _range(kind: Any, limits: list[Any]) -> str:
    if kind is type(None):
        return f'"{NONE}"'
    if get_origin(kind) is Literal:
        return ", ".join(f'"{a}"' for a in get_args(kind))
    if kind is bool:
        return "true, false"
    if get_origin(kind) in (tuple, list):
        return "list"
    if kind not in (int, float):
        return "text"
    word = "whole number" if kind is int else "number"
    if any(isinstance(m, Unit) and m.name == TIME for m in limits):
        word = "duration"
    found = {a: getattr(m, a) for m in limits for a in ("ge", "gt", "le", "lt") if getattr(m, a, None) is not None}
    found = {a: x for a, x in found.items() if abs(x) < LARGE}
    low = f"≥ {found['ge']:,}" if "ge" in found else f"> {found['gt']:,}" if "gt" in found else ""
    high = f"≤ {found['le']:,}" if "le" in found else f"< {found['lt']:,}" if "lt" in found else ""
    if word == "duration":  # its limits are µs, which nobody writes
        return "duration" if not found.get("ge") and "gt" not in found else "duration above 0"
    return " ".join([word, ", ".join(x for x in (low, high) if x)]).strip()


# --- TOML ------------------------------------------------------------------------------------------------------------


def as_toml(config: BaseModel) -> str:
    """All settings of a configuration as TOML that means the same, each with what it means as a comment."""
    lines: list[str] = []
    values = config.model_dump(mode="json")
    for table in type(config).model_fields:
        model = model_of(type(config), table)
        assert model is not None
        lines += ["", f"[{table}]"]
        for key in keys_of(model):
            about = f"{key.meaning} ({', '.join(x for x in (key.values, key.unit) if x and x != TIME)})"
            lines += textwrap.wrap(about, WIDTH, initial_indent="# ", subsequent_indent="#   ")
            value = values[table][key.name]
            lines.append(f"{key.name} = {toml_value(value)}")
    return "\n".join(lines[1:]) + "\n"


# --- Markdown --------------------------------------------------------------------------------------------------------


def as_markdown(model: type[BaseModel], *, hidden: Container[str] = ()) -> str:
    """The settings of one table as a Markdown table; empty when all of them are ``hidden``."""
    lines = ["| key | values | unit | default | |", "|---|---|---|---|---|"]
    for key in keys_of(model):
        if key.name in hidden:
            continue
        cells = (f"`{key.name}`", key.values, key.unit, f"`{key.default}`", key.meaning)
        lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""
