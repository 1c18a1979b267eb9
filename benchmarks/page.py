"""What the page costs a run: while nobody looks, while a browser sleeps or hides the page, and while one draws.

The run is one process at full speed; browsers are others. The cases follow each other in short turns, so that whatever
else the machine does meets all of them alike. A line for each case:

- `page`: processor time of the page's own thread, as a share of one processor; and the same with that of the
  learner's thread in handing results over, as a share of the processor time of the whole run. These are counted and
  not compared, so that a noisy machine changes them little. They bound what the learner loses: it cannot wait for the
  interpreter longer than the page's thread runs. What the page does at fixed times weighs more in the second where
  other programs leave the run little time.
- `×`: processor and wall time of the whole run for a timestep that went through the network, live or again, against
  the turn of `nobody` beside it. On a machine that does other things turns differ by more than a page costs.

    python benchmarks/page.py [--source FILE --labels FILE --config NAME] [--turns N]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

READER = """
import json, sys
from websockets.sync.client import connect
with connect(sys.argv[1], compression=None, max_size=None) as socket:
    socket.send(json.dumps({"kind": "wish", "inside": "all" in sys.argv[2], "memory": "all" in sys.argv[2]}))
    while True:
        socket.recv()
        socket.recv()
        if "hidden" not in sys.argv[2]:  # a hidden page takes messages and draws none
            socket.send('{"kind":"ready","drawn":2}')
"""

SLEEPER = """
import socket, sys, time
from urllib.parse import urlsplit
address = urlsplit(sys.argv[1])
raw = socket.create_connection((address.hostname, address.port))
raw.sendall((f"GET /live HTTP/1.1\\r\\nHost: {address.netloc}\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
    "Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\\r\\n\\r\\n").encode())
time.sleep(3600)
"""

CASES = {
    "nobody": None,
    "a browser that sleeps": (SLEEPER, ""),
    "a hidden page": (READER, "hidden, all"),
    "one that draws": (READER, ""),
    "and shows all": (READER, "all"),
}


PASSES = 1000
"""So many that the run does not end before the turns."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="synthetic:?presentations=100000&classes=6&duration=500ms")
    parser.add_argument("--labels")
    parser.add_argument("--config", default="demo")
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--turn-s", type=float, default=2.0)
    given = parser.parse_args()

    from stream_ottt.run.request import RunRequest
    from stream_ottt.run.run import Run

    overrides: dict[str, Any] = {"stream": {"passes": PASSES}}
    if given.labels:
        overrides["labels"] = {"file": given.labels}
    request = RunRequest(source=given.source, preset=given.config, overrides=overrides, sinks=["web:127.0.0.1:8790"])
    run = Run(request)
    thread = threading.Thread(target=lambda: asyncio.run(run.go()), daemon=True)
    thread.start()
    address = "ws://127.0.0.1:8790/live"
    while not hasattr(run, "pipeline") or work(run) < 2000:
        time.sleep(0.1)
    page = next(thread.ident for thread in threading.enumerate() if thread.name == "sink web")
    clock = time.pthread_getcpuclockid(page or 0)
    handing = HandingOver(next(writer for writer in run.pipeline.writers if writer.name == "web"))
    found: dict[str, list[Turn]] = {case: [] for case in CASES}
    for _ in range(given.turns):
        for case, program in CASES.items():
            client = None
            if program is not None:
                client = subprocess.Popen([sys.executable, "-c", program[0], address, program[1]])
                time.sleep(2.5)  # until it has connected, and what it was sent first is forgotten
            before = work(run), time.process_time(), time.perf_counter(), time.clock_gettime(clock), handing.s
            time.sleep(given.turn_s)
            after = work(run), time.process_time(), time.perf_counter(), time.clock_gettime(clock), handing.s
            done, processor, wall, own, handed = (b - a for a, b in zip(before, after, strict=True))
            found[case].append(Turn(processor / done, wall / done, own / wall, (own + handed) / processor))
            if client is not None:
                client.kill()
                client.wait()
    run.pipeline.stop()
    thread.join(20)
    print(f"{given.source}, {given.turns} turns of {given.turn_s:g} s")
    for case, turns in found.items():
        page_share, run_share = (
            statistics.median(getattr(turn, name) for turn in turns) for name in ("page", "of_run")
        )
        line = f"{case:22} page {page_share:.2%}, with handing over {run_share:.2%} of the run"
        for name in ("processor", "wall"):
            each = [getattr(turn, name) for turn in turns]
            ratios = [cost / getattr(nobody, name) for cost, nobody in zip(each, found["nobody"], strict=True)]
            line += f"  {name} {statistics.median(each) * 1e3:.3f} ms × {statistics.median(ratios):.3f}"
        print(line)


class Turn(NamedTuple):
    """Processor and wall seconds of a timestep; shares of a processor, and of the run's processor time."""

    processor: float
    wall: float
    page: float
    of_run: float


class HandingOver:
    """Counts the processor time of the learner's thread in handing results to a sink's writer, in seconds."""

    def __init__(self, writer: Any) -> None:
        self.s = 0.0
        self._put = writer.put
        writer.put = self

    def __call__(self, result: object) -> bool:
        began = time.thread_time()
        try:
            return bool(self._put(result))
        finally:
            self.s += time.thread_time() - began


def work(run: object) -> int:
    """Timesteps that went through the network so far: live and learned later or again."""
    session = run.pipeline.learning.session  # type: ignore[attr-defined]
    if session is None:
        return 0
    updates = session.counters.updates
    return session.counters.timesteps + updates.deferred + updates.rehearsed


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main()
