"""What checkpoints cost: the objects' stream with and without, in turns; and the longest wait for a copy.

    python benchmarks/checkpoint.py FOLDER [--rounds 3]

FOLDER holds ``objects_stream.aedat4`` and ``objects_stream_labels.csv``. Each round is a pair of runs in one process,
so that both meet the same machine. Printed are seconds and processor seconds of each run, the ratios of their medians,
and the time that the learner's thread stood still for each copy, beside the time of a step.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from stream_ottt.learning.session import Session
from stream_ottt.pipeline.cut import Cut
from stream_ottt.pipeline.learner_thread import LearnerThread
from stream_ottt.run.request import RunRequest
from stream_ottt.run.run import run

PAUSES: list[float] = []


def timed(self: LearnerThread, session: Session, stream: dict[str, object]) -> Cut:
    started = time.perf_counter()
    cut = PLAIN(self, session, stream)
    PAUSES.append(1e3 * (time.perf_counter() - started))
    return cut


PLAIN = LearnerThread._cut


def seconds(data: Path, folder: Path, every: str | None, steps: int | None = None) -> tuple[float, float, float]:
    """Seconds of a run, processor seconds of it, and the 99th percentile of a step, ms."""
    request = RunRequest(
        str(data / "objects_stream.aedat4"),
        preset="objects",
        overrides={
            "labels": {"file": str(data / "objects_stream_labels.csv"), "delay": "end"},
            "stream": {"checkpoint_every": every or "30s", "max_steps": steps},
        },
        sinks=[],
        summary=folder / "summary.json",
        force=True,
        checkpoints=None if every is None else folder / "checkpoints",
    )
    before = time.process_time()
    run(request)
    used = time.process_time() - before
    summary = json.loads((folder / "summary.json").read_text())
    return summary["wall_s"], used, summary["step_ms"]["p99"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--every", default="10s")
    asked = parser.parse_args()
    LearnerThread._cut = timed  # type: ignore[method-assign]
    figures: dict[str | None, list[tuple[float, float, float]]] = {None: [], asked.every: []}
    with tempfile.TemporaryDirectory() as folder:
        seconds(asked.data, Path(folder), None, steps=100)  # compiles
        for i in range(asked.rounds):
            # Each goes first in turn: what a run leaves in the caches helps the next.
            for every in (None, asked.every) if i % 2 else (asked.every, None):
                figures[every].append(seconds(asked.data, Path(folder), every))
                wall, used, _ = figures[every][-1]
                print(f"{every or 'without'}: {wall:.2f} s, {used:.2f} s of processor", flush=True)
    having, without = (
        [statistics.median(column) for column in zip(*figures[e], strict=True)] for e in (asked.every, None)
    )
    print(f"ratio of the medians: {having[0] / without[0]:.3f}, of processor seconds {having[1] / without[1]:.3f}")
    longest, step = max(PAUSES, default=0), without[2]
    print(f"copies: {len(PAUSES)}, longest {longest:.2f} ms; 99th percentile of a step {step:.2f} ms")


if __name__ == "__main__":
    main()
