"""With Δ = 1: does a second thread for the learning bring timesteps in time, and how soon is the prediction out?

    python benchmarks/profile_overlap.py

Throughput: timesteps one after another. Latency: timesteps that arrive every 1.5 times as long as one thread takes to
learn one, so that it keeps up; from the arrival until the prediction is out, beside the same forward pass with nothing
else running. One and two threads take turns. Needs two free cores to mean anything.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from step import CLASSES, NETWORKS, RATE, machine
from torch import Tensor

from stream_ottt.engine.config import EngineConfig
from stream_ottt.learning.build import build_learner
from stream_ottt.learning.config import LearnerConfig
from stream_ottt.learning.learner import OnlineLearner
from stream_ottt.network.config import NetworkConfig
from stream_ottt.network.topologies import build_network


class Runner:
    """A learner with Δ = 1 and a clock of its own."""

    def __init__(self, name: str, *, overlap: bool, mode: str) -> None:
        layers, self.shape = NETWORKS[name]
        network = build_network(NetworkConfig(layers=layers), input_shape=self.shape, classes=CLASSES)
        config = LearnerConfig.load({"error_delay": 1, "delay_mode": mode, "lr": 0.1})
        self.learner: OnlineLearner = build_learner(network, config=config, engine=EngineConfig(overlap=overlap))
        self.t = -1
        self.target = torch.tensor([3])
        generator = torch.Generator().manual_seed(0)
        self.frames: list[Tensor] = [
            torch.poisson(torch.full((1, *self.shape), RATE), generator=generator) for _ in range(8)
        ]

    def predict(self) -> float:
        """Seconds of one forward pass."""
        self.t += 1
        started = time.perf_counter()
        self.learner.forward(self.frames[self.t % 8], self.t)
        return time.perf_counter() - started

    def learn(self) -> None:
        self.learner.learn(self.t, self.target)

    def step(self) -> float:
        """Seconds of one timestep."""
        started = time.perf_counter()
        self.predict()
        self.learn()
        return time.perf_counter() - started

    def paced(self, period: float, count: int) -> list[float]:
        """Seconds until the prediction is out, of timesteps that arrive every ``period`` seconds."""
        latencies = []
        due = time.perf_counter() + period
        for _ in range(count):
            time.sleep(max(0.0, due - time.perf_counter()))
            latencies.append(self.predict())
            self.learn()
            due += period
        return latencies


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    print(
        "\nForward pass: with nothing learned between two of them; between two updates, one thread; beside learning.\n"
    )
    print("| network, mode | 1 thread | 2 threads | gain | nothing learned | between updates | beside learning |")
    print("|---|---|---|---|---|---|---|")
    for name in list(NETWORKS)[:2]:
        for mode in ("paper", "snapshot"):
            one, two = (Runner(name, overlap=overlap, mode=mode) for overlap in (False, True))
            for runner in (one, two):
                for _ in range(4):
                    runner.step()
            singles: list[float] = []
            doubles: list[float] = []
            alone: list[float] = []
            between: list[float] = []
            beside: list[float] = []
            for _ in range(options.rounds):
                singles += [one.step() for _ in range(2)]
                one.learner.network.parameters  # noqa: B018 - waits until nothing is under way
                # The first two apply the error that is still on its way.
                alone += [one.predict() for _ in range(4)][2:]
                for _ in range(2):
                    between.append(one.predict())
                    one.learn()
                two.step()
                doubles += [two.step() for _ in range(3)]
                learning = statistics.median(singles) - statistics.median(alone)
                beside += two.paced(1.5 * learning, 5)[1:]
                two.learner.network.parameters  # noqa: B018
            a, b, *forward = (1e3 * statistics.median(x) for x in (singles, doubles, alone, between, beside))
            times = " | ".join(f"{x:.1f} ms" for x in forward)
            print(f"| {name}, {mode} | {a:.1f} ms | {b:.1f} ms | {a / b:.2f}× | {times} |", flush=True)


if __name__ == "__main__":
    main()
