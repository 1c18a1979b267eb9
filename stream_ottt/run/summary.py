"""The summary of a run: one JSON document of a documented, versioned schema (docs/summary.md)."""

from __future__ import annotations

import json
import platform
import resource
import sys
import time
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from stream_ottt.errors import OutputError
from stream_ottt.pipeline.progress import Progress

SCHEMA = "stream-ottt/summary/1"


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
    progress: Progress, *, seed: int, code: int | None, reason: str, message: str | None = None
) -> dict[str, Any]:
    """The summary's tables, JSON-ready.

    Args:
        progress: the run's counters.
        seed: of the run.
        code: exit code; None while it runs.
        reason: ``end``, ``max-steps``, ``interrupted``, ``damaged``, ``failed`` or ``running``.
        message: what went wrong, where something did.
    """
    evaluation, steps, latency = progress.evaluation, progress.steps, progress.latency
    rehearsals = progress.rehearsals
    wall = time.perf_counter() - progress.started
    return {
        "schema": SCHEMA,
        "source": progress.source,
        "network": {"description": progress.network, "parameters": progress.parameters},
        "learning": progress.learning,
        "events": asdict(progress.ledger),
        "timesteps": progress.timesteps,
        "timesteps_not_kept": progress.timesteps_not_kept,
        "updates": asdict(progress.updates),
        "rehearsal": {"timesteps": rehearsals.n, "memory": progress.memory},
        "rates": {
            "live_steps_per_s": round(steps.n / steps.total_s, 3) if steps.total_s else 0.0,
            "rehearsed_steps_per_s": round(rehearsals.n / rehearsals.total_s, 3) if rehearsals.total_s else 0.0,
        },
        "presentations": evaluation.presentations.n,
        "accuracy": {**evaluation.accuracy(), "per_class": evaluation.per_class()},
        "step_ms": {"p50": round(steps.quantile_ms(0.5), 4), "p99": round(steps.quantile_ms(0.99), 4)},
        "latency_ms": {"p50": round(latency.quantile_ms(0.5), 4), "p99": round(latency.quantile_ms(0.99), 4)},
        "wall_s": round(wall, 4),
        "stream_s": round(progress.stream_us / 1e6, 6),
        "peak_rss_mb": round(peak_rss_mb(), 2),
        "labels": {
            "live": progress.live_labels,
            "refused": progress.labels_refused,
            "first_refusal": progress.label_refusal,
        },
        "transport": progress.transport(),
        "warnings": progress.warnings,
        "sinks": {"failures": progress.sink_failures, "missed": progress.sink_missed},
        "classes": {str(k): v for k, v in progress.class_names.items()},
        "settings": progress.settings,
        "seed": seed,
        "versions": versions(),
        "exit": {"code": code, "reason": reason, "message": message},
    }


def write_summary(path: Path, summary: dict[str, Any]) -> None:
    """Write the summary, indented. Raises OutputError when the file cannot be written."""
    try:
        path.write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as e:
        raise OutputError(f"{path}: the summary cannot be written: {e.strerror}") from e
