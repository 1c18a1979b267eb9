"""Which class is meant by what a person has typed so far: a name, a number, or the beginning of either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stream_ottt.sinks.drawing import class_name

SHOWN = 4
"""Names that are shown where several classes may be meant."""


def classes_like(typed: str, classes: Sequence[int], names: Mapping[int, str]) -> list[int]:
    """The labels that may be meant, in their order: that whose name or number it is; else those that begin so; else
    those that hold it. Case does not matter."""
    wanted = typed.strip().casefold()
    if not wanted:
        return []
    of = {label: class_name(names, label).casefold() for label in classes}
    for means in (
        lambda name, number: name == wanted,
        lambda name, number: number == wanted,
        lambda name, number: name.startswith(wanted) or number.startswith(wanted),
        lambda name, number: wanted in name,
    ):
        if found := [label for label, name in of.items() if means(name, str(label))]:
            return found
    return []


def in_words(typed: str, found: Sequence[int], names: Mapping[int, str]) -> str:
    """What would be chosen, for a prompt; empty while nothing is typed."""
    if not found:
        return "no such class" if typed.strip() else ""
    shown = ", ".join(class_name(names, label) for label in found[:SHOWN])
    return shown if len(found) <= SHOWN else f"{shown}, …"
