"""Frames beside counts: against their definitions as plain loops, and against tonic's where it defines the same."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import exp
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_ottt.errors import UsageError
from stream_ottt.events.frames import FRAMES, FrameBuilder, open_frames
from stream_ottt.events.packet import EventArray, make_events

SHAPE = (2, 3, 4)
PIXELS = 24
WINDOW = 50
TAU = 30
SPECS = ["counts", f"time-surface:?tau={TAU}us", f"decay:?tau={TAU}us", "voxel-2"]
every_frame = pytest.mark.parametrize("spec", SPECS)

Window = list[tuple[int, int]]
"""Events (pixel, time since the window's start)."""

windows = st.lists(
    st.lists(st.tuples(st.integers(0, PIXELS - 1), st.integers(0, WINDOW - 1)), max_size=25).map(
        lambda events: sorted(events, key=lambda e: e[1])
    ),
    min_size=1,
    max_size=5,
)


def add(builder: FrameBuilder, events: Window, start: int) -> None:
    builder.add(np.array([p for p, _ in events], np.intp), np.array([start + t for _, t in events], np.int64))


def frames(builder: FrameBuilder, stream: list[Window], at: int = 10**6) -> list[Any]:
    out = []
    for k, events in enumerate(stream):
        start = at + k * WINDOW
        add(builder, events, start)
        out.append(builder.close(start, start + WINDOW))
    return out


def counts(stream: list[Window]) -> list[float]:
    return [float(sum(p == pixel for p, _ in stream[-1])) for pixel in range(PIXELS)]


def time_surface(stream: list[Window]) -> list[float]:
    end = len(stream) * WINDOW
    last = {p: k * WINDOW + t for k, events in enumerate(stream) for p, t in events}
    return [exp(-(end - last[pixel]) / TAU) if pixel in last else 0.0 for pixel in range(PIXELS)]


def decay(stream: list[Window]) -> list[float]:
    end = len(stream) * WINDOW
    every = [(p, k * WINDOW + t) for k, events in enumerate(stream) for p, t in events]
    return [sum(exp(-(end - t) / TAU) for p, t in every if p == pixel) for pixel in range(PIXELS)]


def two_bins(stream: list[Window]) -> list[float]:
    late = [sum(t / WINDOW for p, t in stream[-1] if p == pixel) for pixel in range(PIXELS)]
    return [n - one for n, one in zip(counts(stream), late, strict=True)] + late


@pytest.mark.parametrize(("spec", "loop"), [*zip(SPECS, [counts, time_surface, decay, two_bins], strict=True)])
@given(stream=windows)
def test_definition(spec: str, loop: Callable[[list[Window]], list[float]], stream: list[Window]) -> None:
    builder = open_frames(spec, SHAPE)
    for k, frame in enumerate(frames(builder, stream), 1):
        assert frame.dtype == np.float32 and frame.shape == builder.shape
        np.testing.assert_allclose(frame.ravel(), loop(stream[:k]), rtol=1e-6, atol=1e-6)


@every_frame
@given(stream=windows, cuts=st.lists(st.integers(0, 25), max_size=4))
def test_the_cut_changes_no_bit(spec: str, stream: list[Window], cuts: list[int]) -> None:
    whole, parts = open_frames(spec, SHAPE), open_frames(spec, SHAPE)
    for k, events in enumerate(stream):
        start = k * WINDOW
        add(whole, events, start)
        for a, b in pairwise([0, *sorted(cuts), len(events)]):
            add(parts, events[a:b], start)
        np.testing.assert_array_equal(whole.close(start, start + WINDOW), parts.close(start, start + WINDOW))


@every_frame
@given(stream=windows, seed=st.integers(0, 99))
def test_the_order_within_a_window_changes_nothing(spec: str, stream: list[Window], seed: int) -> None:
    rng = np.random.default_rng(seed)
    shuffled = [[events[i] for i in rng.permutation(len(events))] for events in stream]
    for one, other in zip(
        frames(open_frames(spec, SHAPE), stream), frames(open_frames(spec, SHAPE), shuffled), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


@every_frame
def test_later_windows_change_no_earlier_frame(spec: str) -> None:
    builder = open_frames(spec, SHAPE)
    first, second = frames(builder, [[(3, 5), (3, 9)], [(3, 1), (7, 2)]])
    before = first.copy(), second.copy()
    frames(builder, [[(3, 0), (7, 0), (9, 0)]], at=2 * 10**6)
    np.testing.assert_array_equal(first, before[0])
    np.testing.assert_array_equal(second, before[1])


@every_frame
def test_after_a_reset_it_is_as_new(spec: str) -> None:
    used = open_frames(spec, SHAPE)
    frames(used, [[(3, 5)], [(4, 5)]])
    add(used, [(5, 5)], 2 * WINDOW)
    used.reset()
    stream: list[Window] = [[(3, 1), (6, 40)], []]
    for one, other in zip(frames(used, stream, 0), frames(open_frames(spec, SHAPE), stream, 0), strict=True):
        np.testing.assert_array_equal(one, other)


@every_frame
def test_a_state_is_nobodys_once_it_was_given(spec: str) -> None:
    """Neither the builder that gave it nor one that took it changes it."""
    first, second, third = (open_frames(spec, SHAPE) for _ in range(3))
    add(first, [(0, 1), (5, 2)], 0)
    state = first.state_dict()
    second.load_state_dict(state)
    for builder in (first, second):
        add(builder, [(0, 3), (7, 4)], 0)
        builder.close(0, WINDOW)
    third.load_state_dict(state)
    expected = open_frames(spec, SHAPE)
    add(expected, [(0, 1), (5, 2)], 0)
    assert np.array_equal(third.close(0, WINDOW), expected.close(0, WINDOW))


@every_frame
def test_far_times_and_an_empty_stream(spec: str) -> None:
    builder = open_frames(spec, SHAPE)
    assert not builder.close(0, 1).any()
    end = 2**63 - 1
    for start in (0, end - 1, 5, end - WINDOW):  # as after a clock that was set
        builder.add(np.array([0, 0], np.intp), np.array([start, start], np.int64))
        frame = builder.close(start, start + 1)
        assert np.isfinite(frame).all() and (frame >= 0).all()


@pytest.mark.parametrize("polarities", [1, 2])
def test_planes(polarities: int) -> None:
    assert {name: open_frames(name, (polarities, 3, 4)).shape[0] for name in FRAMES.names()} == {
        "counts": polarities,
        "time-surface": polarities,
        "decay": polarities,
        "voxel-2": 2 * polarities,
    }


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("time-surfaces", "unknown frame 'time-surfaces'; did you mean 'time-surface'"),
        ("decay:?tua=3ms", "unknown key 'frame:decay.tua'; did you mean 'tau'"),
        ("decay:?tau=0", "frame:decay.tau"),
        ("counts:?tau=3ms", "frame:counts.tau"),
    ],
)
def test_what_is_wrong_is_said(spec: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        open_frames(spec, SHAPE)
    assert message in str(error.value)


# --- tonic ----------------------------------------------------------------------------------------------------------

SENSOR = (12, 9, 2)


def recording() -> EventArray:
    rng = np.random.default_rng(3)
    t = 1000 + np.cumsum(rng.integers(0, 40, 4000))
    return make_events(rng.integers(0, 12, 4000), rng.integers(0, 9, 4000), t, rng.random(4000) < 0.5)


def ours(spec: str, events: EventArray, edges: list[int]) -> Any:
    width, height, polarities = SENSOR
    builder = open_frames(spec, (polarities, height, width))
    out = []
    for start, end in pairwise(edges):
        e = events[(events["t"] >= start) & (events["t"] < end)]
        builder.add((e["p"].astype(np.intp) * height + e["y"]) * width + e["x"], e["t"])
        out.append(builder.close(start, end))
    return np.array(out)


@pytest.fixture(scope="module")
def transforms() -> Any:
    return pytest.importorskip("tonic.transforms", reason="no tonic for this Python")


def test_tonic_to_frame(transforms: Any) -> None:
    events = recording()
    edges = list(range(int(events["t"][0]), int(events["t"][-1]), 5000))
    theirs = transforms.ToFrame(SENSOR, time_window=5000)(events.copy())
    np.testing.assert_array_equal(ours("counts", events, edges), theirs)


def test_tonic_to_timesurface(transforms: Any) -> None:
    events = recording()
    edges = list(range(int(events["t"][0]), int(events["t"][-1]), 5000))
    theirs = transforms.ToTimesurface(SENSOR, dt=5000, tau=8000)(events.copy())
    np.testing.assert_allclose(ours("time-surface:?tau=8ms", events, edges), theirs, rtol=1e-6)


def test_tonic_to_voxel_grid(transforms: Any) -> None:
    """tonic spreads its bins so that the last one ends with the recording and loses what lies behind its middle; Zhu et
    al. let the last one's middle lie there, as we do. Its grid of one bin is our early bin, and ON less OFF in one.
    """
    events = recording()
    first, last = int(events["t"][0]), int(events["t"][-1])
    frame = ours("voxel-2", events, [first, last])[0]
    signed = events.copy()
    theirs = transforms.ToVoxelGrid(SENSOR, n_time_bins=1)(signed.astype([(n, "<i8") for n in "xytp"]))
    np.testing.assert_allclose(frame[1] - frame[0], theirs[0, 0], atol=1e-5)
    np.testing.assert_allclose(frame[:2] + frame[2:], ours("counts", events, [first, last])[0], rtol=1e-6)
