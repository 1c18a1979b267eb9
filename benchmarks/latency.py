"""How late predictions are, live: from the arrival of a timestep's last packet to its prediction.

    python benchmarks/latency.py FOLDER [--seconds 60]

FOLDER holds ``objects_stream.aedat4`` and ``objects_stream_labels.csv``, which is played at its own pace, with labels
at the end of each presentation and rehearsal in the time that is left. Nothing is left out: the first packet counts.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from step import machine

from stream_ottt.run.request import RunRequest
from stream_ottt.run.run import run

WINDOW_US = 20_000
PER_DECADE = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder) / "summary.json"
        request = RunRequest(
            str(options.data / "objects_stream.aedat4"),
            preset="objects",
            overrides={
                "labels": {"file": str(options.data / "objects_stream_labels.csv"), "delay": "end"},
                "binning": {"window": f"{WINDOW_US}us"},
                "rehearsal": {"mode": "idle"},
                "stream": {"speed": 1.0, "max_steps": options.seconds * 1_000_000 // WINDOW_US},
            },
            sinks=[],
            summary=summary,
        )
        run(request)
        found = json.loads(summary.read_text())
    latency, updates = found["latency_ms"], found["updates"]
    print(machine())
    print(f"\n{found['timesteps']} timesteps, updates {updates}")
    print(f"\np50 {latency['p50']:.2f} ms, p99 {latency['p99']:.2f} ms\n\n| up to, ms | predictions |\n|---|---|")
    for i, n in enumerate(latency["counts"]):
        if n:
            print(f"| {10 ** ((i + 1) / PER_DECADE - 3):.3g} | {n} |")


if __name__ == "__main__":
    main()
