"""How fast recordings become event arrays, against other packages that read the same file, and in how much memory.

Every reader reads the whole file in every round, in turn, so that a busy moment of the machine falls on all of them.
The table shows the best round, by the clock on the wall and by the processor's time (of all threads), which a shared
machine spoils less. Ours includes the check of every coordinate and time, which the others
do not do. Its memory is the peak of a fresh process that reads the file, less that of one that only loads numba.

    python benchmarks/decode.py --events 5000000 --rounds 5 aedat4
    python benchmarks/decode.py --check ../before/.venv/bin/python    against another version's checkout

With ``--check``, this version and the other read the same files in turn; the exit code is 1 where this one takes over
5 % more of the processor's time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from against import Version, checkout_of, compared, slower
from formats import FORMATS, Reader, ours, recording
from fresh import peak_bytes

from stream_ottt.events.packet import EventArray

READ = """
import sys
import numba
numba.njit(lambda x: x)(1)
if len(sys.argv) > 1:
    from stream_ottt.events.packet import split_well_formed
    from stream_ottt.sources.opening import open_source
    options = {"width": 346, "height": 260} if sys.argv[1].endswith((".npy", ".h5")) else {}
    for packet in open_source({"uri": sys.argv[1], **options}).packets():
        split_well_formed(packet)
"""


def peak_mib(*words: str) -> float:
    """Peak memory of a fresh process that reads a file, or none, MiB."""
    return peak_bytes(READ, *words) / 2**20


Results = dict[str, list[tuple[float, float]] | str]
"""Reader → (wall, processor) seconds of each round, or why there are none."""


def measure(path: Path, readers: tuple[Reader, ...], n: int, rounds: int) -> Results:
    """Seconds of each round of each reader, or why there are none."""
    seconds: dict[str, list[tuple[float, float]]] = {r.__name__: [] for r in readers}
    failed: dict[str, str] = {}
    for round_ in range(rounds + 1):  # the first warms up imports and the page cache
        for reader in readers:
            if reader.__name__ in failed:
                continue
            start = time.perf_counter(), time.process_time()
            try:
                found = reader(path)
            except ImportError:
                failed[reader.__name__] = "not installed"
                continue
            took = time.perf_counter() - start[0], time.process_time() - start[1]
            if found != n:
                failed[reader.__name__] = f"read {found} of {n} events"
            elif round_:
                seconds[reader.__name__].append(took)
    return {name: failed.get(name) or s for name, s in seconds.items()}


def main() -> None:
    """Write a file of each format, time all readers, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formats", nargs="*", default=list(FORMATS), metavar="FORMAT")
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print seconds and memory instead of the table")
    parser.add_argument("--check", metavar="PYTHON", help="of another version's environment, in its checkout")
    options = parser.parse_args()
    events = recording(options.events)
    if options.check:
        check(options.formats, events, options.rounds, options.check)
        return
    bare = peak_mib()
    everything: dict[str, object] = {}
    if not options.json:
        print(
            "| format | reader | M events/s | ours is faster by | M events per processor second | by | MiB |\n"
            + "|---" * 7
            + "|"
        )
    for name in options.formats:
        subject = FORMATS[name]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"recording{subject.suffix}"
            subject.make(name, path, events)
            results = measure(path, (ours, *subject.rivals), len(events), options.rounds)
            memory = peak_mib(str(path)) - bare
        everything[name] = {"seconds": results, "ours_mib": round(memory, 1)}
        if not options.json:
            show(name, results, len(events), memory)
    if options.json:
        print(json.dumps({"events": len(events), "load": os.getloadavg()[0], "formats": everything}))


def check(names: list[str], events: EventArray, rounds: int, python: str) -> None:
    """Print how long each format takes now and before, and fail where that is more than it was."""
    print("| format | now, M events per processor second | before | takes |\n" + "|---" * 4 + "|")
    ratios = []
    here = Path(__file__).absolute().parents[1]
    with Version(sys.executable, here) as now, Version(str(Path(python).absolute()), checkout_of(python)) as before:
        for name in names:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"recording{FORMATS[name].suffix}"
                FORMATS[name].make(name, path, events)
                mine, theirs = compared(path, len(events), rounds, now, before)
            ratios.append((name, mine / theirs))
            rates = f"{len(events) / mine / 1e6:.1f} | {len(events) / theirs / 1e6:.1f}"
            print(f"| {name} | {rates} | × {mine / theirs:.2f} |")
    slower(ratios)


def show(name: str, results: Results, n: int, memory: float) -> None:
    """Print the lines of one format."""
    mine = results["ours"]
    for reader, rounds in results.items():
        if isinstance(rounds, str) or isinstance(mine, str):
            print(f"| {name} | {reader} | – | {rounds} | | | |")
            continue
        cells = []
        for theirs, own in zip(zip(*rounds, strict=True), zip(*mine, strict=True), strict=True):
            cells += [f"{n / min(theirs) / 1e6:.1f}", f"× {min(theirs) / min(own):.2f}"]
        used = f"{memory:.0f}" if reader == "ours" else ""
        print(f"| {name} | {reader} | {' | '.join(cells)} | {used} |")


if __name__ == "__main__":
    main()
