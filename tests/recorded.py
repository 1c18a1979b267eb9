"""Short recorded runs over a labelled stream of two classes."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from helpers import intervals, labelled_events

from stream_ottt.run.request import RunRequest
from stream_ottt.run.run import Run
from stream_ottt.sinks.writers.aedat4 import Aedat4Writer

PRESENTATIONS = 8
NASTY = {1: '<img src=x onerror="window.hacked=1">', 2: "$\\frac{ & \x00 ]]> --> ü 手"}
"""Names of classes as an attacker, or a data set, may have them."""


def write_stream(folder: Path, *, presentations: int = PRESENTATIONS) -> tuple[Path, Path]:
    """A recording, and its labels with ``NASTY`` names."""
    file, labels = folder / "stream.aedat4", folder / "labels.csv"
    with Aedat4Writer(file, 8, 8) as writer:
        writer.write(np.sort(labelled_events(0, presentations), order="t", kind="stable"))
    rows = [f"{i.label},{i.t_start},{i.t_end}" for i in intervals(presentations)]
    labels.write_text("class,startTime_usec,endTime_usec\n" + "\n".join(rows) + "\n")
    return file, labels


def record(
    folder: Path, stream: tuple[Path, Path], *, seed: int = 0, sinks: list[str] | None = None, force: bool = False
) -> int:
    """Run over the stream and keep the run in ``folder``; the exit code. In a thread, as this one may have a loop."""
    file, labels = stream
    tables: dict[str, Any] = {
        "stream": {"seed": seed},
        "binning": {"window": "1ms", "width": 8, "height": 8},
        "network": {"layers": [4]},
        "labels": {"file": str(labels), "delay": "3ms"},
        "rehearsal": {"stretch": 5},
    }
    request = RunRequest(
        str(file), overrides=tables, sinks=sinks or [f"record:{folder}?every=10&events=true"], force=force
    )
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(Run(request).go())).result()
