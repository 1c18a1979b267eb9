"""Does torch.compile pay for the plain engine, which learns from batches? One learned timestep with it and without.

    python benchmarks/compiled.py

Both in turns, medians; the compilation itself, at the first timesteps, is given apart.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from step import machine

from stream_ottt.engine.config import EngineConfig
from stream_ottt.learning.build import build_learner
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.topologies import build_network

LAYERS, SHAPE, CLASSES = (16, "AP2", 32, "AP2", 64, "AP2"), (3, 32, 32), 10


def learner(*, compiled: bool) -> OnlineLearner:
    """A learner on the plain engine."""
    network = build_network(NetworkConfig(layers=LAYERS), input_shape=SHAPE, classes=CLASSES)
    config = LearnerConfig(lr=0.01, time_steps=4)
    return build_learner(network, config=config, engine=EngineConfig(engine="plain", compiled=compiled))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    print("\n| batch size | plain, ms | compiled, ms | faster by | seconds to compile |")
    print("|---|---|---|---|---|")
    for batch in (1, 8, 32, 128):
        torch.compiler.reset()
        torch.manual_seed(0)
        frames = [torch.rand(batch, *SHAPE) for _ in range(4)]
        targets = torch.randint(0, CLASSES, (batch,))
        pair = [learner(compiled=False), learner(compiled=True)]
        times: list[list[float]] = [[], []]
        for t in range(options.rounds):
            for own, seconds in zip(pair, times, strict=True):
                started = time.perf_counter()
                own.forward(frames[t % 4], t)
                own.learn(t, targets)
                seconds.append(time.perf_counter() - started)
        plain, fast = (1e3 * statistics.median(seconds[4:]) for seconds in times)
        print(f"| {batch} | {plain:.1f} | {fast:.1f} | {plain / fast:.2f}× | {sum(times[1][:4]):.0f} |", flush=True)


if __name__ == "__main__":
    main()
