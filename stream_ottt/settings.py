"""The base of every configuration model, durations as people write them, and errors that name the near miss."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from stream_ottt.errors import UsageError
from stream_ottt.registry import near_miss

UNITS_US = {"us": 1, "µs": 1, "ms": 1_000, "s": 1_000_000, "min": 60_000_000, "h": 3_600_000_000}


def parse_duration_us(value: object) -> int:
    """A duration in µs from ``"20ms"``, ``"1.5s"``, ``"300us"`` or a whole number of µs.

    Raises:
        ValueError: anything else, or a negative duration.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("expected a duration such as '20ms', '1.5s' or a whole number of µs")
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zµ]*)\s*", str(value))
    if not match or (match[2] and match[2] not in UNITS_US):
        raise ValueError(f"{value!r} is no duration; write '20ms', '1.5s' or a whole number of µs")
    us = float(match[1]) * UNITS_US[match[2] or "us"]
    if us != int(us):
        raise ValueError(f"{value!r} is not a whole number of µs")
    return int(us)


Duration = Annotated[int, BeforeValidator(parse_duration_us)]
"""A configuration field in µs that also reads ``"20ms"``."""


def _flag(value: object) -> object:
    return True if value == "" else value


Flag = Annotated[bool, BeforeValidator(_flag)]
"""A configuration field that is also true for ``?name`` without a value."""


class Settings(BaseModel):
    """Base of the configuration models: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=False)

    @classmethod
    def load(cls, values: dict[str, Any], *, where: str = "") -> Self:
        """Validate ``values``.

        Args:
            values: nested tables of plain values; strings are converted where a field wants a number.
            where: prefix of the keys in messages, such as ``"source"``.

        Raises:
            UsageError: one line naming the first wrong key, what was expected, and the nearest key when unknown.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as e:
            raise UsageError(_first_problem(cls, e, where)) from None


def _first_problem(cls: type[BaseModel], error: ValidationError, where: str) -> str:
    problem = error.errors(include_url=False)[0]
    location = [str(part) for part in problem["loc"]]
    key = ".".join(([where] if where else []) + location)
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}{near_miss(location[-1], _keys_at(cls, location[:-1]))}"
    if problem["type"] == "missing":
        return f"key {key!r} is required"
    message = problem["msg"].removeprefix("Value error, ")
    return f"key {key!r}: {message} (found {problem['input']!r})"


def _keys_at(cls: type[BaseModel], path: list[str]) -> list[str]:
    """Field names of the model that ``path`` leads to from ``cls``."""
    model: Any = cls
    for part in path:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        models = [a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and issubclass(a, BaseModel)]
        if not models:
            return []
        model = models[0]
    return [field.alias or name for name, field in model.model_fields.items()]
