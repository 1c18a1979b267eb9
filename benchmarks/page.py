"""What the page costs a run: while nobody looks, while a browser sleeps, and while one draws.

For each case: processor time of the whole run (server and learner, all threads) for a timestep that went through the
network, live or again, and wall time for it, both against the case without a browser; and the share of one processor
that the page's own thread takes.

The run is one process at full speed; browsers are others. The three cases follow each other in short turns, so that
whatever else the machine does meets all of them alike.

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

READER = """
import json, sys
from websockets.sync.client import connect
with connect(sys.argv[1], compression=None, max_size=None) as socket:
    socket.send(json.dumps({"kind": "wish", "inside": sys.argv[2] == "all", "memory": sys.argv[2] == "all"}))
    while True:
        socket.recv()
        socket.send('{"kind":"ready"}')
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
    "one that draws": (READER, ""),
    "and shows all": (READER, "all"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="synthetic:?presentations=100000&classes=6&duration=500ms")
    parser.add_argument("--labels")
    parser.add_argument("--config", default="demo")
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--turn-s", type=float, default=2.0)
    given = parser.parse_args()

    from stream_ottt.run.run import Run, RunRequest

    overrides = {"labels": {"file": given.labels}} if given.labels else {}
    request = RunRequest(source=given.source, preset=given.config, overrides=overrides, sinks=["web:127.0.0.1:8790"])
    run = Run(request)
    thread = threading.Thread(target=lambda: asyncio.run(run.go()), daemon=True)
    thread.start()
    address = "ws://127.0.0.1:8790/live"
    while not hasattr(run, "pipeline") or work(run) < 2000:
        time.sleep(0.1)
    page = next(thread.ident for thread in threading.enumerate() if thread.name == "sink web")
    clock = time.pthread_getcpuclockid(page or 0)
    found: dict[str, list[tuple[float, float, float]]] = {case: [] for case in CASES}
    for _ in range(given.turns):
        for case, program in CASES.items():
            client = None
            if program is not None:
                client = subprocess.Popen([sys.executable, "-c", program[0], address, program[1]])
                time.sleep(0.7)  # until it has connected
            before = work(run), time.process_time(), time.perf_counter(), time.clock_gettime(clock)
            time.sleep(given.turn_s)
            after = work(run), time.process_time(), time.perf_counter(), time.clock_gettime(clock)
            done, processor, wall, own = (b - a for a, b in zip(before, after, strict=True))
            found[case].append((processor / done, wall / done, own / wall))
            if client is not None:
                client.kill()
                client.wait()
    run.pipeline.stop()
    thread.join(20)
    print(f"{given.source}, {given.turns} turns of {given.turn_s:g} s")
    for case, costs in found.items():
        line = f"{case:24}"
        for name, which in (("processor", 0), ("wall", 1)):
            each = [cost[which] for cost in costs]
            ratios = [cost[which] / nobody[which] for cost, nobody in zip(costs, found["nobody"], strict=True)]
            line += f"  {name} {statistics.median(each) * 1e3:.3f} ms × {statistics.median(ratios):.3f}"
        print(f"{line}  page {statistics.median(cost[2] for cost in costs):.1%}")


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
