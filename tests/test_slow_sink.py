"""A live stream goes on at its own pace while a sink takes nothing: the sink misses what it has no room for."""

from __future__ import annotations

import threading

import pytest
from helpers import ListSink, LiveSource, labelled_events, pipeline_of, run, small_session

from stream_ottt.events.timestep import StepResult, Timestep
from stream_ottt.pipeline import sink_writer
from stream_ottt.pipeline.sink_writer import WAITING

TIMESTEPS = 600
FIRST = 5


class Stuck(ListSink):
    """Takes ``FIRST`` results, then nothing until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck, self.release = threading.Event(), threading.Event()

    async def consume(self, result: StepResult) -> None:
        if len(self.results) == FIRST:
            self.stuck.set()
            self.release.wait(60)
        await super().consume(result)


def test_a_live_stream_never_waits_for_a_sink(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sink moves only after the last timestep: a learner that waited for it would never get there."""
    monkeypatch.setattr(sink_writer, "STALLED_S", 3600.0)
    session, sink = small_session(None), Stuck()
    process = session.process

    def watched(timestep: Timestep) -> StepResult:
        if timestep.index == FIRST + 1:
            assert sink.stuck.wait(60)
        if timestep.index == TIMESTEPS - 1:
            sink.release.set()
        return process(timestep)

    session.process = watched  # type: ignore[method-assign]
    source = LiveSource(labelled_events(0, TIMESTEPS // 10))
    pipeline = pipeline_of(source, [sink], session, policy="drop-oldest", queue_events=1 << 20, grace=20.0)
    try:
        assert run(pipeline, within=60).reason == "end"
    finally:
        sink.release.set()
    indices = [r.timestep.index for r in sink.results]
    assert indices[: FIRST + 1] == list(range(FIRST + 1)) and indices == sorted(set(indices))
    # Those that waited when it came back are the latest, but for what it took while the last one was predicted.
    assert indices[-1] == TIMESTEPS - 1 and WAITING <= len(indices) - FIRST - 1 <= WAITING + 1
    state = pipeline.snapshot().sinks["list"]
    assert state.missed == TIMESTEPS - len(indices) and state.failure is None
