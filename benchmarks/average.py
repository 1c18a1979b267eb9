"""What the average of the weights costs (``learner.average``), with and without it in one run.

    python benchmarks/average.py

The preset ``objects`` on the built-in scene: two sessions that differ in the average alone take turns over the same
timesteps, each timestep with its prediction, its update and the rehearsal that it makes due. Printed are the seconds of
a core that a timestep takes, the share that the average adds, and how much of it is the pass over the weights that it
makes every 25 updates; the rest is that each prediction needs a second forward pass.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from stream_ottt import build_learner, build_network, open_source
from stream_ottt.events.binning import Binner
from stream_ottt.events.packet import Ledger
from stream_ottt.events.timestep import Timestep
from stream_ottt.labels.timeline import LabelTimeline
from stream_ottt.learning.average import EVERY
from stream_ottt.learning.session import Session
from stream_ottt.run.config import RunConfig
from stream_ottt.run.presets import RUNS

SCENE = "synthetic:?presentations=16&classes=4&duration=1s"
ROW = 25
"""Timesteps that a session makes in a row."""


def stream(config: RunConfig) -> tuple[list[Timestep], LabelTimeline]:
    """The scene's timesteps and labels."""
    source = open_source(SCENE)
    labels = LabelTimeline(source.labels or ())
    binner = Binner(config.binning, 128, 128, Ledger(), boundaries=labels.boundaries())
    steps = [step for packet in source.packets() for step in binner.feed(packet.events)]
    return [*steps, *binner.flush()], labels


def session(config: RunConfig, shape: tuple[int, ...], labels: LabelTimeline, average: int) -> Session:
    """A session of the preset with this average."""
    classes = labels.classes()
    network = build_network(config.network, input_shape=(shape[0], shape[1], shape[2]), classes=len(classes))
    rule = config.learner.model_copy(update={"average": average})
    return Session(build_learner(network, config=rule, classes=classes), timeline=labels, rehearsal=config.rehearsal)


def go(over: Session, steps: list[Timestep]) -> float:
    """Seconds of a core that these timesteps take, with all that they make due."""
    started = time.process_time()
    for step in steps:
        over.process(step)
        while over.learn_due():
            pass
    return time.process_time() - started


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    config = RunConfig.load(RUNS.read("objects"))
    steps, labels = stream(config)
    both = {
        horizon: session(config, steps[0].frame.shape, LabelTimeline(labels), horizon)
        for horizon in (0, config.learner.average)
    }
    took: dict[int, list[float]] = {horizon: [] for horizon in both}
    for at in range(0, len(steps) - ROW, ROW):
        for horizon, over in both.items():
            took[horizon].append(go(over, steps[at : at + ROW]) / ROW)
    without, with_average = (float(np.median(rows[4:])) for rows in took.values())
    learner = both[config.learner.average].learner
    assert learner.average is not None
    started, times = time.process_time(), 200
    for _ in range(times):
        learner.average.follow(learner.network, EVERY * learner.counts.updates)
        learner.average.network.forward(learner.as_input(steps[0].frame), learn=False)
    passed = (time.process_time() - started) / times
    started = time.process_time()
    for _ in range(times):
        learner.average.network.forward(learner.as_input(steps[0].frame), learn=False)
    follow = passed - (time.process_time() - started) / times
    updates = learner.counts.updates / len(steps)
    own = follow * updates / EVERY
    print(
        f"without {1e3 * without:.2f} ms a timestep ({updates:.1f} updates), "
        f"with the average {1e3 * with_average:.2f} ms: "
        f"+{100 * (with_average / without - 1):.1f} %; its pass over the weights {100 * own / without:.1f} %"
    )


if __name__ == "__main__":
    main()
