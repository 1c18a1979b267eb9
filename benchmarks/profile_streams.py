"""How the cost of a stream grows: with its length, and with the number of cameras.

    python benchmarks/profile_streams.py [--steps 1000000]

Length: one learner on random frames; time and memory of the second hundredth, one in the middle, and the last. Cameras:
recordings made here, each of 10 s with 100,000 events a second on 128×128 pixels, merged into one stream that a network
predicts; processor time of the whole run over its timesteps, beside ``numpy.bincount`` of the same events into frames
of the sensor's size.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from step import machine

from stream_ottt.engine.config import EngineConfig
from stream_ottt.events.packet import make_events
from stream_ottt.learning.build import build_learner
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.memory import resident_bytes
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.topologies import build_network
from stream_ottt.run.request import RunRequest
from stream_ottt.run.run import run

SIDE, SECONDS, RATE = 128, 10, 100_000
WINDOW_US = 10_000


def length(steps: int) -> None:
    """A stream of many timesteps whose class changes every hundred."""
    network = build_network(NetworkConfig(layers=(8, "AP2", 16)), input_shape=(2, 8, 8), classes=10)
    learner = build_learner(network, config=LearnerConfig(lr=0.001), engine=EngineConfig(engine="fast"))
    generator = torch.Generator().manual_seed(0)
    frames = [torch.poisson(torch.full((1, 2, 8, 8), 0.2), generator=generator) for _ in range(64)]
    targets = [torch.tensor([c]) for c in range(10)]
    part = steps // 100
    print(f"\n| timesteps of {steps:,} | ms a timestep | resident, MB |\n|---|---|---|")
    started = time.process_time()
    for t in range(steps):
        learner.forward(frames[t % 64], t)
        learner.learn(t, targets[t // 100 % 10])
        if (t + 1) % part == 0:
            now = time.process_time()
            if t + 1 in (2 * part, steps // 2, steps):  # the first part warms up
                print(
                    f"| up to {t + 1:,} | {1e3 * (now - started) / part:.4f} | {(resident_bytes() or 0) / 1e6:.1f} |",
                    flush=True,
                )
            started = now


def recording(path: Path, seed: int) -> np.ndarray:
    """Random events."""
    rng = np.random.default_rng(seed)
    n = SECONDS * RATE
    t = np.sort(rng.integers(0, SECONDS * 1_000_000, n))
    events = make_events(rng.integers(0, SIDE, n), rng.integers(0, SIDE, n), t, rng.integers(0, 2, n))
    np.save(path, events)
    return events


def binned(events: np.ndarray) -> float:
    """Processor seconds of counting them into frames."""
    started = time.process_time()
    at = (events["t"] // WINDOW_US * 2 + events["p"]) * SIDE**2 + events["y"].astype(np.int64) * SIDE + events["x"]
    np.bincount(at, minlength=SECONDS * 1_000_000 // WINDOW_US * 2 * SIDE**2)
    return time.process_time() - started


def cameras(folder: Path) -> None:
    """From one to eight."""
    events = [recording(folder / f"camera{i}.npy", i) for i in range(8)]
    print("\n| cameras | ms of processor a timestep | bincount alone | M events/s of processor |")
    print("|---|---|---|---|")
    for n in (1, 2, 4, 8):
        paths = [f"{folder / f'camera{i}.npy'}?width={SIDE}&height={SIDE}" for i in range(n)]
        request = RunRequest(
            paths[0],
            overrides={
                "network": {"layers": [16, "AP2", 32, "AP2", 32]},
                "binning": {"window": f"{WINDOW_US}us", "width": 32, "height": 32},
                "labels": {"classes": [0, 1]},
                "stream": {"sources": paths[1:]},
            },
            sinks=[],
            summary=folder / "summary.json",
            force=True,
            learn=False,
        )
        with contextlib.redirect_stderr(io.StringIO()):
            run(request)  # the kernels are loaded
            started = time.process_time()
            run(request)
        used = time.process_time() - started
        steps = json.loads((folder / "summary.json").read_text())["timesteps"]
        limit = sum(binned(e) for e in events[:n])
        read = n * SECONDS * RATE
        print(f"| {n} | {1e3 * used / steps:.3f} | {1e3 * limit / steps:.3f} | {read / used / 1e6:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=1_000_000, help="of the long stream")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        cameras(Path(folder))
    length(options.steps)


if __name__ == "__main__":
    main()
