"""How fast recordings become event arrays, against other packages that read the same file, and in how much memory.

Every reader reads the whole file in every round, in turn, so that a busy moment of the machine falls on all of them.
The table shows the best round and the median. Ours includes the check of every coordinate and time, which the others
do not do. Its memory is the peak of a fresh process that reads the file, less that of one that only starts Python.

    python benchmarks/decode.py --events 5000000 --rounds 5 aedat4
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from formats import FORMATS, Reader, ours, recording

PEAK = """
import sys
if len(sys.argv) > 1:
    from stream_ottt.events import split_well_formed
    from stream_ottt.registry import open_source
    options = {"width": 346, "height": 260} if sys.argv[1].endswith((".npy", ".h5")) else {}
    for packet in open_source({"uri": sys.argv[1], **options}).packets():
        split_well_formed(packet)
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def peak_mib(*words: str) -> float:
    """Peak memory of a fresh process, MiB, as Linux counts it."""
    done = subprocess.run([sys.executable, "-c", PEAK, *words], capture_output=True, text=True, check=True)
    return int(done.stdout) / 1024


def measure(path: Path, readers: tuple[Reader, ...], n: int, rounds: int) -> dict[str, list[float] | str]:
    """Seconds of each round of each reader, or why there are none."""
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
    return {name: failed.get(name) or s for name, s in seconds.items()}


def main() -> None:
    """Write a file of each format, time all readers, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formats", nargs="*", default=list(FORMATS), metavar="FORMAT")
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print seconds and memory instead of the table")
    options = parser.parse_args()
    events = recording(options.events)
    bare = peak_mib()
    everything: dict[str, object] = {}
    if not options.json:
        print("| format | reader | best, M events/s | median | ours is faster by | MiB |\n|---|---|---|---|---|---|")
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


def show(name: str, results: dict[str, list[float] | str], n: int, memory: float) -> None:
    """Print the lines of one format."""
    mine = results["ours"]
    for reader, seconds in results.items():
        if isinstance(seconds, str) or isinstance(mine, str):
            print(f"| {name} | {reader} | – | – | {seconds} | |")
            continue
        best, median = (n / of(seconds) / 1e6 for of in (min, statistics.median))
        ratio, used = f"× {min(seconds) / min(mine):.2f}", f"{memory:.0f}" if reader == "ours" else ""
        print(f"| {name} | {reader} | {best:.1f} | {median:.1f} | {ratio} | {used} |")


if __name__ == "__main__":
    main()
