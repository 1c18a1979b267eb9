"""How the cost of a learned timestep grows: with parameters, resolution, event rate and classes.

    python benchmarks/profile_growth.py [--plot growth.svg]

Each point is the least of several steps in a process of its own, beside the least of its limit (the matrix products
alone and one pass of the update), and the growth of that process's peak memory. How it grows with the length of a
stream and with cameras: ``profile_streams.py``.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
from baselines import Work
from limit import limit
from step import GAIN, machine

from stream_ottt.engine.config import EngineConfig
from stream_ottt.engine.precision import least_time
from stream_ottt.learning.build import build_learner
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.topologies import build_network

Layers = tuple[int | str, ...]
SMALL: Layers = (16, "AP2", 32, "AP2", 32)
# (what varies, its value, layers, edge in pixels, events per pixel and timestep, classes)
POINTS: list[tuple[str, float, Layers, int, float, int]] = [
    *[("width", w, (w, "AP2", 2 * w, "AP2", 2 * w), 32, 0.1, 10) for w in (16, 32, 64, 128, 256)],
    *[("edge", e, SMALL, e, 0.1, 10) for e in (32, 64, 96, 128, 192, 256)],
    *[("rate", r, SMALL, 128, r, 10) for r in (0.001, 0.01, 0.05, 0.2, 1.0)],
    *[("classes", n, SMALL, 32, 0.1, n) for n in (10, 100, 1_000, 10_000)],
]


def measure(layers: Layers, edge: int, rate: float, classes: int) -> dict[str, float]:
    """Milliseconds learning and only predicting, MB of memory, parameters, events a timestep."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    frames = [torch.poisson(torch.full((1, 2, edge, edge), rate / 2), generator=generator) for _ in range(8)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    network = build_network(NetworkConfig(layers=layers), input_shape=(2, edge, edge), classes=classes)
    learner = build_learner(network, config=LearnerConfig(lr=0.02), engine=EngineConfig(engine="fast"))
    for name, value in learner.network.parameters.items():
        if name.endswith("gain"):
            value.fill_(GAIN)
    learner.network.weights_changed()
    found = {"learning": 1e9, "predicting": 1e9}
    for mode in found:
        spent, t = 0.0, 0 if mode == "learning" else 10**6
        while t % 10**6 < 12 or (spent < 1 and t % 10**6 < 200):
            started = time.perf_counter()
            learner.forward(frames[t % 8], t, learn=mode == "learning")
            if mode == "learning":
                learner.learn(t, torch.tensor([3]))
            took = time.perf_counter() - started
            spent += took
            found[mode] = min(found[mode], took * 1e3)
            t += 1
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bound = limit(Work(layers, (2, edge, edge)), torch.float32)
    least = min(least_time(lambda: bound(frames[0], frames[0])) for _ in range(5)) * 1e3
    return found | {
        "limit": least,
        "memory": (after - before) / 1024,
        "parameters": network.size,
        "events": float(sum(f.sum() for f in frames)) / 8,
    }


def plot(rows: list[tuple[str, float, dict[str, float]]], path: Path) -> None:
    """Four panels, linear axes: a straight line is cost in proportion."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(14, 3.4), layout="constrained")
    titles = {
        "width": ("parameters", "parameters"),
        "edge": ("pixels", ""),
        "rate": ("events a timestep", "events"),
        "classes": ("classes", ""),
    }
    for axis, (what, (label, key)) in zip(axes, titles.items(), strict=True):
        chosen = [(value, m) for kind, value, m in rows if kind == what]
        x = [m[key] if key else value ** (2 if what == "edge" else 1) for value, m in chosen]
        axis.plot(x, [m["learning"] for _, m in chosen], "o-", label="learning, ms")
        axis.plot(x, [m["predicting"] for _, m in chosen], "s-", label="predicting, ms")
        axis.plot(x, [m["limit"] for _, m in chosen], ":", color="black", label="limit of learning, ms")
        memory = axis.twinx()
        memory.plot(x, [m["memory"] for _, m in chosen], "^--", color="gray", label="memory, MB")
        memory.set_ylim(bottom=0)
        axis.set_xlabel(label)
        axis.set_ylim(bottom=0)
        axis.set_xlim(left=0)
    axes[0].legend()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--plot", type=Path, help="also draw it here")
    parser.add_argument("--point", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point is not None:
        print(json.dumps(measure(*POINTS[options.point][2:])))
        return
    torch.set_num_threads(1)
    print(machine())
    print("\n| varied | value | parameters | events | learning, ms | limit, ms | predicting, ms | memory, MB |")
    print("|---|---|---|---|---|---|---|---|")
    rows = []
    for i, (what, value, *_) in enumerate(POINTS):
        command = [sys.executable, __file__, "--point", str(i)]
        m = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
        rows.append((what, value, m))
        print(
            f"| {what} | {value:g} | {m['parameters']:.0f} | {m['events']:.0f} | {m['learning']:.2f} "
            f"| {m['limit']:.2f} | {m['predicting']:.2f} | {m['memory']:.0f} |",
            flush=True,
        )
    if options.plot is not None:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
