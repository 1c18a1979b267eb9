"""How well what was never learned is told from what was: one class is left out of the labels at a time.

    python benchmarks/unknown.py --data FOLDER          five objects before a DVS128
    python benchmarks/unknown.py                        four gestures of the built-in scene

FOLDER holds ``objects_stream.aedat4`` and ``objects_stream_labels.csv``. A session learns the stream, one pass, labels
after 500 ms, but for the class that is left out, which is shown all the same and has no label. Of the second half of
the stream, the first 500 ms of each presentation are compared, timestep by timestep and as means over presentations.
Printed are, for each class that is left out, the area under the ROC curve (0.5 is chance) of the distance to what is
remembered, of 1 - confidence and of the evidence of both that ``labels.unknown`` uses; and what ``labels.unknown`` of
0.95 and 0.8 calls unknown, of what was learned and of what was not: the share of timesteps, and of presentations after
500 ms.
"""

from __future__ import annotations

import argparse
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stream_ottt import build_learner, build_network, open_source
from stream_ottt.events.binning import Binner
from stream_ottt.events.packet import Ledger
from stream_ottt.labels.sidecar import read_label_csv
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline
from stream_ottt.learning.session import Session
from stream_ottt.run.config import RunConfig
from stream_ottt.run.presets import RUNS

SCENE = "synthetic:?presentations=80&classes=4&duration=1s"
DELAY = 500_000
SHARES = (0.95, 0.8)
SCORES = ("distance", "1 - confidence", "evidence")


class Row(NamedTuple):
    """A timestep: its presentation, whether that was never learned, its scores, whether each share calls it unknown."""

    presentation: int
    never: bool
    scores: tuple[float, ...]
    unknown: tuple[bool, ...]


def area(never: list[float], learned: list[float]) -> float:
    """The area under the ROC curve: how often one of the former is above one of the latter."""
    a, b = np.array(never)[:, None], np.array(learned)[None]
    return float((a > b).mean() + (a == b).mean() / 2)


def rows_of(uri: str, intervals: list[LabelInterval], config: RunConfig, left_out: int, seed: int) -> list[Row]:
    """Learn all but one class, and look at the second half."""
    timeline = LabelTimeline([i for i in intervals if i.label != left_out], delay=DELAY)
    everything = LabelTimeline(intervals)
    half = intervals[len(intervals) // 2].t_start
    classes = timeline.classes()
    binner = Binner(config.binning, 128, 128, Ledger(), boundaries=timeline.boundaries())
    session: Session | None = None
    rows: list[Row] = []
    for packet in open_source(uri).packets():
        for step in binner.feed(packet.events):
            if session is None:
                shape = (step.frame.shape[0], step.frame.shape[1], step.frame.shape[2])
                network = build_network(config.network, input_shape=shape, classes=len(classes), seed=seed)
                learner = build_learner(network, config=config.learner, classes=classes)
                how = config.rehearsal
                session = Session(learner, timeline=timeline, rehearsal=how, unknown=0.95, seed=seed)
            said = session.process(step).prediction
            shown = everything.at(step.middle)
            if shown is not None and step.middle > half and step.middle - shown.t_start < DELAY:
                novelty = session._novelty
                assert novelty is not None
                distance = novelty.distance(session.learner.network.state)
                if distance is not None:
                    evidence = novelty.evidence.mean
                    unknown = tuple(evidence > np.quantile(novelty._evidences, share) for share in SHARES)
                    scores = (distance, 1 - said.confidence, evidence)
                    rows.append(Row(shown.t_start, shown.label == left_out, scores, unknown))
            while session.learn_due():
                pass
    return rows


def summary(rows: list[Row]) -> list[float]:
    """Areas of each score by timestep and by presentation, and the shares that were called unknown."""
    whole = [list(own) for _, own in groupby(rows, key=lambda row: row[:2])]
    found = []
    for i in range(len(SCORES)):
        found.append(area(*([r.scores[i] for r in rows if r.never == never] for never in (True, False))))
        means = [(own[0].never, float(np.mean([r.scores[i] for r in own]))) for own in whole]
        found.append(area(*([m for was, m in means if was == never] for never in (True, False))))
    for i in range(len(SHARES)):
        for looked in (rows, [own[-1] for own in whole]):
            found += [float(np.mean([r.unknown[i] for r in looked if r.never == never])) for never in (False, True)]
    return found


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--classes", type=int, nargs="+", help="only these are left out, one after the other")
    options = parser.parse_args()
    if options.data is None:
        uri, config = SCENE, RunConfig.load(RUNS.read("demo"))
        source = open_source(uri)
        next(iter(source.packets()))
        intervals = sorted(source.labels or ())
    else:
        uri, config = str(options.data / "objects_stream.aedat4"), RunConfig.load(RUNS.read("objects"))
        intervals = sorted(read_label_csv(options.data / "objects_stream_labels.csv").intervals)
    titles = ["left out", *(f"{score}{by}" for score in SCORES for by in ("", " by presentation"))]
    for share in SHARES:
        titles += [f"{share}: {what}{by}" for by in ("", " by presentation") for what in ("learned", "never")]
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    all_of_them = []
    for label in options.classes or sorted({i.label for i in intervals}):
        all_of_them.append(summary(rows_of(uri, intervals, config, label, options.seed)))
        print(f"| {label} | {' | '.join(f'{value:.2f}' for value in all_of_them[-1])} |", flush=True)
    print(f"| mean | {' | '.join(f'{value:.2f}' for value in np.mean(all_of_them, axis=0))} |")


if __name__ == "__main__":
    main()
