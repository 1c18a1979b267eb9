"""The synthetic source: the same stream every time, labels that are true, and options that are checked."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from stream_ottt.errors import UsageError
from stream_ottt.events.packet import EVENT_DTYPE, PACKET_EVENTS
from stream_ottt.scene.scene import GESTURES
from stream_ottt.sources.opening import open_source
from stream_ottt.sources.synthetic import SyntheticSource


def source(**options) -> SyntheticSource:
    return SyntheticSource.from_options(address="synthetic:", **options)


def read(s: SyntheticSource) -> list[np.ndarray]:
    async def gather():
        return [packet async for packet in s]

    packets = asyncio.run(gather())
    assert all((p.width, p.height) == (128, 128) for p in packets)
    return [p.events for p in packets]


def test_packets_are_ordered_in_range_and_of_the_usual_size():
    s = source(presentations=3, seed=4)
    packets = read(s)
    assert len(packets) > 1 and all(PACKET_EVENTS <= len(p) < 2 * PACKET_EVENTS for p in packets[:-1])
    events = np.concatenate(packets)
    assert events.dtype == EVENT_DTYPE
    assert (np.diff(events["t"]) >= 0).all() and events["t"][0] >= 0 and events["t"][-1] < 3_300_000
    for axis in "xy":
        assert events[axis].min() == 0 and events[axis].max() == 127
    assert 30_000 < len(events) / 3.3 < 300_000
    again = np.concatenate(read(s))
    assert np.array_equal(events, again)


def test_a_seed_means_the_same_events_in_every_process():
    program = (
        "import hashlib\n"
        "from stream_ottt.sources.synthetic import SyntheticSource\n"
        "h = hashlib.sha256()\n"
        "for p in SyntheticSource.from_options(presentations=2, seed={}, duration='200ms').packets():\n"
        "    h.update(p.events.tobytes())\n"
        "print(h.hexdigest())\n"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", program.format(seed)], stdout=subprocess.PIPE, text=True)
        for seed in (5, 5, 6)
    ]
    a, b, c = (run.communicate()[0].strip() for run in runs)
    assert len(a) == 64 and a == b != c


def test_labels_and_names_are_known_before_the_first_event():
    s = source(presentations=6, classes=4, duration="200ms", pause="50ms")
    assert [(i.t_start, i.t_end) for i in s.labels] == [(k * 250_000, k * 250_000 + 200_000) for k in range(6)]
    assert s.class_names == {0: "right", 1: "left", 2: "up", 3: "down"}
    assert {i.label for i in s.labels} == {0, 1, 2, 3}
    assert len(source().class_names) == len(GESTURES)


def test_labels_are_true():
    """Which way the events of a presentation drift from one 20 ms bin to the next is what its label says."""
    s = source(presentations=20, classes=4, seed=1, duration="600ms")
    events = np.concatenate(read(s))
    right = 0
    for interval in s.labels:
        bins = np.arange(interval.t_start, interval.t_end + 1, 20_000)
        cuts = np.searchsorted(events["t"], bins)
        centres = np.array([[np.median(events[axis][a:b]) for axis in "xy"] for a, b in pairwise(cuts)])
        dx, dy = np.median(np.diff(centres, axis=0), axis=0)
        guess = (0 if dx > 0 else 1) if abs(dx) > abs(dy) else (2 if dy < 0 else 3)
        right += guess == interval.label
    assert right == 20


def test_a_pause_holds_nothing_but_noise():
    s = source(presentations=4, seed=2, duration="200ms", pause="200ms", noise=1.0)
    t = np.concatenate(read(s))["t"]
    for i in s.labels:
        moving = np.count_nonzero((t >= i.t_start) & (t < i.t_end))
        still = np.count_nonzero((t >= i.t_end) & (t < i.t_end + 200_000))
        expected = 1.0 * 128 * 128 * 0.2
        assert abs(still - expected) < 5 * expected**0.5 and moving > expected
    t = np.concatenate(read(source(presentations=1, noise=0, duration="200ms", pause="200ms")))["t"]
    assert len(t) > 1000 and t.max() < 200_000


def test_opens_by_its_uri():
    s = open_source("synthetic:?seed=3&presentations=2&duration=150ms&pause=0&noise=0.5&classes=2")
    assert isinstance(s, SyntheticSource)
    assert s.config.model_dump() == {
        "address": "synthetic:",
        "seed": 3,
        "presentations": 2,
        "duration": 150_000,
        "pause": 0,
        "classes": 2,
        "noise": 0.5,
        "tolerance": 0,
    }
    assert s.describe()["seed"] == 3
    assert open_source("synthetic:").config == source().config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"presentation": 3}, "did you mean 'presentations'"),
        ({"classes": 10}, "source.classes"),
        ({"classes": 1}, "source.classes"),
        ({"presentations": 0}, "source.presentations"),
        ({"seed": -1}, "source.seed"),
        ({"duration": "1ms"}, "source.duration"),
        ({"pause": "soon"}, "expected a duration"),
        ({"noise": "nan"}, "source.noise"),
        ({"address": "synthetic:scene.bin"}, "nothing follows the colon"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(UsageError, match=message):
        SyntheticSource.from_options(**options)
