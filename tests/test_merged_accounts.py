"""Each of several sources has an account to the end: every event of it is in exactly one count, at every moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import SIZE, WINDOW, ListSink, ListSource, LiveSource, pipeline_of, run, small_session
from hypothesis import given, settings
from hypothesis import strategies as st
from watching import watched

from stream_ottt.errors import UsageError
from stream_ottt.events.config import BinningConfig
from stream_ottt.events.packet import EVENT_DTYPE, EventArray, make_events
from stream_ottt.filters import FILTERS
from stream_ottt.filters.base import Filter
from stream_ottt.pipeline.cut import Cut
from stream_ottt.pipeline.pipeline import Pipeline
from stream_ottt.pipeline.queues import OverflowPolicy
from stream_ottt.pipeline.view import CheckpointState
from stream_ottt.sources.merged.files import MergedFiles
from stream_ottt.sources.merged.lane import Lane
from stream_ottt.sources.merged.live import MergedLive
from stream_ottt.sources.merged.place import Place
from stream_ottt.state import State

HALF = SIZE // 2


def half_events(seed: int, n: int, left: int) -> EventArray:
    """Events in one half of the sensor, so that a frame tells whose they are; some of them are none."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, 40 * WINDOW, n))
    events = make_events(left + rng.integers(0, HALF, n), rng.integers(0, SIZE, n), t, rng.random(n) < 0.5)
    some = rng.random(n)
    events["x"][some < 0.05] = 99
    events["t"][(some > 0.05) & (some < 0.08)] -= 5 * WINDOW
    return events


def merged_pipeline(
    sizes: tuple[int, int], cuts: tuple[int, int], *, live: bool, filters: list[str], stop_at: int | None, **how: Any
) -> Pipeline:
    kind = LiveSource if live else ListSource
    lanes = [
        Lane(f"s{i}", kind(half_events(i, sizes[i], HALF * i), cut=cuts[i]), Place(clock="own" if live else None))
        for i in range(2)
    ]
    source = MergedLive(lanes, (SIZE, SIZE), 0.01, lambda _: None) if live else MergedFiles(lanes, None)

    class Stopping(ListSink):
        async def consume(self, result: Any) -> None:
            await super().consume(result)
            if len(self.results) == stop_at:
                pipeline.stop()

    pipeline = pipeline_of(source, [Stopping()], small_session(None), **how)
    pipeline.binner._binning = BinningConfig(window=WINDOW, width=SIZE, height=SIZE, filters=tuple(filters))
    return pipeline


@settings(max_examples=15)
@given(
    sizes=st.tuples(st.integers(1, 900), st.integers(0, 900)),
    cuts=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    live=st.booleans(),
    policy=st.sampled_from(["block", "drop-oldest", "drop-newest"]),
    room=st.integers(1, 600),
    filters=st.sampled_from([[], ["refractory:2ms"], ["background:?time=2ms", "hot"], ["polarity:on", "flip:y"]]),
    max_steps=st.one_of(st.none(), st.integers(1, 45)),
    stop_at=st.one_of(st.none(), st.integers(1, 45)),
)
def test_counts_of_each_source_add_up_at_every_moment(
    sizes: tuple[int, int],
    cuts: tuple[int, int],
    live: bool,
    policy: OverflowPolicy,
    room: int,
    filters: list[str],
    max_steps: int | None,
    stop_at: int | None,
) -> None:
    how: dict[str, Any] = {"policy": policy, "queue_events": room, "max_steps": max_steps}
    pipeline = merged_pipeline(sizes, cuts, live=live, filters=filters, stop_at=stop_at, **how)
    seen = [{name: one["events"] for name, one in snapshot.sources.items()} for snapshot in watched(pipeline)]
    assert all(one["in_hand"] >= 0 for each in seen for one in each.values())
    end = pipeline.snapshot()
    frames = [r.timestep.frame for r in pipeline.sinks[0].results]  # type: ignore[attr-defined]
    for i in range(2):
        own = end.sources[f"s{i}"]["events"]
        assert own["in_hand"] == 0
        assert own["binned"] == sum(int(frame[:, :, HALF * i : HALF * (i + 1)].sum()) for frame in frames)
        assert own["read"] <= sizes[i]
    of_all = end.ledger.facts()
    for fate in ("read", "binned", "late", "malformed"):
        assert of_all[fate] == sum(one["events"][fate] for one in end.sources.values()), fate
    for reason, n in of_all["dropped"].items():
        assert n == sum(one["events"]["dropped"].get(reason, 0) for one in end.sources.values()), reason


def test_what_is_cropped_is_of_its_source() -> None:
    pipeline = merged_pipeline((500, 500), (70, 90), live=False, filters=[], stop_at=None)
    pipeline.binner._binning = BinningConfig(window=WINDOW, width=HALF, height=SIZE, reduce="crop")
    run(pipeline)
    found = [one["events"] for one in pipeline.snapshot().sources.values()]
    cropped = [one["dropped"].get("cropped", 0) for one in found]
    assert sum(cropped) == pipeline.snapshot().ledger.dropped["cropped"] and all(cropped)
    kept = sum(r.timestep.frame.sum() for r in pipeline.sinks[0].results)  # type: ignore[attr-defined]
    assert [one["in_hand"] for one in found] == [0, 0] and sum(one["binned"] for one in found) == kept


def test_a_filter_that_makes_new_events_is_refused_for_several_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    class Anew(Filter):
        name = "anew"

        def __call__(self, events: EventArray) -> EventArray:
            made = np.empty(len(events), EVENT_DTYPE)
            for field in EVENT_DTYPE.names or ():
                made[field] = events[field]
            return made

    get: Callable[[str], Any] = FILTERS.get
    monkeypatch.setattr(FILTERS, "get", lambda name: Anew if name == "anew" else get(name))
    outcome = run(merged_pipeline((100, 100), (10, 10), live=False, filters=["anew"], stop_at=None))
    assert isinstance(outcome.error, UsageError) and "'anew' makes new events" in str(outcome.error)


class Kept:
    """Takes every cut."""

    def __init__(self) -> None:
        self.states: list[State] = []

    def wants(self) -> bool:
        return True

    def take(self, cut: Cut) -> None:
        self.states.append(cut.state)

    def state(self) -> CheckpointState:
        return CheckpointState()


def accounts(pipeline: Pipeline) -> dict[str, Any]:
    return {name: one["events"] for name, one in pipeline.snapshot().sources.items()}


@pytest.mark.parametrize("gap", [False, True])
def test_accounts_of_each_source_go_on_from_their_state(gap: bool) -> None:
    """At whatever mark: what was in hand then is read again, or given up where the stream has gone on."""

    def made() -> Pipeline:
        how: dict[str, Any] = {"filters": ["refractory:1ms"], "stop_at": None, "mark_every": 3}
        return merged_pipeline((400, 300), (37, 53), live=gap, **how)

    whole, kept = made(), Kept()
    whole.learning.keeper = kept
    run(whole)
    interrupted = 0
    for state in kept.states:
        again = made()
        again.load_state_dict(state, gap=gap)
        if gap:
            found = accounts(again).values()
            assert [one["in_hand"] for one in found] == [0, 0]
            assert sum(one["read"] for one in found) == again.snapshot().ledger.read
            assert sum(one["malformed"] for one in found) == again.snapshot().ledger.malformed
            interrupted += sum(one["dropped"].get("interrupted", 0) for one in found)
            run(again)
            assert [one["in_hand"] for one in accounts(again).values()] == [0, 0]
        else:
            run(again)
            assert accounts(again) == accounts(whole)
    assert kept.states and bool(interrupted) == gap
