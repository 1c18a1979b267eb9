"""Small runs that are stopped, resumed and compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from stream_ottt.run.config import merge
from stream_ottt.run.request import RunRequest
from stream_ottt.run.resume import find
from stream_ottt.run.run import run as run_request

SOURCE = "synthetic:?presentations=6&duration=100ms&pause=50ms&classes=3"
SMALL: dict[str, Any] = {
    "binning": {"width": 8, "height": 8, "window": "10ms"},
    "network": {"layers": [4]},
    "learner": {"lr": 0.05, "time_steps": 5},
    "labels": {"delay": "end"},
    "rehearsal": {"mode": "ratio", "ratio": 2, "stretch": 4, "max_bytes": 6000, "shift": 1},
    "stream": {"checkpoint_every": "1", "keep_checkpoints": 1000},
}
TIMES = {"wall_s", "step_ms", "latency_ms", "rates", "peak_rss_mb", "checkpoints"}
"""Keys of a summary that say how long things took."""


def request(folder: Path, settings: dict[str, Any] | None = None, **options: Any) -> RunRequest:
    """A run that writes all that can be compared into ``folder``, which is made."""
    folder.mkdir(exist_ok=True)
    return RunRequest(
        **{
            "source": SOURCE,
            "overrides": merge(SMALL, settings or {}),
            "sinks": [f"jsonl:{folder}/p.jsonl", f"csv:{folder}/p.csv"],
            "save": folder / "m.safetensors",
            "summary": folder / "s.json",
            "checkpoints": folder / "checkpoints",
            **options,
        }
    )


def run(asked: RunRequest) -> int:
    return run_request(asked)


def resume(folder: Path) -> list[str]:
    """Go on to the end; what is said first."""
    found = find(folder / "checkpoints")
    assert found.request is not None
    assert run_request(found.request) == 0
    return found.remarks


def moved(made: Path, folder: Path, upto: int) -> Path:
    """The folder of a run as it was when its checkpoint ``upto`` had just been written; outputs may be longer."""
    shutil.copytree(made, folder)
    checkpoints = folder / "checkpoints"
    for file in checkpoints.iterdir():
        number = file.stem.partition("-")[2]
        if file.name == "finished.json" or (number.isdecimal() and int(number) > upto):
            file.unlink()
    for name in ("m.safetensors", "s.json"):
        (folder / name).unlink()
    for manifest in checkpoints.glob("*.json"):
        rewritten(manifest, lambda text: text.replace(str(made), str(folder)))
    return folder


def rewritten(manifest: Path, change: Any) -> None:
    """Change the second line of a manifest, and its sum with it."""
    import hashlib

    text = change(manifest.read_text().splitlines()[1])
    manifest.write_text(f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}\n")


def result(folder: Path) -> dict[str, Any]:
    """All that a run has come to, without how long things took."""
    weights = {k: v.tobytes() for k, v in load_file(folder / "m.safetensors").items()}
    lines = [json.loads(line) for line in (folder / "p.jsonl").read_text().splitlines()]
    for line in lines:
        del line["latency_ms"]
    rows = [row.rpartition(",")[0] for row in (folder / "p.csv").read_text().splitlines()]
    summary = {k: v for k, v in json.loads((folder / "s.json").read_text()).items() if k not in TIMES}
    return {"weights": weights, "lines": lines, "rows": rows, "summary": summary}


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one["summary"] == other["summary"]
    assert one["rows"] == other["rows"]
    np.testing.assert_equal(one["lines"], other["lines"])
    assert one["weights"] == other["weights"]
