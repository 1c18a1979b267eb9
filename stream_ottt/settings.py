"""The base of every configuration model, quantities as people write them, and errors that name the near miss."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import NoneType
from typing import Annotated, Any, Literal, Self, get_args

from annotated_types import Ge, Le
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    Strict,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from stream_ottt.errors import UsageError
from stream_ottt.registry import near_miss

UNITS_US = {"us": 1, "µs": 1, "ms": 1_000, "s": 1_000_000, "min": 60_000_000, "h": 3_600_000_000}
TIME = "us, ms, s, min or h"
LONGEST_US = 10**15
"""Longest duration that a setting takes, about 31 years."""
LONGEST_SHIFT_US = 2**53
"""Longest shift: from 0 to any time that an event may have, such as one of the epoch."""

NONE = "none"
"""What settings say where a key has no value: TOML has no word for it."""


# --- quantities ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unit:
    """The unit of a field, for the documents: ``Annotated[int, Unit("px")]``."""

    name: str


def parse_duration_us(text: str) -> int:
    """A duration in µs from ``"20ms"``, ``"1.5s"``, ``"300us"``; "0" needs no unit.

    Raises:
        ValueError: no unit, another word, or no whole number of µs.
    """
    match = re.fullmatch(r"\s*(\d{1,20}(?:\.\d{1,20})?)\s*([a-zµ]*)\s*", text)
    if not match or (match[2] and match[2] not in UNITS_US):
        raise ValueError("expected a duration with its unit, such as '20ms', '1.5s' or '300us'")
    number = Decimal(match[1])
    if not match[2] and number:
        said = text.strip()
        raise ValueError(f"a duration needs its unit: write '{said}ms', '{said}us' or '{said}s'")
    us = number * UNITS_US[match[2] or "us"]
    if us != int(us):
        raise ValueError("expected a whole number of µs")
    return int(us)


def format_duration(us: int) -> str:
    """A duration as :func:`parse_duration_us` reads it, in the largest unit of which it is a whole number."""
    if us < 0:
        return f"-{format_duration(-us)}"
    unit, size = next((u, s) for u, s in (("s", 1_000_000), ("ms", 1_000), ("us", 1)) if us % s == 0)
    return f"{us // size}{unit}"


def _duration(value: object, info: ValidationInfo) -> object:
    """µs as an integer, or text with its unit; a file, a command line or a URI must say the unit."""
    from_words = (info.context or {}).get("words", False)
    if isinstance(value, str) or (from_words and isinstance(value, (int, float)) and not isinstance(value, bool)):
        value = parse_duration_us(str(value))
    if isinstance(value, int) and not 0 <= value <= LONGEST_US:
        raise ValueError(f"expected a duration between 0 and {LONGEST_US // UNITS_US['h']:,}h")
    return value


def _delay(value: object, info: ValidationInfo) -> object:
    return value if value == "end" else _duration(value, info)


def _shift(value: object, info: ValidationInfo) -> object:
    if value == "auto":
        return value
    if isinstance(value, str):
        text = value.strip()
        us = parse_duration_us(text.removeprefix("-"))
        if us > LONGEST_SHIFT_US:
            raise ValueError(f"expected at most {LONGEST_SHIFT_US}us, 285 years, in either direction")
        return -us if text.startswith("-") else us
    if isinstance(value, int) and not isinstance(value, bool) and value < 0 and info.context is None:
        return value
    return _duration(value, info)


def _written(value: object) -> object:
    return format_duration(value) if isinstance(value, int) else value


_WRITTEN = PlainSerializer(_written, when_used="json")

Duration = Annotated[int, Unit(TIME), Strict(), BeforeValidator(_duration), _WRITTEN]
"""A field in µs. Python gives it µs as an integer; text gives it with a unit, such as ``"20ms"``."""

Delay = Annotated[
    Annotated[int, Strict()] | Literal["end"],
    Unit(TIME),
    BeforeValidator(_delay),
    _WRITTEN,
]
"""As :data:`Duration`, or ``"end"``."""

Shift = Annotated[
    Annotated[int, Strict()] | Literal["auto"],
    Unit("time with its unit, also negative"),
    BeforeValidator(_shift),
    _WRITTEN,
]
"""Time to add, also a negative one such as ``"-1.5s"``, or ``"auto"``."""

Pixels = Annotated[int, Unit("pixels"), Ge(1), Le(32767)]
Bytes = Annotated[int, Unit("bytes"), Ge(0), Le(2**40)]
Threads = Annotated[int, Ge(1), Le(1024)]
"""Threads of torch. More than a few per processor gain nothing; thousands cannot be started."""


# --- models ----------------------------------------------------------------------------------------------------------


def _flag(value: object) -> object:
    return True if value == "" else value


Flag = Annotated[bool, BeforeValidator(_flag)]
"""A configuration field that is also true for ``?name`` without a value."""


class Settings(BaseModel):
    """Base of the configuration models: frozen, an unknown key is an error, and numbers are finite."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=False, allow_inf_nan=False, coerce_numbers_to_str=True
    )

    @model_validator(mode="before")
    @classmethod
    def _none_as_a_word(cls, values: Any) -> Any:
        """``"none"`` means None where None is allowed, so that a preset's value can be taken back."""
        if not isinstance(values, Mapping):
            return values
        optional = {k for k, f in cls.model_fields.items() if NoneType in get_args(f.annotation)}
        return {k: None if k in optional and v == NONE else v for k, v in values.items()}

    @classmethod
    def load(cls, values: Mapping[str, Any], *, where: str = "") -> Self:
        """Validate what a person wrote: TOML, a command line or a URI.

        Args:
            values: nested tables of plain values; strings are converted where a field wants a number.
            where: prefix of the keys in messages, such as ``"source"``.

        Raises:
            UsageError: one line naming the first wrong key, what was expected, and the nearest key when unknown.
        """
        try:
            return cls.model_validate(values, context={"words": True})
        except ValidationError as e:
            raise UsageError(_first_problem(cls, e, where)) from None


def _first_problem(cls: type[BaseModel], error: ValidationError, where: str) -> str:
    problems = error.errors(include_url=False)
    path = _path(cls, problems[0]["loc"])
    key = ".".join(([where] if where else []) + path)
    problem = problems[0]
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}{near_miss(path[-1], _keys_at(cls, path[:-1]))}"
    if problem["type"] == "missing":
        absent = "&".join(f"{p['loc'][-1]}=…" for p in problems if p["type"] == "missing")
        if where == "source":
            return f"key {key!r} is required; write it after the address: ?{absent}"
        if where.startswith("filter:"):
            return f"key {key!r} is required; write {where.removeprefix('filter:')}:?{absent}"
        return f"key {key!r} is required"
    # A field of several types has a problem with each.
    own = [p for p in problems if _path(cls, p["loc"]) == path]
    message = " or ".join(dict.fromkeys(p["msg"].removeprefix("Value error, ") for p in own))
    if isinstance(problem["input"], (Mapping, BaseModel)) and (not path or problem["type"] == "value_error"):
        return f"{key}: {message}" if key else message  # keys that do not go together; the message names them
    message = message.replace("Input should", "should")
    found = repr(problem["input"])
    if found in message:
        return f"key {key!r}: {message}"
    return f"key {key!r}: {message} (found {found if len(found) < 200 else found[:200] + '…'})"


def _path(cls: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The keys of a problem's place, without the positions and types that come after the last key."""
    path: list[str] = []
    model: type[BaseModel] | None = cls
    for part in location:
        if model is None:
            break
        path.append(str(part))
        model = model_of(model, str(part))
    return path


def model_of(cls: type[BaseModel], key: str) -> type[BaseModel] | None:
    """The model of the table ``key``, or None where it is no table."""
    annotation = cls.model_fields[key].annotation if key in cls.model_fields else None
    kinds = (annotation, *get_args(annotation))
    return next((a for a in kinds if isinstance(a, type) and issubclass(a, BaseModel)), None)


def _keys_at(cls: type[BaseModel], path: list[str]) -> list[str]:
    """Field names of the model that ``path`` leads to from ``cls``."""
    model: type[BaseModel] | None = cls
    for part in path:
        model = None if model is None else model_of(model, part)
    return [] if model is None else [field.alias or name for name, field in model.model_fields.items()]
