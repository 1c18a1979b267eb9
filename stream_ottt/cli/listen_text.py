"""What ``stream-ottt listen`` prints of a message: predictions beside their labels, and the accuracy so far."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

REMEMBERED = 10_000
"""Predictions of a source that a label which comes later can be set beside."""


@dataclass(frozen=True, slots=True)
class _Said:
    middle: float
    what: object


class ListenText:
    """Turns messages into lines for people, one each but for labels that came late, which have one of their own.

    Args:
        grouped: predictions stand below their topic, which is said once, so that a line fits a terminal.
    """

    def __init__(self, *, grouped: bool = False) -> None:
        self._grouped = grouped
        self._topic = ""
        self._said: dict[str, deque[_Said]] = {}

    def of(self, topic: str, values: dict[str, Any]) -> str:
        """The text of a message."""
        if "error" in values:
            return f"{topic}: {values['error']}"
        if "lost_messages" in values:
            return f"{topic}  {values['lost_messages']} messages lost"
        kind, _, source = topic.partition("/")
        lines = [self._line(kind, topic, source, values)]
        labels = values.get("labels")
        for label in labels if kind == "predictions" and isinstance(labels, list) else ():
            if isinstance(label, dict):
                lines.append(self._label(topic, source, label))
        before, self._topic = self._topic, topic
        if self._grouped and kind == "predictions":
            short = [line.removeprefix(topic).lstrip() for line in lines]
            lines = short if topic == before else [topic, *short]
        return "\n".join(lines)

    def _line(self, kind: str, topic: str, source: str, values: dict[str, Any]) -> str:
        if values.get("eos") is True:
            return f"{topic}  #{values.get('seq')}  end of the stream{_accuracy(values)}"
        if kind == "labels":
            return self._label(topic, source, values)
        if kind == "predictions":
            return self._prediction(topic, source, values)
        number = f"  #{values['seq']}" if "seq" in values else ""
        size = f"{values.get('width')}×{values.get('height')}"
        n = values.get("n")
        return f"{topic or 'events'}{number}  {_span(values)}  {n if n is None else format(n, ',')} events  {size}"

    def _prediction(self, topic: str, source: str, values: dict[str, Any]) -> str:
        said, truth = _name(values), values.get("truth")
        t0, t1 = values.get("t0"), values.get("t1")
        if isinstance(t0, int) and isinstance(t1, int):
            self._said.setdefault(source, deque(maxlen=REMEMBERED)).append(_Said((t0 + t1) / 2, said))
        sure, late = _number(values.get("confidence"), ".0%"), _number(values.get("latency_ms"), ".1f")
        known = "no label yet"
        if truth is not None:
            mark = "✓" if truth == values.get("class") else "✗"
            known = f"{mark} label {values.get('truth_name') or f'class {truth}'}"
        said = f"{said}, or unknown" if values.get("unknown") is True else said
        learning = values.get("learning")
        state = "  learned" if values.get("learned") is True else ""
        if learning in ("off", "paused"):
            state = f"  learning {learning}"
        head = f"{topic}  #{values.get('seq')}  {_span(values)}"
        return f"{head}  {said}  {sure}  {known}{_accuracy(values)}  {late} ms{state}"

    def _label(self, topic: str, source: str, values: dict[str, Any]) -> str:
        """A label, and what was predicted in its span, where that was heard."""
        name, t0, t1 = _name(values), values.get("t0"), values.get("t1")
        found: list[object] = []
        if isinstance(t0, int) and isinstance(t1, int):
            found = [said.what for said in self._said.get(source, ()) if t0 <= said.middle < t1]
        right = f"  predicted in {found.count(name)} of {len(found)} timesteps" if found else ""
        return f"{topic}  {_span(values)}  label {name}{right}"


def _name(values: dict[str, Any]) -> str:
    """The class of a message by its name, where it has one."""
    of = values.get("class")
    return str(values.get("name") or (of if isinstance(of, str) else f"class {of}"))


def _accuracy(values: dict[str, Any]) -> str:
    n = values.get("presentations")
    return f"  accuracy {_number(values.get('accuracy'), '.3f')} of {n}" if isinstance(n, int) and n else ""


def _span(values: dict[str, Any]) -> str:
    t0, t1 = values.get("t0"), values.get("t1")
    return f"{t0 / 1e6:11.6f} … {t1 / 1e6:.6f} s" if isinstance(t0, int) and isinstance(t1, int) else "no time"


def _number(value: object, form: str) -> str:
    return format(value, form) if isinstance(value, (int, float)) else "?"
