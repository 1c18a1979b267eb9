"""Binning against a plain loop, against tonic, and whatever way the stream is cut into packets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_ottt.errors import UsageError
from stream_ottt.events.binning import Binner
from stream_ottt.events.config import BinningConfig
from stream_ottt.events.packet import EVENT_DTYPE, EventArray, Ledger, make_events
from stream_ottt.events.timestep import Timestep

WIDTH, HEIGHT = 12, 8


def random_events(seed: int, n: int, *, step: int = 40, disorder: int = 0, gap: int = 0) -> EventArray:
    rng = np.random.default_rng(seed)
    t = np.cumsum(rng.integers(0, step, n)) + 1000
    if gap and n > 2:
        t[n // 2 :] += gap
    if disorder:
        t = np.maximum(t - rng.integers(0, disorder, n) * (rng.random(n) < 0.2), 0)
    return make_events(rng.integers(0, WIDTH, n), rng.integers(0, HEIGHT, n), t, rng.random(n) < 0.5)


def run(
    events: EventArray, config: BinningConfig, cuts: list[int], boundaries: list[int]
) -> tuple[list[Timestep], Ledger]:
    ledger = Ledger(read=len(events))
    binner = Binner(config, WIDTH, HEIGHT, ledger, boundaries=boundaries)
    out: list[Timestep] = []
    for part in np.split(events, sorted(min(c, len(events)) for c in cuts)):
        out += binner.feed(part)
    out += binner.flush()
    assert binner.held == 0
    ledger.binned = sum(s.events for s in out)
    return out, ledger


def plain_loop(events: EventArray, config: BinningConfig, boundaries: list[int]) -> tuple[list[tuple], int]:
    """Every rule written down event by event; (frame, t_start, t_end, events, new sample) and how many were late."""
    frames: list[tuple] = []
    late = 0
    start = end = newest = None
    frame, n, new = None, 0, True
    _, h, w = config.frame_shape(WIDTH, HEIGHT)

    def close(t_end):
        nonlocal frame, n, new
        counts = np.zeros((config.planes, h, w), np.float32) if frame is None else frame
        if config.clamp:
            counts = np.minimum(counts, config.clamp)
        frames.append((counts, start, t_end, n, new))
        frame, n, new = None, 0, False

    def open_at(t):
        nonlocal start, end, new
        if any((start is None or last_start < b) and b <= t for b in boundaries if b > last_start):
            new = True
        start = t
        later = [b for b in boundaries if b > t]
        end = min(later, default=2**62)
        if config.count is None:
            end = min(end, t + config.window)

    last_start = -1
    for x, y, t, p in events.tolist():
        if newest is not None and t - newest >= config.silence:
            if n:
                close(end if config.count is None else min(newest + 1, end))
            if start is not None:
                last_start = start
            start, new = None, True
        previous, newest = newest, t if newest is None else max(newest, t)
        if config.count is None:
            while start is not None and newest >= end:
                close(end)
                last_start = start
                open_at(end)
        elif start is not None and newest >= end:
            if n:
                close(min(previous + 1, end))
            last_start, start = start, None
        if start is None:
            open_at(newest)
        if t < start:
            late += 1
            continue
        if frame is None:
            frame = np.zeros((config.planes, h, w), np.float32)
        frame[int(p) if config.planes == 2 else 0, y * h // HEIGHT, x * w // WIDTH] += 1
        n += 1
        if config.count is not None and n == config.count:
            close(min(newest + 1, end))
            last_start, start = start, None
    if n:
        close(end if config.count is None else min(newest + 1, end))
    return frames, late


configs = st.builds(
    BinningConfig,
    window=st.sampled_from([50, 100, 333]),
    count=st.sampled_from([None, None, 1, 7, 25]),
    width=st.sampled_from(["sensor", 6, 5]),
    height=st.sampled_from(["sensor", 4, 3]),
    polarity=st.sampled_from(["both", "merged"]),
    clamp=st.sampled_from([None, 1, 3]),
    silence=st.sampled_from([1000, 5000]),
)


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 200),
    disorder=st.sampled_from([0, 0, 30, 400]),
    gap=st.sampled_from([0, 3000, 10**9]),
    config=configs,
    cuts=st.lists(st.integers(0, 200), max_size=8),
    boundaries=st.lists(st.integers(900, 6000), max_size=5, unique=True).map(sorted),
)
def test_agrees_with_a_plain_loop_however_cut(seed, n, disorder, gap, config, cuts, boundaries) -> None:
    events = random_events(seed, n, disorder=disorder, gap=gap)
    got, ledger = run(events, config, cuts, boundaries)
    want, late = plain_loop(events, config, boundaries)
    assert [(s.t_start, s.t_end, s.events, s.new_sample) for s in got] == [w[1:] for w in want]
    for ours, theirs in zip(got, want, strict=True):
        np.testing.assert_array_equal(ours.frame, theirs[0])
        assert ours.frame.dtype == np.float32
    assert ledger.late == late
    assert ledger.read == ledger.accounted
    assert [s.index for s in got] == list(range(len(got)))


def test_agrees_with_tonic() -> None:
    ToFrame = pytest.importorskip("tonic.transforms").ToFrame

    events = random_events(3, 4000)
    sensor = (WIDTH, HEIGHT, 2)
    whole = BinningConfig(window=2000, width="sensor", height="sensor")
    got, _ = run(events, whole, [100, 1500], [])
    theirs = ToFrame(sensor_size=sensor, time_window=2000, include_incomplete=True)(events)
    ours = np.stack([s.frame for s in got])
    np.testing.assert_array_equal(ours[: len(theirs)], theirs[: len(ours)])
    assert abs(len(ours) - len(theirs)) <= 1
    by_count, _ = run(events, BinningConfig(count=500, width="sensor", height="sensor"), [77], [])
    theirs = ToFrame(sensor_size=sensor, event_count=500)(events)
    np.testing.assert_array_equal(np.stack([s.frame for s in by_count]), theirs)


def test_an_absurd_jump_in_time_is_a_silence_not_a_flood() -> None:
    events = random_events(1, 50)
    events["t"][25:] += 2**61
    got, _ = run(events, BinningConfig(window=50, silence=1000), [], [])
    assert len(got) < 80
    assert sum(s.new_sample for s in got) == 2


def test_cropped_events_are_counted() -> None:
    events = random_events(2, 500)
    config = BinningConfig(width=4, height=4, reduce="crop", silence=10**9)
    got, ledger = run(events, config, [10], [])
    x, y = events["x"], events["y"]
    inside = (x >= 4) & (x < 8) & (y >= 2) & (y < 6)
    assert ledger.dropped == {"cropped": int((~inside).sum())}
    total = np.sum([s.frame for s in got], axis=(0, 1))
    want = np.zeros((4, 4))
    np.add.at(want, (y[inside] - 2, x[inside] - 4), 1)
    np.testing.assert_array_equal(total, want)
    assert ledger.read == ledger.accounted


def test_letterbox_keeps_the_aspect() -> None:
    events = make_events(*np.array([(x, y, 0, 1) for y in range(HEIGHT) for x in range(WIDTH)]).T)
    got, _ = run(events, BinningConfig(width=6, height=6, reduce="letterbox"), [], [])
    np.testing.assert_array_equal(got[0].frame[1], np.pad(np.full((4, 6), 4), ((1, 1), (0, 0))))


def test_a_sensor_of_one_line_falls_in_the_middle_of_a_letterbox() -> None:
    binner = Binner(BinningConfig(width=8, height=8, reduce="letterbox"), 100, 1, Ledger())
    assert not list(binner.feed(make_events(np.arange(100), np.zeros(100), np.arange(100), np.ones(100))))
    (step,) = binner.flush()
    assert step.frame[1, 4].sum() == step.frame.sum() == 100 and step.frame[1, 4].min() > 0


def test_a_stopped_binner_accounts_for_what_it_holds() -> None:
    events = random_events(5, 300)
    ledger = Ledger(read=len(events))
    binner = Binner(BinningConfig(window=500), WIDTH, HEIGHT, ledger)
    timesteps = binner.feed(events)
    ledger.binned = next(timesteps).events + next(timesteps).events
    timesteps.close()
    binner.abandon("stopped")
    assert ledger.dropped["stopped"] > 0
    assert ledger.read == ledger.accounted


def test_empty_packets_change_nothing() -> None:
    binner = Binner(BinningConfig(), WIDTH, HEIGHT, Ledger())
    assert list(binner.feed(np.empty(0, EVENT_DTYPE))) == []
    assert list(binner.flush()) == []


def test_a_silence_shorter_than_a_window_is_refused() -> None:
    with pytest.raises(UsageError, match="silence"):
        BinningConfig.load({"window": "20ms", "silence": "10ms"})
