"""How fast the filters are, beside those of tonic, dv-processing and faery.

Each way filters the same events, in packets where it takes packets. The rounds take turns, so that a busy moment of the
machine falls on all of them; the table shows the best round, by the clock on the wall and by the processor's time.
tonic loops in Python and gets a part of the events.

    python benchmarks/filters.py --events 10000000 --rounds 5
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import timedelta

import dv_processing as dv
import faery
import numpy as np

from stream_ottt.events.packet import PACKET_EVENTS, EventArray, make_events
from stream_ottt.filters.chain import open_filters

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tonic import transforms

TONIC_EVENTS = 200_000
HOT = [(3, 5), (100, 40), (7, 90), (60, 60), (90, 1)]
Way = Callable[[EventArray], float]
"""Filters all events and returns the share that it kept."""


def stream(n: int, width: int, height: int) -> EventArray:
    """``n`` events at a million a second: half of them on an edge that wanders, half of them anywhere."""
    rng = np.random.default_rng(0)
    t = np.cumsum(rng.integers(0, 3, n)) + 1
    on_edge = rng.random(n) < 0.5
    x = np.where(on_edge, (t // 1000 + rng.integers(0, 3, n)) % width, rng.integers(0, width, n))
    return make_events(x, rng.integers(0, height, n), t, rng.random(n) < 0.5)


def packets(events: EventArray) -> Iterator[EventArray]:
    """The events as a source hands them over."""
    for start in range(0, len(events), PACKET_EVENTS):
        yield events[start : start + PACKET_EVENTS]


def ours(spec: str, width: int, height: int) -> Way:
    """A filter of this project."""

    def run(events: EventArray) -> float:
        chain = open_filters([spec], width, height)
        return sum(len(chain(packet)) for packet in packets(events)) / len(events)

    return run


def tonic(transform: Callable[[EventArray], EventArray]) -> Way:
    """A transform of tonic's, which takes a whole recording."""
    return lambda events: len(transform(events)) / len(events)


def dv_background(width: int, height: int) -> Way:
    """dv-processing's filter on its own event stores, which are made beforehand."""
    stores: list[dv.EventStore] = []

    def run(events: EventArray) -> float:
        if not stores:
            for packet in packets(events):
                store = dv.EventStore()
                for e in packet[["t", "x", "y", "p"]].tolist():
                    store.push_back(*e)
                stores.append(store)
        background = dv.noise.BackgroundActivityNoiseFilter((width, height), timedelta(milliseconds=5))
        kept = 0
        for store in stores:
            background.accept(store)
            kept += background.generateEvents().size()
        return kept / len(events)

    return run


def faery_hot(width: int, height: int) -> Way:
    """faery's hot pixels, learned from the whole recording and applied to it, in its own array, made beforehand."""
    made: list[EventArray] = []

    def run(events: EventArray) -> float:
        if not made:
            made.append(np.empty(len(events), faery.EVENTS_DTYPE))
            for name, own in (("t", "t"), ("x", "x"), ("y", "y"), ("on", "p")):
                made[0][name] = events[own]
        stream = faery.events_stream_from_array(made[0], (width, height))
        return sum(len(kept) for kept in stream.filter_hot_pixels(maximum_relative_event_count=3.0)) / len(events)

    return run


def ways(width: int, height: int) -> dict[str, dict[str, Way]]:
    """By filter: ours first, then the others."""
    pixels = ",".join(f"{x}:{y}" for x, y in HOT)
    return {
        "background": {
            "ours": ours("background:?time=5ms", width, height),
            "dv-processing": dv_background(width, height),
            "tonic Denoise (4 neighbours)": tonic(transforms.Denoise(filter_time=5000)),
        },
        "hot": {
            "ours, listed and learning": ours(f"hot:?pixels={pixels}", width, height),
            "ours, listed": ours(f"hot:?pixels={pixels}&learn=0", width, height),
            "faery, learning": faery_hot(width, height),
            "tonic DropPixel, listed": tonic(transforms.DropPixel(coordinates=HOT)),
        },
        "refractory": {
            "ours": ours("refractory:?period=1ms", width, height),
            "tonic RefractoryPeriod": tonic(transforms.RefractoryPeriod(delta=1000)),
        },
        "others": {
            name: ours(spec, width, height)
            for name, spec in {
                "roi": "roi:?left=10&top=10&width=80&height=80",
                "flip": "flip",
                "rotate": "rotate:90",
                "transpose": "transpose",
                "polarity": "polarity:on",
            }.items()
        },
    }


def main() -> None:
    """Make the events, time all ways, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", default="346x260", help="WIDTHxHEIGHT of the sensor")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    events = stream(options.events, width, height)
    print(f"{options.events} events, {options.size}\n")
    print("| filter | way | M events/s | M events per processor second | kept |")
    print("|---|---|---|---|---|")
    for name, rivals in ways(width, height).items():
        best = dict.fromkeys(rivals, (0.0, 0.0))
        kept = dict.fromkeys(rivals, 0.0)
        for round_ in range(options.rounds + 1):  # the first warms up
            for way, run in rivals.items():
                some = events[:TONIC_EVENTS].copy() if way.startswith("tonic") else events
                start = time.perf_counter(), time.process_time()
                kept[way] = run(some)
                took = time.perf_counter() - start[0], time.process_time() - start[1]
                if round_:
                    wall, processor = (max(b, len(some) / t / 1e6) for b, t in zip(best[way], took, strict=True))
                    best[way] = wall, processor
        for way, (wall, processor) in best.items():
            print(f"| {name} | {way} | {wall:.1f} | {processor:.1f} | {kept[way]:.3f} |", flush=True)


if __name__ == "__main__":
    main()
