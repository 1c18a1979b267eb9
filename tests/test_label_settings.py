"""What the settings of labels do to a whole run."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from stream_ottt.errors import UsageError
from stream_ottt.run.request import RunRequest
from stream_ottt.run.run import Run

SOURCE = "synthetic:?presentations=4&duration=130ms&pause=0ms"


def lines(folder: Path, **labels: Any) -> list[dict[str, Any]]:
    """The predictions of a run."""
    out = folder / f"{len(list(folder.iterdir()))}.jsonl"
    settings = {"binning": {"width": 8, "height": 8}, "network": {"layers": [2]}, "labels": labels}
    assert asyncio.run(Run(RunRequest(SOURCE, overrides=settings, sinks=[f"jsonl:{out}"])).go()) == 0
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_without_reset_windows_and_the_networks_state_go_on_across_labels(tmp_path: Path) -> None:
    reset, on = lines(tmp_path), lines(tmp_path, reset=False)
    starts = {130_000 * k for k in range(1, 4)}
    assert starts <= {line["t_start"] for line in reset}
    grid = {line["t_start"] - on[0]["t_start"] for line in on}
    assert all(t % 20_000 == 0 for t in grid) and not starts <= {line["t_start"] for line in on}
    assert {line["truth"] for line in on} == {line["truth"] for line in reset}


def test_a_class_that_is_named_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="class 2 stands there twice"):
        Run(RunRequest(SOURCE, overrides={"labels": {"classes": [1, 2, 2]}}, sinks=[]))
