"""The summary of a run: one JSON document of a documented, versioned schema (docs/summary.md)."""

from __future__ import annotations

import json
import platform
import resource
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from stream_ottt.errors import OutputError
from stream_ottt.labels.evaluation import Evaluator
from stream_ottt.learning.snapshot import Durations, SessionSnapshot
from stream_ottt.outputs import write_atomically
from stream_ottt.pipeline.view import RunFacts, RunSnapshot
from stream_ottt.run.problems import TOO_MANY

SCHEMA = "stream-ottt/summary/2"

NOTHING = SessionSnapshot(
    timesteps=0,
    timesteps_not_kept=0,
    stream_us=0,
    unknown=0,
    updates={"live": 0, "deferred": 0, "rehearsed": 0},
    rollbacks=0,
    learning="no labels",
    accuracy=Evaluator().accuracy(),
    per_class=(),
    since_change=(),
    confusion=(),
    presentations=0,
    hits=b"",
    memory={},
    due=0,
    rehearsals_due=0,
    rehearsals_given_up=0,
    waiting=0,
    waiting_bytes=0,
    intervals=0,
    intervals_met=0,
    label_span=None,
    stream_span=None,
    step_ms=Durations(),
    rehearsal_ms=Durations(),
    labels_taken=0,
    latest_labels=(),
    labels_refused=0,
    labels_corrected=0,
    labels_retracted=0,
    label_refusal=None,
    warnings=(),
)
"""A session that has not begun."""


def peak_rss_mb() -> float:
    """Largest resident memory of this process so far, MB (10⁶ bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def versions() -> dict[str, str]:
    """Versions of what the figures depend on."""
    found = {"python": platform.python_version()}
    for package in ("stream-ottt", "torch", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def summarize(
    facts: RunFacts, snapshot: RunSnapshot, *, seed: int, code: int | None, reason: str, message: str | None = None
) -> dict[str, Any]:
    """The summary's tables, JSON-ready.

    Args:
        facts: what is fixed of the run.
        snapshot: the run at this moment.
        seed: of the run.
        code: exit code; None while it runs.
        reason: ``end``, ``max-steps``, ``interrupted``, ``damaged``, ``failed`` or ``running``.
        message: what went wrong, where something did.
    """
    s, ledger = snapshot.session or NOTHING, snapshot.ledger
    wall = time.perf_counter() - facts.started
    return {
        "schema": SCHEMA,
        "source": facts.source,
        "network": {"description": facts.network, "parameters": facts.parameters},
        "learning": s.learning,
        "events": ledger.facts(),
        "timesteps": s.timesteps,
        "timesteps_not_kept": s.timesteps_not_kept,
        "unknown": s.unknown,
        "updates": s.updates,
        "rollbacks": s.rollbacks,
        "rehearsal": {"timesteps": s.rehearsal_ms.n, "memory": s.memory},
        "rates": {
            "live_steps_per_s": _rate(s.step_ms),
            "rehearsed_steps_per_s": _rate(s.rehearsal_ms),
        },
        "presentations": s.presentations,
        "accuracy": {
            **s.accuracy,
            "per_class": list(s.per_class),
            "confusion": [list(row) for row in s.confusion],
            "since_change": list(s.since_change),
        },
        "step_ms": _quantiles(s.step_ms),
        "latency_ms": {**_quantiles(snapshot.latency), "counts": list(snapshot.latency.counts)},
        "wall_s": round(wall, 4),
        "stream_s": round(s.stream_us / 1e6, 6),
        "peak_rss_mb": round(peak_rss_mb(), 2),
        "labels": {
            "taken": s.labels_taken,
            "refused": s.labels_refused + snapshot.labels_refused,
            "corrected": s.labels_corrected,
            "retracted": s.labels_retracted,
            "first_refusal": s.label_refusal or (TOO_MANY if snapshot.labels_refused else None),
            "intervals": s.intervals,
            "intervals_met": s.intervals_met,
            "span_us": s.label_span,
            "stream_span_us": s.stream_span,
            "waiting": s.waiting,
            "due": s.due,
        },
        "sensor": None
        if facts.sensor is None
        else {"width": facts.sensor[0], "height": facts.sensor[1], "size_from": snapshot.size_from},
        "clock": snapshot.clock,
        "filters": snapshot.filters,
        "transport": snapshot.transport,
        "sources": snapshot.sources,
        "warnings": list(s.warnings),
        "sinks": {
            "failures": {name: sink.failure for name, sink in snapshot.sinks.items() if sink.failure is not None},
            "missed": {name: sink.missed for name, sink in snapshot.sinks.items() if sink.missed},
        },
        "classes": {str(k): v for k, v in facts.class_names.items()},
        "settings": facts.settings,
        "seed": seed,
        "versions": versions(),
        "exit": {"code": code, "reason": reason, "message": message},
    }


def _rate(durations: Durations) -> float:
    return round(durations.n / durations.total_s, 3) if durations.total_s else 0.0


def _quantiles(durations: Durations) -> dict[str, float]:
    return {"p50": round(durations.p50_ms, 4), "p99": round(durations.p99_ms, 4)}


def write_summary(path: Path, summary: dict[str, Any]) -> None:
    """Write the summary, indented. Raises OutputError when the file cannot be written."""
    try:
        # A lone surrogate, which a hostile name may hold, is written as JSON's own escape.
        text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
        write_atomically(path, text.encode(errors="backslashreplace"))
    except OSError as e:
        raise OutputError(f"{path}: the summary cannot be written: {e.strerror}") from e
