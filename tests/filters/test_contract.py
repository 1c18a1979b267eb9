"""What every filter promises, checked on every filter in the registry. A new one needs a recipe in conftest."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_ottt.errors import ModelError, UsageError
from stream_ottt.events.packet import EVENT_DTYPE, EventArray, EventPacket, make_events, split_well_formed
from stream_ottt.filters import FILTERS
from stream_ottt.filters.chain import FilterChain, open_filters

WIDTH, HEIGHT = 7, 5
LAST = 2**62 - 1
NAMES = ["background", "hot", "refractory", "roi", "flip", "rotate", "transpose", "polarity", "undistort"]
every_filter = pytest.mark.parametrize("name", NAMES)


@st.composite
def streams(draw: st.DrawFn) -> EventArray:
    """Events in time order on the sensor, among them many at one time and at one place."""
    n = draw(st.integers(0, 80))
    seed = draw(st.integers(0, 2**32 - 1))
    gap = draw(st.sampled_from([1, 2, 5, 10**12]))
    few = draw(st.booleans())
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 2 if few else WIDTH, n)
    y = rng.integers(0, 2 if few else HEIGHT, n)
    return make_events(x, y, draw(st.integers(0, 100)) + np.cumsum(rng.integers(0, gap + 1, n)), rng.random(n) < 0.5)


def cut(events: EventArray, at: list[int]) -> Iterator[EventArray]:
    for start, stop in pairwise([0, *sorted(min(i, len(events)) for i in at), len(events)]):
        yield events[start:stop]


def through(chain: FilterChain, *packets: EventArray) -> EventArray:
    return np.concatenate([np.empty(0, EVENT_DTYPE), *(chain(packet) for packet in packets)])


def opened(spec: str) -> FilterChain:
    return open_filters([spec], WIDTH, HEIGHT)


def saved_and_loaded(state: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """A state by way of JSON and of arrays without pickles."""
    back: dict[str, dict[str, Any]] = {}
    for name, one in state.items():
        arrays = {key: value for key, value in one.items() if isinstance(value, np.ndarray)}
        plain = {key: value for key, value in one.items() if key not in arrays}
        file = io.BytesIO()
        np.savez(file, **arrays)
        file.seek(0)
        back[name] = {**json.loads(json.dumps(plain)), **np.load(file, allow_pickle=False)}
    return back


def test_every_filter_has_a_recipe(recipes: dict[str, list[str]]) -> None:
    assert list(FILTERS.names()) == NAMES == list(recipes)
    for name in NAMES:
        assert FILTERS.get(name).name == name


@every_filter
@given(events=streams(), cuts=st.lists(st.integers(0, 80), max_size=5))
def test_the_cut_changes_nothing(name: str, events: EventArray, cuts: list[int], recipes: dict[str, list[str]]) -> None:
    for spec in recipes[name]:
        whole, parts = opened(spec), opened(spec)
        np.testing.assert_array_equal(through(whole, events), through(parts, *cut(events, cuts)))
        assert whole.dropped == parts.dropped


@every_filter
@given(events=streams(), at=st.integers(0, 80))
def test_a_state_goes_on_where_it_was_saved(
    name: str, events: EventArray, at: int, recipes: dict[str, list[str]]
) -> None:
    for spec in recipes[name]:
        first, second = cut(events, [at])
        uninterrupted, begun = opened(spec), opened(spec)
        through(uninterrupted, first)
        through(begun, first)
        state = begun.state_dict()
        expected = through(uninterrupted, second)
        through(begun, second)  # what was saved must not change with it
        resumed = opened(spec)
        resumed.load_state_dict(saved_and_loaded(state))
        np.testing.assert_array_equal(through(resumed, second), expected)
        for (key, one), other in zip(resumed.state_dict().items(), uninterrupted.state_dict().values(), strict=True):
            np.testing.assert_equal(one, other, err_msg=key)


@every_filter
@given(events=streams())
def test_events_stay_well_formed_and_are_accounted_for(
    name: str, events: EventArray, recipes: dict[str, list[str]]
) -> None:
    for spec in recipes[name]:
        chain = opened(spec)
        before = events.copy()
        events.flags.writeable = False  # as events from a socket are
        kept = chain(events)
        np.testing.assert_array_equal(events, before)
        assert kept.dtype == EVENT_DTYPE and kept.ndim == 1
        assert split_well_formed(EventPacket(kept, chain.width, chain.height))[1] == 0
        assert (np.diff(kept["t"]) >= 0).all()
        assert len(kept) + sum(chain.dropped.values()) == len(events)
        assert set(chain.dropped) <= {f"filter:{name}"}


@every_filter
def test_hostile_streams(name: str, recipes: dict[str, list[str]]) -> None:
    corners = make_events(
        [0, WIDTH - 1, 0, WIDTH - 1], [0, 0, HEIGHT - 1, HEIGHT - 1], [0, 0, LAST, LAST], [0, 1, 0, 1]
    )
    backwards = make_events([1, 1, 2, 1], [1, 1, 1, 1], [LAST, 5, 0, LAST], [1, 1, 0, 0])
    jumps = make_events(np.ones(200), np.ones(200), np.arange(200) * 10**15, np.ones(200))
    for spec in recipes[name]:
        for hostile in (corners, backwards, jumps, corners[:1], corners[:0], corners[::2]):
            chain = opened(spec)
            kept = chain(hostile)
            assert len(kept) + sum(chain.dropped.values()) == len(hostile)
            assert split_well_formed(EventPacket(kept, chain.width, chain.height))[1] == 0


@every_filter
def test_one_pixel_is_a_sensor_too(name: str, recipes: dict[str, list[str]]) -> None:
    events = make_events([0] * 30, [0] * 30, range(30), [True] * 30)
    for spec in recipes[name]:
        try:
            chain = open_filters([spec], 1, 1)
        except UsageError as e:
            assert "1×1 sensor" in str(e)
        else:
            assert len(chain(events)) + sum(chain.dropped.values()) == 30


@every_filter
def test_a_state_of_another_sensor_is_refused(name: str, recipes: dict[str, list[str]]) -> None:
    for spec in recipes[name]:
        mine, other = opened(spec), open_filters([spec], WIDTH + 1, HEIGHT + 1)
        if any(mine.state_dict().values()):
            with pytest.raises(ModelError, match="sensor size"):
                mine.load_state_dict(other.state_dict())
        for key, state in mine.state_dict().items():
            with pytest.raises(ModelError, match="expected"):
                mine.load_state_dict({key: {**state, "more": 1}})


@every_filter
def test_an_unknown_option_is_an_error(name: str, recipes: dict[str, list[str]]) -> None:
    spec = recipes[name][0]
    with pytest.raises(UsageError, match=f"filter:{name}.widht"):
        opened(spec + ("&" if "?" in spec else "?") + "widht=3")
