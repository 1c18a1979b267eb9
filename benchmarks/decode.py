"""How fast recordings become event arrays, against other packages that read the same file.

Every reader reads the whole file in every round, in turn, so that a busy moment of the machine falls on all of them;
the table shows medians. Ours includes the check of every coordinate and time, which the others do not do.

    python benchmarks/decode.py --events 5000000 --rounds 5 aedat4
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stream_ottt.events import EventArray, make_events, split_well_formed
from stream_ottt.registry import open_source
from stream_ottt.sinks.writers import WRITERS
from stream_ottt.sources.base import BlockingSource
from stream_ottt.sources.prophesee import parse_header

WIDTH, HEIGHT = 346, 260
Reader = Callable[[Path], int]
"""Reads a whole file into event arrays, one piece after the other, and returns how many events it held."""


def recording(n: int) -> EventArray:
    """``n`` events of edges that sweep over the sensor, with noise, at a million events a second."""
    rng = np.random.default_rng(0)
    t = np.cumsum(rng.integers(0, 3, n)) + 1_000_000
    edge = t // 500 + rng.integers(-3, 4, n)
    noise = rng.random(n) < 0.1
    x = np.where(noise, rng.integers(0, WIDTH, n), edge % WIDTH)
    return make_events(x, rng.integers(0, HEIGHT, n), t, rng.random(n) < 0.5)


def ours(path: Path) -> int:
    """Read with stream_ottt and validate, as a run does before binning."""
    source = open_source(path)
    assert isinstance(source, BlockingSource)
    return sum(len(split_well_formed(packet)[0]) for packet in source.packets())


def aedat(path: Path) -> int:
    """Read AEDAT4 with the package aedat."""
    import aedat

    return sum(len(packet["events"]) for packet in aedat.Decoder(str(path)) if "events" in packet)


def faery(path: Path) -> int:
    """Read with the package faery."""
    import faery

    return sum(len(packet) for packet in faery.events_stream_from_file(path))


def dv_processing(path: Path) -> int:
    """Read AEDAT4 with the package dv-processing."""
    import dv_processing

    recording = dv_processing.io.MonoCameraRecording(str(path))
    n = 0
    while (batch := recording.getNextEventBatch()) is not None:
        n += len(batch.numpy())
    return n


def expelliarmus(path: Path) -> int:
    """Read EVT 2.0 or DAT with the package expelliarmus, in pieces of its own default size."""
    from expelliarmus import Wizard

    return sum(map(len, Wizard("dat" if path.suffix == ".dat" else "evt2", path).read_chunk()))


def expelliarmus_64k(path: Path) -> int:
    """The same in pieces of 65536 events, where it is fastest."""
    from expelliarmus import Wizard

    encoding = "dat" if path.suffix == ".dat" else "evt2"
    return sum(map(len, Wizard(encoding, path, chunk_size=1 << 16, buff_size=1 << 16).read_chunk()))


def expelliarmus_whole(path: Path) -> int:
    """The same into one array."""
    from expelliarmus import Wizard

    return len(Wizard("dat" if path.suffix == ".dat" else "evt2").read(path))


def evt3_columns(path: Path) -> int:
    """Read EVT 3.0 with the package evt3 in pieces, into four separate arrays."""
    import evt3

    decoder = evt3.Decoder()
    with path.open("rb") as file:
        file.seek(parse_header(file.read(1 << 16)).size)
        return sum(len(decoder.feed(data)) for data in iter(lambda: file.read(1 << 16), b""))


def evt3_whole(path: Path) -> int:
    """Read EVT 3.0 with the package evt3 into one set of arrays."""
    import evt3

    return len(evt3.decode_file(str(path)))


def write_evt3(path: Path, events: EventArray) -> None:
    """Write EVT 3.0 with the package faery; there is no writer for it here."""
    import faery

    theirs = np.zeros(len(events), faery.EVENTS_DTYPE)
    for key, ours_key in (("t", "t"), ("x", "x"), ("y", "y"), ("on", "p")):
        theirs[key] = events[ours_key]
    faery.events_stream_from_array(theirs, (WIDTH, HEIGHT)).to_file(path, version="evt3")


@dataclass(frozen=True)
class Format:
    """One line of the table's subject: the writer that makes its file, and who else reads it.

    Attributes:
        writer: name of the writer, whose file name ending is used.
        rivals: who else reads it.
        write: what writes the file instead.
    """

    writer: str
    rivals: tuple[Reader, ...]
    write: Callable[[Path, EventArray], None] | None = None


EXPELLIARMUS = (expelliarmus, expelliarmus_64k, expelliarmus_whole)

FORMATS = {
    "aedat4": Format("aedat4", (aedat, faery, dv_processing)),
    "evt2": Format("evt2", (*EXPELLIARMUS, faery)),
    "evt3": Format("evt2", (evt3_columns, evt3_whole, faery), write_evt3),
    "dat": Format("dat", (*EXPELLIARMUS, faery)),
}


def measure(path: Path, readers: tuple[Reader, ...], n: int, rounds: int) -> dict[str, float | str]:
    """Median seconds of each reader, or why there are none."""
    seconds: dict[str, list[float]] = {r.__name__: [] for r in readers}
    failed: dict[str, str] = {}
    for round_ in range(rounds + 1):  # the first warms up imports and the page cache
        for reader in readers:
            if reader.__name__ in failed:
                continue
            start = time.perf_counter()
            try:
                found = reader(path)
            except ImportError:
                failed[reader.__name__] = "not installed"
                continue
            took = time.perf_counter() - start
            if found != n:
                failed[reader.__name__] = f"read {found} of {n} events"
            elif round_:
                seconds[reader.__name__].append(took)
    return {name: failed.get(name) or statistics.median(s) for name, s in seconds.items()}


def main() -> None:
    """Write a file of each format, time all readers, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formats", nargs="*", default=list(FORMATS), metavar="FORMAT")
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    events = recording(options.events)
    print("| format | reader | M events/s | ours is faster by |\n|---|---|---|---|")
    for name in options.formats:
        subject = FORMATS[name]
        writer = WRITERS.get(subject.writer)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"recording{writer.suffixes[0]}"
            if subject.write is not None:
                subject.write(path, events)
            else:
                with writer(path, WIDTH, HEIGHT) as out:
                    out.write(events)
            results = measure(path, (ours, *subject.rivals), len(events), options.rounds)
        mine = results["ours"]
        for reader, result in results.items():
            if isinstance(result, str) or isinstance(mine, str):
                print(f"| {name} | {reader} | – | {result} |")
            else:
                print(f"| {name} | {reader} | {len(events) / result / 1e6:.1f} | × {result / mine:.2f} |")


if __name__ == "__main__":
    main()
