"""JSON Lines: one JSON object a timestep, for programs that read along or afterwards."""

from __future__ import annotations

import json
import math

from stream_ottt.events.timestep import StepResult
from stream_ottt.sinks.textfile import TextFileSink

VERSION = 1
"""Value of ``v``; it changes when a key changes its meaning."""

Value = int | float | bool | None


def record(result: StepResult) -> dict[str, Value]:
    """The plain columns of one step's result.

    Returns:
        ``step``, ``t_start`` and ``t_end`` (µs), ``label``, ``confidence`` (0 to 1), ``unknown``, ``truth`` (or None),
        ``scored``, ``learned``, ``learned_from`` (or None), ``events`` (in the timestep) and ``latency_ms``.
        What is no finite number is None.
    """
    p = result.prediction
    return {
        "step": p.step,
        "t_start": p.t_start,
        "t_end": p.t_end,
        "label": p.label,
        "confidence": finite(p.confidence),
        "unknown": p.unknown,
        "truth": result.truth,
        "scored": result.scored,
        "learned": p.learned,
        "learned_from": p.learned_from,
        "events": result.timestep.events,
        "latency_ms": finite(p.latency_s * 1e3),
    }


def finite(value: float) -> float | None:
    """``value`` to six significant digits, or None for what JSON cannot write (NaN, ±inf)."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def step_of(line: bytes) -> int | None:
    """``step`` of a line that is a JSON object; None for any other."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, TypeError, KeyError):
        return None
    return step if isinstance(step, int) else None


class JsonLinesSink(TextFileSink):
    """Writes one object a line: ``v``, the columns of :func:`record`, ``logits`` (six significant digits)."""

    name = "jsonl"

    def step_of(self, line: bytes) -> int | None:
        return step_of(line)

    async def consume(self, result: StepResult) -> None:
        line = {
            "v": VERSION,
            **record(result),
            "logits": [finite(logit) for logit in result.prediction.logits.tolist()],
        }
        self.write(json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n")
