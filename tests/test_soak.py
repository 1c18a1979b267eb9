"""Memory, threads and open files stay as they are, however long a run is: 10⁶ timesteps in `make soak`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TIMESTEPS = 1_000_000 if os.environ.get("SOAK") else 5_000

PROGRAM = """
import asyncio, os, sys, threading
sys.path.insert(0, sys.argv[2])
import numpy as np
import torch
from helpers import SIZE, WINDOW, ListSink, LiveSource, pipeline_of, small_learner, small_session
from stream_ottt.events.packet import EventPacket, make_events
from stream_ottt.labels.timeline import LabelTimeline

torch.set_num_threads(1)
total, seen, marks = int(sys.argv[1]), 0, []

def rss():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def note():
    marks.append((rss(), threading.active_count(), len(os.listdir("/proc/self/fd"))))

class Flood(LiveSource):
    def __init__(self):
        super().__init__(make_events([], [], [], []))
    async def __aiter__(self):
        rng = np.random.default_rng(0)
        for k in range(10**9):
            t = k * 20 * WINDOW + np.arange(0, 20 * WINDOW, WINDOW // 4)
            n = len(t)
            x, y, p = rng.integers(0, SIZE, n), rng.integers(0, SIZE, n), rng.random(n) < .5
            yield EventPacket(make_events(x, y, t, p), SIZE, SIZE)
            await asyncio.sleep(0.001)

class Counting(ListSink):
    async def consume(self, result):
        global seen
        seen += 1
        if seen in (total // 10, total - 1):
            note()

class Stalled(ListSink):
    def __init__(self):
        super().__init__()
        self.config = self.config.model_copy(update={"target": "stalled"})
    async def consume(self, result):
        await asyncio.sleep(3600)

timeline = LabelTimeline()
session = small_session(timeline, learner=small_learner(), late_labels=True, keep_bytes=1 << 20)
pipeline = pipeline_of(Flood(), [Counting(), Stalled()], session, timeline, policy="drop-oldest", queue_events=4000,
                       max_steps=total, grace=0.2, say=lambda *_, **__: None)

async def go():
    await pipeline.writers.open(pipeline.view)
    outcome = await pipeline.run()
    assert outcome.reason == "max-steps", outcome
    counts = pipeline.snapshot().ledger
    assert counts.in_hand == 0 and counts.dropped["overflow"] > 0, counts

asyncio.run(go())
while len(marks) < 2:
    note()
(before, threads, files), (after, more_threads, more_files) = marks
print(f"{total} timesteps: resident {before / 1e6:.1f} MB, then {after / 1e6:.1f} MB; "
      f"threads {threads}, {more_threads}; files {files}, {more_files}", flush=True)
ok = after < 1.01 * before and more_threads <= threads and more_files <= files
os._exit(0 if ok else 1)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.timeout(3600)
def test_memory_threads_and_files_are_flat(tmp_path: Path) -> None:
    """Labels that never come, a sink that stalls, a source that floods."""
    program = tmp_path / "soak.py"
    program.write_text(PROGRAM)
    tests = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, str(program), str(TIMESTEPS), tests], capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
