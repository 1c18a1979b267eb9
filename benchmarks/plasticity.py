"""Whether a network that has learned for long still learns new classes as fast as at the start.

    python benchmarks/plasticity.py --updates 1000000 --minutes 10

A task shows ``CLASSES`` things that were never seen before, in random order: random images of which a pixel fires with
a probability of its own, half of which all things of a task have in common. After ``SAMPLES`` samples of ``STEPS``
timesteps they are gone and new ones take over the same outputs; nothing is reset but the neurons, between samples. Each
timestep is one update. A task's figure is the number of updates until the accuracy over the latest ``WINDOW`` samples,
each predicted as it is learned, is 90 %.

One line for each tenth of the tasks, with the mean over its tasks: updates to 90 % (a task that never gets there counts
as its whole length, and is counted apart), accuracy over the second half of a task, share of neurons that are silent
throughout its last sample, norm of the weights. The methods share the updates and the minutes equally.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stream_ottt import LearnerConfig, NetworkConfig, build_network
from stream_ottt.network.optimizer import build_optimizer
from stream_ottt.replay.config import MethodConfig
from stream_ottt.replay.methods import find_method

CLASSES, STEPS, SAMPLES, WINDOW, REACHED = 4, 5, 100, 10, 0.9
SHAPE = (2, 12, 12)

ALIKE = 0.5
"""Share of a pixel's probability that the things of a task have in common."""


@dataclass(frozen=True, slots=True)
class Task:
    """What one task came to.

    Attributes:
        updates: until 90 %; None where that was not reached.
        second_half: accuracy over the second half of its samples.
        silent: share of neurons that do not fire during its last sample.
        norm: of all weights.
    """

    updates: int | None
    second_half: float
    silent: float
    norm: float


class Life:
    """One network through task after task.

    Args:
        options: the method and its settings.
        config: the learner.
        seed: of weights, images and samples.
    """

    def __init__(self, options: MethodConfig, config: LearnerConfig, seed: int) -> None:
        torch.set_num_threads(1)
        settings = NetworkConfig(layers=(8, "AP2", 16), readout="flatten", input_scale=2)
        network = build_network(settings, input_shape=SHAPE, classes=CLASSES, seed=seed)
        method = find_method(options.name)
        self.method = method(network, build_optimizer(config), config, options, batch_size=1)
        self.rng = np.random.default_rng(seed)
        self.updates = 0

    def task(self) -> Task:
        """Learn one task."""
        rng = self.rng
        images = ALIKE * rng.random(SHAPE) ** 3 + (1 - ALIKE) * rng.random((CLASSES, *SHAPE)) ** 3
        hits: list[bool] = []
        reached = None
        for n in range(SAMPLES):
            label = int(rng.integers(CLASSES))
            frames = torch.from_numpy((rng.random((STEPS, 1, *SHAPE)) < images[label]).astype(np.float32))
            logits = self.method.learn(frames, torch.tensor([label]))
            self.updates += STEPS
            hits.append(int(logits.mean(0).argmax()) == label)
            if reached is None and n + 1 >= WINDOW and np.mean(hits[-WINDOW:]) >= REACHED:
                reached = (n + 1) * STEPS
        weights = self.method.network.parameters.values()
        norm = sum(float(w.double().square().sum()) for w in weights) ** 0.5
        return Task(reached, float(np.mean(hits[SAMPLES // 2 :])), self._silent(frames), norm)

    def _silent(self, frames: Tensor) -> float:
        network = self.method.network
        states = [own for layer in network.state.layers for own in layer.neurons]
        fired = []
        network.reset()
        for frame in frames:
            network.forward(frame, learn=False)
            fired.append(np.concatenate([own.spikes() > 0 for own in states]))
        network.reset()
        return 1 - float(np.any(fired, axis=0).mean())


def table(tasks: list[Task], parts: int = 10) -> str:
    """Means over each tenth of the tasks, as Markdown."""
    lines = ["| tasks | updates to 90 % | never | second half | silent | norm |", "|---|---|---|---|---|---|"]
    for part in np.array_split(np.arange(len(tasks)), min(parts, len(tasks))):
        own = [tasks[i] for i in part]
        updates = np.mean([SAMPLES * STEPS if t.updates is None else t.updates for t in own])
        never = sum(t.updates is None for t in own)
        rest = [np.mean([getattr(t, key) for t in own]) for key in ("second_half", "silent", "norm")]
        shown = f"{rest[0]:.3f} | {rest[1]:.3f} | {rest[2]:.2f}"
        lines.append(f"| {part[0] + 1}–{part[-1] + 1} | {updates:.0f} | {never} | {shown} |")
    return "\n".join(lines)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["ottt_o", "cbp"])
    parser.add_argument("--updates", type=int, default=1_000_000, help="of all methods together")
    parser.add_argument("--minutes", type=float, default=10, help="of CPU time, of all methods together")
    parser.add_argument("--lr", type=float, default=0.005)
    parser.add_argument("--perturb", type=float, default=0.0, help="of ottt_o, see learner.perturb")
    parser.add_argument("--weight-decay", type=float, default=0.0)
    parser.add_argument("--renew", type=float, default=0.02, help="of cbp, see method.renew")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    share = 1 / len(options.methods)
    for name in options.methods:
        started = time.process_time()
        config = LearnerConfig(
            lr=options.lr, time_steps=STEPS, weight_decay=options.weight_decay, perturb=options.perturb
        )
        life = Life(MethodConfig(name=name, renew=options.renew), config, options.seed)
        tasks: list[Task] = []
        while life.updates < share * options.updates and time.process_time() - started < 60 * share * options.minutes:
            tasks.append(life.task())
        print(f"{name}, lr {options.lr}, perturb {options.perturb:g}, seed {options.seed}\n\n{table(tasks)}\n")
        print(
            f"{life.updates:,} updates in {len(tasks)} tasks, {time.process_time() - started:.0f} s of CPU\n",
            flush=True,
        )


if __name__ == "__main__":
    main()
