"""How well models know the objects again when these are near, far, turned, aside, higher, flatter, thinned or noisy.

    python benchmarks/views.py FOLDER MODEL…

FOLDER holds ``objects_stream.aedat4`` and ``objects_stream_labels.csv``. Each model is tried, without learning, on
views of that stream that it never learned from: all events of it are moved or thinned in the same way. Printed is the
share of presentations that were right, for each view and model, the mean over views, and each model's worst view.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from stream_ottt import open_source
from stream_ottt.run.request import RunRequest
from stream_ottt.run.run import run

SIDE = 128
MIDDLE = (SIDE - 1) / 2
NOISE_PER_S = 3_000


def read(path: Path) -> Any:
    """All events of a recording."""
    return np.concatenate([packet.events for packet in open_source(str(path)).packets()])


def placed(events: Any, zoom: float = 1, degrees: float = 0, aside: int = 0, up: int = 0, flat: float = 1) -> Any:
    """Turned and zoomed about the sensor's middle, flattened by a factor, then moved to the right and up.

    What leaves the sensor is left out.
    """
    angle = math.radians(degrees)
    x, y = events["x"] - MIDDLE, events["y"] - MIDDLE
    moved = events.copy()
    moved["x"] = np.rint(zoom * (x * math.cos(angle) - y * math.sin(angle)) + MIDDLE + aside).clip(-1, SIDE)
    moved["y"] = np.rint(flat * zoom * (x * math.sin(angle) + y * math.cos(angle)) + MIDDLE - up).clip(-1, SIDE)
    inside = (moved["x"] >= 0) & (moved["x"] < SIDE) & (moved["y"] >= 0) & (moved["y"] < SIDE)
    return moved[inside]


def thinned(events: Any, share: float, rng: np.random.Generator) -> Any:
    """A share of the events."""
    return events[rng.random(len(events)) < share]


def noisy(events: Any, rng: np.random.Generator) -> Any:
    """Beside events of noise, anywhere, at any time."""
    first, last = int(events["t"][0]), int(events["t"][-1])
    noise = np.empty(NOISE_PER_S * (last - first) // 1_000_000, events.dtype)
    noise["t"] = rng.integers(first, last, len(noise))
    noise["x"], noise["y"] = rng.integers(0, SIDE, (2, len(noise)))
    noise["p"] = rng.random(len(noise)) < 0.5
    both = np.concatenate([events, noise])
    return both[np.argsort(both["t"], kind="stable")]


def views(events: Any) -> dict[str, Any]:
    """Each view by its name."""
    rng = np.random.default_rng(0)
    return {
        "as recorded": events,
        "zoom 0.6": placed(events, zoom=0.6),
        "zoom 0.7": placed(events, zoom=0.7),
        "zoom 1.4": placed(events, zoom=1.4),
        "zoom 1.5": placed(events, zoom=1.5),
        "turned +25°": placed(events, degrees=25),
        "turned −25°": placed(events, degrees=-25),
        "12 pixels aside": placed(events, aside=12),
        "12 pixels higher": placed(events, up=12),
        "flatter by a quarter": placed(events, flat=0.75),
        "half of the events": thinned(events, 0.5, rng),
        "6,000 events of noise in 2 s": noisy(events, rng),
        "a quarter of the events": thinned(events, 0.25, rng),
    }


def accuracy(recording: Path, labels: Path, model: Path, summary: Path) -> float:
    """The share of presentations that the model knows."""
    overrides = {"labels": {"file": str(labels)}}
    run(RunRequest(str(recording), overrides=overrides, sinks=[], load=model, learn=False, summary=summary, force=True))
    return float(json.loads(summary.read_text())["accuracy"]["presentations"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    asked = parser.parse_args()
    labels = asked.data / "objects_stream_labels.csv"
    never: list[list[float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, events in views(read(asked.data / "objects_stream.aedat4")).items():
            recording = Path(folder) / "view.npz"
            np.savez(recording, **{key: events[key] for key in "txyp"}, width=SIDE, height=SIDE)
            found = [accuracy(recording, labels, model, Path(folder) / "summary.json") for model in asked.models]
            print(f"{name}: {' '.join(f'{share:.3f}' for share in found)}", flush=True)
            if name != "as recorded":
                never.append(found)
    by_model = list(zip(*never, strict=True))
    for name, of in ("mean", statistics.mean), ("worst", min):
        found = [of(shares) for shares in by_model]
        print(
            f"{name} of those that were not learned: {' '.join(f'{share:.3f}' for share in found)}; "
            f"over models {statistics.mean(found):.3f}, worst {min(found):.3f}"
        )


if __name__ == "__main__":
    main()
