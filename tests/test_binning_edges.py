"""The binner where one µs or one boundary decides: a gap just as long as a silence, a boundary within lost windows."""

from __future__ import annotations

import pytest
from helpers import SIZE, WINDOW

from stream_ottt.events.binning import Binner
from stream_ottt.events.config import BinningConfig
from stream_ottt.events.packet import EventArray, Ledger, make_events

SILENCE = 10 * WINDOW


def binner(*, boundaries: tuple[int, ...] = ()) -> Binner:
    config = BinningConfig(window=WINDOW, width=SIZE, height=SIZE, silence=SILENCE)
    return Binner(config, SIZE, SIZE, Ledger(), boundaries=boundaries)


def at(*times: int) -> EventArray:
    return make_events([1] * len(times), [1] * len(times), list(times), [True] * len(times))


@pytest.mark.parametrize(("gap", "silent"), [(SILENCE - 1, False), (SILENCE, True)])
@pytest.mark.parametrize("cut", [False, True])
def test_a_gap_as_long_as_a_silence_is_one(gap: int, silent: bool, cut: bool) -> None:
    """In one packet or in two, the event after it begins a sample, and no empty window lies between."""
    made = binner()
    packets = [at(0), at(gap)] if cut else [at(0, gap)]
    steps = [step for packet in packets for step in made.feed(packet)]
    steps += made.flush()
    assert [s.new_sample for s in steps] == ([True, True] if silent else [True] + [False] * 9)
    assert (steps[-1].t_start, steps[-1].events) == (gap if silent else 9 * WINDOW, 1)


def test_after_lost_packets_the_grid_starts_at_the_boundary_within_them() -> None:
    boundary = 3 * WINDOW + 300
    made = binner(boundaries=(boundary,))
    steps = list(made.feed(at(0)))
    made.lost_some()
    steps += made.feed(at(5 * WINDOW))
    steps += made.flush()
    assert [(s.t_start, s.t_end, s.new_sample) for s in steps] == [
        (0, WINDOW, True),
        (boundary + WINDOW, boundary + 2 * WINDOW, True),
    ]


def test_after_lost_packets_a_boundary_at_the_first_event_begins_its_window() -> None:
    boundary = 5 * WINDOW + 300
    made = binner(boundaries=(boundary,))
    steps = list(made.feed(at(0)))
    made.lost_some()
    steps += made.feed(at(boundary))
    steps += made.flush()
    assert [(s.t_start, s.t_end, s.events, s.new_sample) for s in steps] == [
        (0, WINDOW, 1, True),
        (boundary, boundary + WINDOW, 1, True),
    ]


@pytest.mark.parametrize("frame", ["counts", "voxel-2"])
def test_events_that_were_given_up_are_in_no_frame(frame: str) -> None:
    config = BinningConfig(window=WINDOW, width=SIZE, height=SIZE, frame=frame)
    made = Binner(config, SIZE, SIZE, Ledger())
    assert not list(made.feed(at(0, 1)))
    made.abandon("stopped")
    assert made.held == 0 and made.ledger.dropped == {"stopped": 2}
    assert not list(made.feed(at(2)))
    (step,) = made.flush()
    assert step.events == 1 and step.frame.sum() == pytest.approx(1)


def test_a_loss_before_the_state_was_saved_is_known_after_it() -> None:
    """Windows that nobody could see are left out, whether or not the run was interrupted between."""
    found = []
    for restored in (False, True):
        made = binner()
        steps = list(made.feed(at(0)))
        made.lost_some()
        if restored:
            other = binner()
            other.load_state_dict(made.state_dict())
            made = other
        steps += made.feed(at(5 * WINDOW + 1))
        steps += made.flush()
        found.append([(s.t_start, s.t_end, s.events, s.index) for s in steps])
    assert found[0] == found[1] == [(0, WINDOW, 1, 0), (5 * WINDOW, 6 * WINDOW, 1, 1)]


def binned(events: EventArray, frame: str) -> list[tuple[int, int, int, list[float]]]:
    binner = Binner(BinningConfig(window=WINDOW, width=SIZE, height=SIZE, frame=frame), SIZE, SIZE, Ledger())
    steps = [*binner.feed(events), *binner.flush()]
    return [(s.t_start, s.t_end, s.events, s.frame.ravel().tolist()) for s in steps]


@pytest.mark.parametrize("frame", ["counts", "voxel-2"])
def test_events_that_may_not_be_written_or_lie_apart_in_memory_are_binned_alike(frame: str) -> None:
    events = make_events([1, 2, 3, 2], [0, 1, 2, 1], [0, 1, WINDOW, 2 * WINDOW], [1, 0, 1, 1])
    frozen = events.copy()
    frozen.flags.writeable = False
    apart = events.repeat(2)[::2]
    assert not apart.flags.contiguous
    assert len(binned(events, frame)) == 3
    assert binned(events, frame) == binned(frozen, frame) == binned(apart, frame)


@pytest.mark.parametrize(("x", "y"), [(SIZE, 0), (0, SIZE), (-1, 0), (0, -1), (-SIZE, 2**15 - 1)])
@pytest.mark.parametrize("frame", ["counts", "decay"])
def test_events_outside_the_sensor_are_refused(x: int, y: int, frame: str) -> None:
    with pytest.raises(ValueError, match="outside the sensor"):
        binned(make_events([1, x], [1, y], [0, 1], [0, 1]), frame)
