"""How fast events become frames: ours against a plain ``np.bincount`` for each frame, and tonic's ``ToFrame``.

All bin the same events into frames of 10 ms and 2×128×128 pixels, in turn, so that a busy moment of the machine falls
on all of them; the table shows the best round, by the clock on the wall and by the processor's time. Ours takes packets
as a source hands them over, and finds late events, silences and sample boundaries on the way.

    python benchmarks/binning.py --events 10000000 --rounds 5
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from stream_ottt.events.binning import Binner
from stream_ottt.events.config import BinningConfig
from stream_ottt.events.packet import PACKET_EVENTS, EventArray, Ledger, make_events

SIDE = 128
WINDOW_US = 10_000
Binning = Callable[[EventArray], int]
"""Bins all events, frame by frame, and returns how many frames there were."""


def stream(n: int) -> EventArray:
    """``n`` events at a million a second, anywhere on the sensor."""
    rng = np.random.default_rng(0)
    t = np.cumsum(rng.integers(0, 3, n))
    return make_events(rng.integers(0, SIDE, n), rng.integers(0, SIDE, n), t, rng.random(n) < 0.5)


def ours(events: EventArray) -> int:
    """stream_ottt's binner, packet by packet."""
    binner = Binner(BinningConfig(window=WINDOW_US, width=SIDE, height=SIDE), SIDE, SIDE, Ledger())
    frames = 0
    for start in range(0, len(events), PACKET_EVENTS):
        frames += sum(1 for _ in binner.feed(events[start : start + PACKET_EVENTS]))
    return frames + sum(1 for _ in binner.flush())


def bincount(events: EventArray) -> int:
    """``np.bincount`` for each frame of events that are all at hand and known to be in order."""
    t = np.ascontiguousarray(events["t"])
    edges = np.searchsorted(t, np.arange(t[0], t[-1] + 1 + WINDOW_US, WINDOW_US))
    frames = 0
    for start, stop in pairwise(edges):
        e = events[start:stop]
        pixels = (e["p"].astype(np.intp) * SIDE + e["y"]) * SIDE + e["x"]
        frame = np.bincount(pixels, minlength=2 * SIDE * SIDE).reshape(2, SIDE, SIDE).astype(np.float32)
        frames += len(frame) == 2
    return frames


def tonic(events: EventArray) -> int:
    """tonic's transform, on the whole recording at once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tonic.transforms import ToFrame

    frames = ToFrame(sensor_size=(SIDE, SIDE, 2), time_window=WINDOW_US, include_incomplete=True)(events)
    return len(frames)


def measure(events: EventArray, ways: tuple[Binning, ...], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """(wall, processor) seconds of each round of each way."""
    seconds: dict[str, list[tuple[float, float]]] = {way.__name__: [] for way in ways}
    for round_ in range(rounds + 1):  # the first warms up
        for way in ways:
            start = time.perf_counter(), time.process_time()
            way(events)
            if round_:
                took = time.perf_counter() - start[0], time.process_time() - start[1]
                seconds[way.__name__].append(took)
    return seconds


def main() -> None:
    """Make the events, time all ways, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print seconds instead of the table")
    options = parser.parse_args()
    seconds = measure(stream(options.events), (ours, bincount, tonic), options.rounds)
    if options.json:
        print(json.dumps({"events": options.events, "seconds": seconds}))
        return
    print("| way | M events/s | ours is faster by | M events per processor second | by |\n|---|---|---|---|---|")
    for name, rounds in seconds.items():
        cells = []
        for theirs, own in zip(zip(*rounds, strict=True), zip(*seconds["ours"], strict=True), strict=True):
            cells += [f"{options.events / min(theirs) / 1e6:.1f}", f"× {min(theirs) / min(own):.2f}"]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
